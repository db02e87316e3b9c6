"""Writes and linearizable reads through HTTP: three replicas of hamgr beside three members of etcd.

Both clusters run on this machine at the same time, with their data on the same disk, fsync on and defaults;
the same client asks both, in rounds taken in turn, so that whatever else the machine does meets both.
A write is a value of 100 bytes under one of 100 keys (hamgr: a variable of a node, with an Idempotency-Key).
Processor time is that of all three servers, and tells more than rates do on a busy machine.
"""

import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench import cpu
from tests.bench.command import parsed_beside_etcd, parser_of
from tests.bench.consensus_client import Load, load, run
from tests.bench.consensus_sides import Side, sides

KEYS = 100
VALUE = "v" * 88
"""With the number before it, 100 bytes."""
CROWD = 64
SETTLE_S = 0.3
WARM_UP_SHARE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the table; where `goal` is set, hamgr has to be at least as good as etcd."""

    title: str
    clients: int
    reads: bool
    where: str
    goal: bool = False

    @property
    def sequential(self) -> bool:
        return self.clients == 1


CASES = (
    Case(title="one writer, on the leader", clients=1, reads=False, where="leader", goal=True),
    Case(title="one writer, on a follower", clients=1, reads=False, where="follower"),
    Case(title="64 writers, on the leader", clients=CROWD, reads=False, where="leader", goal=True),
    Case(title="64 writers, spread", clients=CROWD, reads=False, where="spread"),
    Case(title="one reader, on the leader", clients=1, reads=True, where="leader"),
    Case(title="64 readers, on the leader", clients=CROWD, reads=True, where="leader", goal=True),
    Case(title="64 readers, spread", clients=CROWD, reads=True, where="spread"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One case on one side; times in milliseconds of the wall, microseconds of processors per answer."""

    per_s: float
    median_ms: float
    p99_ms: float
    servers_us: float
    client_us: float
    answer_bytes: float


Found = Mapping[str, Mapping[str, Sequence[Figures]]]
"""Figures of every round by case and side."""


def measured(directory: Path, *, rounds: int, seconds: float, alone: bool, clients_max: int = CROWD) -> Found:
    """Run all cases on all sides, `rounds` times after a warm-up that does not count."""
    found: dict[str, dict[str, list[Figures]]] = {case.title: {} for case in CASES}
    with sides(directory, alone=alone) as all_sides:
        for side in all_sides.values():
            side.prepare(KEYS)
        numbers = itertools.count()
        for number in range(rounds + 1):
            lasting = seconds if number else seconds * WARM_UP_SHARE
            for case in CASES:
                for name, side in all_sides.items():
                    figures = _run(side, case, numbers, lasting, clients_max)
                    if number:
                        found[case.title].setdefault(name, []).append(figures)
    return found


def _run(side: Side, case: Case, numbers: Iterator[int], seconds: float, clients_max: int) -> Figures:
    leader = side.leader()
    assert leader, f"{side.name} has no leader"
    others = [member for member in side.members if member != leader]
    asked = {"leader": [leader], "follower": others[:1], "spread": [leader, *others]}[case.where]
    pids = [side.pid(member) for member in side.members]
    time.sleep(SETTLE_S)
    before_s = cpu.of_processes(pids)
    addresses = [side.address(member) for member in asked]
    clients = min(case.clients, clients_max)
    seen = run(load(addresses, _request(side, case, numbers), clients=clients, seconds=seconds))
    return _figures(seen, cpu.of_processes(pids) - before_s)


def _request(side: Side, case: Case, numbers: Iterator[int]) -> Callable[[int], bytes]:
    if case.reads:
        ready = [side.read(key) for key in range(KEYS)]
        return lambda number: ready[number % KEYS]
    return lambda number: side.write(number % KEYS, next(numbers), VALUE)


def _figures(seen: Load, servers_s: float) -> Figures:
    times = sorted(seen.latencies_s)
    assert times, "nothing was answered in time"
    return Figures(
        per_s=seen.per_s,
        median_ms=statistics.median(times) * 1e3,
        p99_ms=times[min(len(times) - 1, int(len(times) * 0.99))] * 1e3,
        servers_us=servers_s / seen.count * 1e6,
        client_us=seen.client_cpu_s / seen.count * 1e6,
        answer_bytes=seen.answer_bytes,
    )


def medians(found: Found) -> dict[str, dict[str, Figures]]:
    """Return the median of every figure by itself."""
    return {
        title: {
            name: Figures(
                **{key: statistics.median(asdict(one)[key] for one in taken) for key in asdict(taken[0])}
            )
            for name, taken in by_side.items()
        }
        for title, by_side in found.items()
    }


def ratio(case: Case, by_side: Mapping[str, Figures]) -> float:
    """Return hamgr's figure over the peer's: of the median wait for one client, of the rate for many."""
    own, peer = by_side["hamgr"], by_side["etcd"]
    return own.median_ms / peer.median_ms if case.sequential else own.per_s / peer.per_s


def table(found: Found, rounds: int) -> str:
    """Return the figures for people."""
    middle = medians(found)
    lines = [
        f"three members each, fsync on, the same client; medians of {rounds} rounds taken in turn",
        f"{'':27}{'':6}{'answers/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'servers us':>12}"
        f"{'client us':>11}{'bytes':>7}",
    ]
    for case in CASES:
        for place, (name, one) in enumerate(middle[case.title].items()):
            lines.append(
                f"{'' if place else case.title:27}{name:6}{one.per_s:10.0f}{one.median_ms:9.2f}"
                f"{one.p99_ms:9.2f}{one.servers_us:12.0f}{one.client_us:11.0f}{one.answer_bytes:7.0f}"
            )
        if "etcd" in middle[case.title]:
            lines.append(f"{'':27}{_verdict(case, ratio(case, middle[case.title]))}")
    lines.append("`us` are microseconds of processors an answer: of all three servers, and of the client")
    return "\n".join(lines)


def _verdict(case: Case, found: float) -> str:
    if case.sequential:
        sentence, bound, reached = f"hamgr waits {found:.2f} times as long", "at most", found <= 1
    else:
        sentence, bound, reached = f"hamgr answers {found:.2f} times as many", "at least", found >= 1
    return f"{sentence} (goal: {bound} 1, {'reached' if reached else 'MISSED'})" if case.goal else sentence


def main(words: Sequence[str] | None = None) -> int:
    parser = parser_of("consensus", __doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each case in each round")
    arguments = parsed_beside_etcd(parser, words)
    with tempfile.TemporaryDirectory(prefix="hamgr-bench-") as name:
        found = measured(
            Path(name), rounds=arguments.rounds, seconds=arguments.seconds, alone=arguments.alone
        )
    if not arguments.json:
        print(table(found, arguments.rounds))
        return 0
    middle = medians(found)
    cases = {
        case.title: {
            "medians": {name: asdict(one) for name, one in middle[case.title].items()},
            "ratio": None if arguments.alone else ratio(case, middle[case.title]),
        }
        for case in CASES
    }
    print(json.dumps({"rounds": arguments.rounds, "seconds": arguments.seconds, "cases": cases}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
