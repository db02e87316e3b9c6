"""How long a replica with a long past and a large state takes to come back, and what it holds in memory.

The past is made through the API, by 64 clients that add the nodes and then edit them until the log has seen
all commands; snapshots and compaction happen as they happen. Then a follower, and after it the leader, is
killed with SIGKILL and started again: it is back when it is ready and has applied what the others have.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from statemachine.model import NODES_MAX
from tests.bench.command import parser_of, told
from tests.bench.consensus_client import run, send_all
from tests.bench.consensus_sides import Hamgr
from tests.bench.idle import KIB_PER_MIB, resident_mib

COMMANDS = 100_000
CLIENTS = 64
GOAL_S, GOAL_MIB = 5.0, 300.0
POLL_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """One replica's restart; `loaded_mib` is what it held before it was killed."""

    name: str
    led: bool
    seconds: float
    loaded_mib: float
    resident_mib: float
    disk_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The load and the restarts after it."""

    commands: int
    nodes: int
    loading_s: float
    returns: Sequence[Return]


def measured(directory: Path, *, commands: int, nodes: int) -> Found:
    """Make the past, then restart a follower and the leader."""
    with Hamgr(directory) as side:
        begun_s = time.monotonic()
        _load(side, commands, nodes)
        loading_s = time.monotonic() - begun_s
        side.wait_until_caught_up()
        leader = side.leader()
        returns = [_restart(side, next(member for member in side.members if member != leader))]
        returns.append(_restart(side, side.leader()))  # it may be another one by now
        return Found(commands=commands, nodes=nodes, loading_s=loading_s, returns=returns)


def _load(side: Hamgr, commands: int, nodes: int) -> None:
    def add(number: int) -> bytes:
        body = {
            "name": _node(number),
            "address": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
            "labels": {"rack": f"r{number % 40}", "site": "bench"},
            "variables": {"value": "v" * 88},
        }
        return side.request("POST", "/v1/nodes", body, key=f"add-{number}")

    def edit(number: int) -> bytes:
        body = {"variables": {"value": f"{number:012d}{'v' * 88}"}}
        return side.request("PATCH", f"/v1/nodes/{_node(number % nodes)}", body, key=f"edit-{number}")

    for request, count in ((add, nodes), (edit, commands - nodes)):
        run(send_all(side.address(side.leader()), request, clients=CLIENTS, count=count))


def _node(number: int) -> str:
    return f"node-{number:05d}"


def _restart(side: Hamgr, member: str) -> Return:
    led = side.leader() == member
    loaded_mib = resident_mib(side.pid(member))
    side.kill(member)
    side.cluster.wait("another leader", side.leader)
    goal_index = max(side.applied(other) for other in side.members if other != member)
    begun_s = time.monotonic()
    side.revive(member)
    while not (side.ready(member) and side.applied(member) >= goal_index):
        time.sleep(POLL_S)
    seconds = time.monotonic() - begun_s
    side.wait_until_caught_up()
    return Return(
        name=member,
        led=led,
        seconds=seconds,
        loaded_mib=loaded_mib,
        resident_mib=resident_mib(side.pid(member)),
        disk_mib=_bytes_below(side.folder(member)) / KIB_PER_MIB**2,
    )


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def table(found: Found) -> str:
    """Return the figures for people."""
    lines = [
        f"{found.commands} commands, {found.nodes} nodes; loaded through the API in {found.loading_s:.0f} s"
        f" ({found.commands / found.loading_s:.0f}/s)",
        f"{'':16}{'back after s':>13}{'MiB before':>12}{'MiB after':>11}{'MiB on disk':>13}",
    ]
    for one in found.returns:
        what = f"{one.name}, {'leader' if one.led else 'follower'}"
        lines.append(
            f"{what:16}{one.seconds:13.2f}{one.loaded_mib:12.1f}{one.resident_mib:11.1f}{one.disk_mib:13.1f}"
        )
    most_s = max(one.seconds for one in found.returns)
    most_mib = max(max(one.loaded_mib, one.resident_mib) for one in found.returns)
    goals = (
        (f"back in less than {GOAL_S:g} s", most_s < GOAL_S),
        (f"less than {GOAL_MIB:g} MiB", most_mib < GOAL_MIB),
    )
    lines.append(told(goals))
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    parser = parser_of("restart", __doc__)
    parser.add_argument("--commands", type=int, default=COMMANDS)
    parser.add_argument("--nodes", type=int, default=NODES_MAX)
    arguments = parser.parse_args(words)
    if not 0 < arguments.nodes <= min(arguments.commands, NODES_MAX):
        parser.error(f"--nodes can be 1 to {min(arguments.commands, NODES_MAX)}: each is one of the commands")
    with tempfile.TemporaryDirectory(prefix="hamgr-bench-") as name:
        found = measured(Path(name), commands=arguments.commands, nodes=arguments.nodes)
    print(json.dumps(asdict(found)) if arguments.json else table(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
