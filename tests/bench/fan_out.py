"""One command on many OpenSSH servers at once, cold and warm: hamgr beside Ansible, pyinfra and clush.

1. Cold: new connections, made by a new process. Warm: over whatever the side can keep.
2. All sides use the same servers in the same run, in rounds taken in turn. The servers share the processors
   with whoever gives the orders; `nodes` is what they took of them, `control` what the others took.
3. Goals: cold at least as quick as the quickest peer, warm at least five times as quick. pyinfra's command
   keeps no connections, so its warm runs are its library's in a program of ours; they are shown, not counted.
   hamgr's are judged twice: as `hamgr exec`, where a process of 0.1 s starts first, and as a program that
   runs already asks its API.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from tests.bench import peers
from tests.bench.command import parser_of, told
from tests.bench.endpoints import Fleet, endpoints
from tests.bench.fan_out_floors import Executor, Login, Look, Sessions
from tests.bench.fan_out_sides import Api, Hamgr, Verify
from tests.bench.five_steps import medians
from tests.bench.sides import Round, measure

Work = Callable[[], object]
OWN = (Login, Sessions, Look, Executor, Verify, Api, Hamgr)
PRODUCTS = (Hamgr, Api)
COUNTED = {"cold": ("clush", "ansible", "pyinfra"), "warm": ("clush", "ansible")}
WARM_GOAL = 5.0
SETTLE_S = 0.3
"""Between rounds, and a sync: what the one before left to the kernel is not for the next one to pay."""


class Side(Protocol):
    """One of those that are compared; `cold` and `warm` make ready, and return what is measured."""

    name: str
    fleet: Fleet

    def cpu_s(self) -> float: ...
    def cold(self, command: str) -> Work: ...
    def warm(self, command: str) -> Work: ...


@dataclass(frozen=True, slots=True)
class Case:
    """What is run, and with which connections."""

    heat: str
    command: str

    @property
    def title(self) -> str:
        return f"{self.heat} `{self.command}`"

    def ready(self, side: Side) -> Work:
        return side.cold(self.command) if self.heat == "cold" else side.warm(self.command)


CASES = (Case("cold", "true"), Case("warm", "true"), Case("warm", "uptime"))
Found = Mapping[str, Mapping[str, Sequence[Round]]]
"""Rounds by case and side."""


def measured(
    directory: Path, nodes: int, rounds: int, *, programs: Path | None, cases: Sequence[Case] = CASES
) -> Found:
    """Run everybody's rounds on `nodes` servers; without `programs` the peers stay out of it."""
    found: dict[str, dict[str, list[Round]]] = {case.title: {} for case in cases}
    (directory / "executor").mkdir()
    with (
        endpoints(directory, nodes) as fleet,
        # Nodes obey one sequence of epochs only: what hamgr has fenced is not for anybody beside it.
        endpoints(directory / "executor", nodes) as others,
        ExitStack() as stack,
    ):
        sides: list[Side] = [
            stack.enter_context(own(directory, others if own is Executor else fleet)) for own in OWN
        ]
        if programs is not None:
            sides += [stack.enter_context(peer(directory, fleet, programs)) for peer in peers.PEERS]
        for _ in range(rounds):
            for case in cases:
                for side in sides:
                    if (case.heat, side.name) != ("warm", Login.name):
                        found[case.title].setdefault(side.name, []).append(_round(side, case))
    return found


def _round(side: Side, case: Case) -> Round:
    work = case.ready(side)
    os.sync()
    time.sleep(SETTLE_S)
    return measure(work, side.cpu_s, side.fleet)


def ratio(case: Case, middle: Mapping[str, Round], own: str = "hamgr") -> tuple[str, float]:
    """Return the quickest peer that counts, and how many times its time is that of our side."""
    best = min((name for name in COUNTED[case.heat] if name in middle), key=lambda name: middle[name].wall_s)
    return best, middle[best].wall_s / middle[own].wall_s


def control_ratio(case: Case, middle: Mapping[str, Round]) -> str:
    """Return what bounds a side whose nodes are machines of their own: its processor time at this end."""
    counted = [name for name in COUNTED[case.heat] if name in middle]
    best = min(counted, key=lambda name: middle[name].control_s)
    times = middle[best].control_s / middle["hamgr"].control_s
    return f"{best} takes {times:.1f} times hamgr's processor time at the end that gives the orders"


def goals(cases: Sequence[Case], found: Found) -> list[tuple[str, bool]]:
    """Return the goals and whether they were reached; none without peers."""
    judged: list[tuple[str, bool]] = []
    for case in cases:
        middle = medians(found[case.title])
        if not set(COUNTED[case.heat]) & set(middle):
            continue
        for own in ("hamgr",) if case.heat == "cold" else ("hamgr", "api"):
            best, times = ratio(case, middle, own)
            wanted = 1.0 if case.heat == "cold" else WARM_GOAL
            goal = f"{case.title}: {own} at least {wanted:g} times as quick as {best} ({times:.2f})"
            judged.append((goal, times >= wanted))
    return judged


def table(found: Found, nodes: int, cases: Sequence[Case] = CASES) -> str:
    """Return the figures for people."""
    count = len(found[cases[0].title]["hamgr"])
    lines = [
        f"one command on {nodes} nodes, median of {count} rounds taken in turn; ms of processor time a node",
        f"{'':22}{'seconds':>10}{'nodes/s':>10}{'control ms':>12}{'nodes ms':>10}{'beside hamgr':>14}",
    ]
    for case in cases:
        middle = medians(found[case.title])
        lines.append(case.title)
        for name, one in sorted(middle.items(), key=lambda item: item[1].wall_s):
            lines.append(
                f"  {label(case, name):20}{one.wall_s:10.3f}{nodes / one.wall_s:10.0f}"
                f"{one.control_s / nodes * 1000:12.2f}{one.nodes_s / nodes * 1000:10.2f}"
                f"{one.wall_s / middle['hamgr'].wall_s:14.2f}"
            )
    floor_s = medians(found[cases[0].title]).get(Login.name)
    if floor_s is not None:
        processors = os.cpu_count() or 1
        lines.append(
            f"the limit: for {nodes} logins sshd alone keeps {processors} processors busy"
            f" for {floor_s.nodes_s / processors:.2f} s"
        )
    for case in cases:
        middle = medians(found[case.title])
        if set(COUNTED[case.heat]) & set(middle):
            lines.append(f"{case.title}: {control_ratio(case, middle)}")
    reached = goals(cases, found)
    if reached:
        lines.append(told(reached))
    return "\n".join(lines)


def label(case: Case, name: str) -> str:
    """Return a side's name; what is not a product but a part of one is in brackets."""
    part = name in {own.name for own in OWN if own not in PRODUCTS} or name not in {
        "hamgr",
        *COUNTED[case.heat],
    }
    return f"[{name}]" if part else name


def main(words: Sequence[str] | None = None) -> int:
    parser = parser_of("fan_out", __doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[20, 100, 300])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="leave the peers out; nothing is installed")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="keep the peers' installation in DIR")
    arguments = parser.parse_args(words)
    figures = {}
    with tempfile.TemporaryDirectory(prefix="hamgr-bench-") as name:
        programs = None
        if not arguments.alone:
            programs = peers.install((arguments.peers or Path(name) / "peers").absolute())
        for nodes in arguments.nodes:
            folder = Path(name) / str(nodes)
            folder.mkdir()
            found = measured(folder, nodes, arguments.rounds, programs=programs)
            figures[nodes] = {
                title: {side: [asdict(one) for one in taken] for side, taken in sides.items()}
                for title, sides in found.items()
            }
            if not arguments.json:
                print(table(found, nodes), flush=True)
    if arguments.json:
        print(json.dumps({"rounds": figures}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
