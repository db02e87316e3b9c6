"""Record and judge many histories: `python -m tests.histories --minutes 30` (as root)."""

import argparse
import shutil
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

from tests.histories import laws, linearizability
from tests.histories.operations import parsed
from tests.histories.run import record
from tests.histories.schedule import Kind

EXAMPLES = """\
examples:
  python -m tests.histories --minutes 30                 as many histories as fit, seeds from 0
  python -m tests.histories --from 7 --count 1 --keep /tmp/seven   one seed; keep logs, data and history
  python -m tests.histories --faults freeze isolate      only these misfortunes
  python -m tests.histories --judge /tmp/seven/7/history.jsonl     judge a history again
"""


def main(words: list[str] | None = None) -> int:
    """Record histories one after another; the exit status is 1 when one of them broke a law."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.histories",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="begin no history after so long")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="SEED")
    parser.add_argument("--count", type=int, default=None, help="at most so many histories")
    parser.add_argument("--seconds", type=float, default=25.0, help="how long each history is")
    parser.add_argument("--faults", nargs="+", type=Kind, choices=list(Kind), default=list(Kind))
    parser.add_argument("--keep", type=Path, help="a folder for logs, data and histories, one for each seed")
    parser.add_argument("--judge", type=Path, metavar="FILE", help="judge a recorded history instead")
    options = parser.parse_args(words)
    if options.judge:
        return _judge(options.judge)
    end_s, seed, broken = time.monotonic() + options.minutes * 60, options.first, 0
    while time.monotonic() < end_s and seed - options.first != options.count:
        directory = options.keep / str(seed) if options.keep else Path(mkdtemp(prefix="hamgr-histories-"))
        is_well = _record(seed, options.seconds, options.faults, directory)
        broken += not is_well
        if is_well and not options.keep:
            shutil.rmtree(directory)
        seed += 1
    print(f"{seed - options.first} histories, {broken} broke a law")
    return 1 if broken else 0


def _record(seed: int, seconds: float, faults: list[Kind], directory: Path) -> bool:
    try:
        report = record(seed, seconds=seconds, faults=faults, directory=directory)
    except AssertionError as error:
        print(f"seed {seed}: the cluster did not recover: {error}\nkept in {directory}", flush=True)
        return False
    print(report.line() if report.is_well else f"{report}\nkept in {directory}", flush=True)
    return report.is_well


def _judge(path: Path) -> int:
    history = parsed(path.read_text().splitlines())
    findings = linearizability.judge(history.operations)
    for line in [*laws.complaints(history), *findings]:
        print(line)
    bad = any(finding.verdict is not linearizability.Verdict.LINEARIZABLE for finding in findings)
    return 1 if bad or laws.complaints(history) else 0


if __name__ == "__main__":
    sys.exit(main())
