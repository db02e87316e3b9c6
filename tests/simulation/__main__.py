"""Run many worlds: `python -m tests.simulation --seeds 5000 --start 0`."""

import argparse
import sys
import time

from tests.simulation.figures import Figures
from tests.simulation.world import judge


def main() -> int:
    """Judge the seeds one after another; the exit status is 1 when any world broke a law."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print everything that happens")
    parser.add_argument("--traces", action="store_true", help="print each world's digest, and nothing else")
    options = parser.parse_args()
    figures, broken, began = Figures(), 0, time.monotonic()
    for seed in range(options.start, options.start + options.seeds):
        verdict = judge(seed, tell=print if options.verbose else None)
        figures.add(verdict.figures)
        if options.traces:
            print(seed, verdict.trace)
        elif verdict.broken:
            print(verdict, flush=True)
        broken += bool(verdict.broken)
    if options.traces:
        return 0
    took_s = time.monotonic() - began
    print(figures.line())
    print(f"{options.seeds} seeds in {took_s:.1f} s ({options.seeds / took_s:.1f}/s), {broken} broke a law")
    if options.seeds >= 300 and (missing := figures.missing()):
        print(f"never came about: {', '.join(missing)}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
