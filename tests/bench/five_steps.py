"""The same job of five steps on the same nodes, by hamgr and by Ansible, and the floor below both.

Rounds are taken in turn, so that whatever else the machine does meets all sides. Wall clock is what a user
waits for; processor seconds compare the sides on a busy machine too.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from tests.bench.ansible import Ansible
from tests.bench.endpoints import endpoints
from tests.bench.sides import STEPS, Floor, Hamgr, Round

Rounds = Mapping[str, Sequence[Round]]
SETTLE_S = 1.0


class Side(Protocol):
    """One of those that are compared."""

    def round(self, number: int) -> Round: ...


def measured(directory: Path, nodes: int, rounds: int, *, peer: bool = True) -> dict[str, list[Round]]:
    """Run everybody's rounds; without `peer` Ansible stays out of it."""
    with endpoints(directory, nodes) as fleet, ExitStack() as stack:
        sides: dict[str, Side] = {"floor": stack.enter_context(Floor(fleet))}
        if peer:
            sides["ansible"] = stack.enter_context(Ansible(directory, fleet))
        sides["hamgr"] = stack.enter_context(Hamgr(directory, fleet))
        found: dict[str, list[Round]] = {name: [] for name in sides}
        for number in range(1, rounds + 1):
            for name, side in sides.items():
                settle()
                found[name].append(side.round(number))
    return found


def settle() -> None:
    """Let what the round before left to the kernel (writes, ended processes) not count for the next one."""
    os.sync()
    time.sleep(SETTLE_S)


def medians(rounds: Rounds) -> dict[str, Round]:
    """Return the median of every figure by itself."""
    return {
        name: Round(**{key: statistics.median(asdict(one)[key] for one in taken) for key in asdict(taken[0])})
        for name, taken in rounds.items()
    }


def table(rounds: Rounds, nodes: int) -> str:
    """Return the figures for people."""
    middle = medians(rounds)
    count = len(next(iter(rounds.values())))
    lines = [
        f"{STEPS} steps on {nodes} nodes, median of {count} rounds taken in turn; CPU in processor seconds",
        f"{'':10}{'seconds':>10}{'nodes/s':>10}{'control':>12}{'nodes':>10}{'ms a node':>12}{'machine':>10}",
    ]
    for name, one in sorted(middle.items(), key=lambda item: item[1].wall_s):
        lines.append(
            f"{name:10}{one.wall_s:10.2f}{nodes / one.wall_s:10.1f}{one.control_s:12.2f}{one.nodes_s:10.2f}"
            f"{one.nodes_s / nodes * 1000:12.0f}{one.machine_s:10.2f}"
        )
    hamgr, floor = middle["hamgr"], middle["floor"]
    if "ansible" in middle:
        peer = middle["ansible"]
        lines.append(
            f"hamgr does the job {peer.wall_s / hamgr.wall_s:.1f} times as fast as Ansible,"
            f" with {peer.cpu_s / hamgr.cpu_s:.1f} times less processor time;"
        )
    lines.append(
        f"the floor ({STEPS} x `true` a node in sessions of its own, no log, no runner, no fsync)"
        f" is {hamgr.wall_s / floor.wall_s:.1f} times as fast as hamgr, with {hamgr.cpu_s / floor.cpu_s:.1f}"
        " times less."
    )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.bench five_steps", description=__doc__)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print figures for a program")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="hamgr-bench-") as name:
        rounds = measured(Path(name), arguments.nodes, arguments.rounds)
    if arguments.json:
        middle = medians(rounds)
        figures = {
            "nodes": arguments.nodes,
            "rounds": {side: [asdict(one) for one in taken] for side, taken in rounds.items()},
            "medians": {side: asdict(one) for side, one in middle.items()},
            "ratio": middle["ansible"].wall_s / middle["hamgr"].wall_s,
            "cpu_ratio": middle["ansible"].cpu_s / middle["hamgr"].cpu_s,
        }
        print(json.dumps(figures))
    else:
        print(table(rounds, arguments.nodes))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
