"""What a fresh replica with nothing to do takes of processor and memory, beside an etcd member.

Nobody asks anything while it is measured; the cluster has a leader, and heartbeats are all there is.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench import cpu
from tests.bench.command import parsed_beside_etcd, parser_of, told
from tests.bench.consensus_sides import Side, sides

CALM_S = 3.0
"""After the start, before the measurement: founding the cluster and lazy work are over by then."""
GOAL_PERCENT, GOAL_MB = 2.0, 80.0
KIB_PER_MIB, MB_PER_MIB = 1024, 1.048576


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One process; `percent` is of one processor."""

    name: str
    leads: bool
    percent: float
    resident_mib: float


def measured(directory: Path, *, seconds: float, alone: bool) -> Mapping[str, Sequence[Member]]:
    """Return the members by side; all are watched over the same `seconds`."""
    with sides(directory, alone=alone) as all_sides:
        for side in all_sides.values():
            side.wait_until_caught_up()
        time.sleep(CALM_S)
        leaders = {name: side.leader() for name, side in all_sides.items()}
        before = {name: _cpu_s(side) for name, side in all_sides.items()}
        begun_s = time.monotonic()
        time.sleep(seconds)
        took_s = time.monotonic() - begun_s
        return {
            name: [
                Member(
                    name=member,
                    leads=member == leaders[name],
                    percent=(used_s - before[name][member]) / took_s * 100,
                    resident_mib=resident_mib(side.pid(member)),
                )
                for member, used_s in _cpu_s(side).items()
            ]
            for name, side in all_sides.items()
        }


def _cpu_s(side: Side) -> dict[str, float]:
    return {member: cpu.of_processes([side.pid(member)]) for member in side.members}


def resident_mib(pid: int) -> float:
    """Return VmRSS (proc(5)) in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / KIB_PER_MIB


def table(found: Mapping[str, Sequence[Member]], seconds: float) -> str:
    """Return the figures for people."""
    lines = [
        f"idle for {seconds:g} s: per cent of one processor, resident memory",
        f"{'':16}{'leader %':>10}{'followers %':>13}{'most MB':>10}",
    ]
    for name, members in found.items():
        leader = next(one.percent for one in members if one.leads)
        follower = statistics.mean(one.percent for one in members if not one.leads)
        most = max(one.resident_mib for one in members) * MB_PER_MIB
        lines.append(f"{name:16}{leader:10.2f}{follower:13.2f}{most:10.1f}")
    own = found["hamgr"]
    goals = (
        (f"at most {GOAL_PERCENT:g} %", max(one.percent for one in own) <= GOAL_PERCENT),
        (f"at most {GOAL_MB:g} MB", max(one.resident_mib for one in own) * MB_PER_MIB <= GOAL_MB),
    )
    lines.append(told(goals))
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    parser = parser_of("idle", __doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parsed_beside_etcd(parser, words)
    with tempfile.TemporaryDirectory(prefix="hamgr-bench-") as name:
        found = measured(Path(name), seconds=arguments.seconds, alone=arguments.alone)
    if arguments.json:
        figures = {side: [asdict(one) for one in members] for side, members in found.items()}
        print(json.dumps({"seconds": arguments.seconds, "members": figures}))
    else:
        print(table(found, arguments.seconds))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
