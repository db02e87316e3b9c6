"""How soon a dead node is known as that, and what watching costs: 300 OpenSSH servers, three replicas.

All are in a network namespace of their own, where every node has an address. Its machine dies by silence:
whatever is sent to that address is dropped. A node whose sshd alone has died still has a pulse, and is met
with the next greeting. At last half of the fleet dies at once. Times end when the API says `unreachable`.
"""

import contextlib
import ctypes
import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench import cpu
from tests.bench.command import parser_of, told
from tests.bench.endpoints import Endpoint, Fleet, endpoints, user
from tests.cluster.harness import Cluster

GOAL_S = 10.0
CALM_S = 8.0
POLL_S = 0.05
DEADLINE_S = 90.0
CLONE_NEWNET = 0x40000000
RULES = """table inet bench {
  set dead { type ipv4_addr; }
  chain in {
    type filter hook input priority 0;
    ip daddr @dead drop;
  }
}
"""
DISCOVER_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was measured.

    Attributes:
        dead_s: From the death of one machine to the verdict.
        sshd_s: From the death of one machine's sshd.
        half_s: From the death of half of the fleet to the last verdict.
        half_events: How many events told of that.
        replicas_ms, nodes_ms: Processor time for one node and minute, of all replicas and of the node's sshd.
    """

    nodes: int
    dead_s: Sequence[float]
    sshd_s: Sequence[float]
    half_s: float
    half_events: int
    replicas_ms: float
    nodes_ms: float


def measured(directory: Path, *, count: int, deaths: int, seconds: float) -> Found:
    """Return the figures of one run."""
    with endpoints(directory, count, listen="0.0.0.0") as fleet:
        cluster = Cluster(directory / "cluster", ssh_key=fleet.key)
        try:
            cluster.start()
            time.sleep(CALM_S)
            idle, _ = _cost(cluster, fleet, seconds / 2)
            where = {node.name: _address(i) for i, node in enumerate(fleet.nodes)}
            _discover(cluster, [f"{where[node.name]}:{node.port}" for node in fleet.nodes])
            time.sleep(CALM_S)
            busy, theirs = _cost(cluster, fleet, seconds)
            names = iter(where)
            dead = [_fate(cluster, [next(names)], where) for _ in range(deaths)]
            rest = list(names)
            index = cluster.ask("GET", "/v1/nodes?limit=1").ok()["index"]
            half_s = _fate(cluster, rest[: count // 2], where)
            half_events = _events(cluster, index)
            sshd = [_end_sshd(cluster, node) for node in fleet.nodes[-deaths:]]
        finally:
            cluster.stop()
    return Found(
        nodes=count,
        dead_s=dead,
        sshd_s=sshd,
        half_s=half_s,
        half_events=half_events,
        replicas_ms=(busy - idle) * 60 / count * 1_000,
        nodes_ms=theirs * 60 / count * 1_000,
    )


def _address(number: int) -> str:
    return f"10.99.{number // 250}.{number % 250 + 1}"


def _discover(cluster: Cluster, addresses: Sequence[str]) -> None:
    job = cluster.submit("discover", addresses=list(addresses), user=user())
    ended = cluster.ended(job, timeout_s=DISCOVER_S)
    if ended["state"] != "succeeded":
        raise SystemExit(f"not every server was discovered: {ended['error']}")


def _cost(cluster: Cluster, fleet: Fleet, seconds: float) -> tuple[float, float]:
    """Return what replicas and servers take of a processor, as shares of one."""
    pids = cluster.processes.pids()
    ours, theirs, begun = cpu.of_processes(pids), fleet.account.cpu_s(), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - begun
    return (cpu.of_processes(pids) - ours) / took, (fleet.account.cpu_s() - theirs) / took


def _lost(cluster: Cluster) -> set[str]:
    page = cluster.ask("GET", "/v1/nodes?selector=presence%3Dunreachable&limit=500").ok()
    return {node["name"] for node in page["items"]}


def _fate(cluster: Cluster, names: Sequence[str], where: Mapping[str, str]) -> float:
    """Have machines die, and return the seconds until all are known as dead."""
    addresses = ", ".join(where[name] for name in names)
    _tool("nft", "add", "element", "inet", "bench", "dead", f"{{ {addresses} }}")
    return _seconds_until_lost(cluster, set(names))


def _end_sshd(cluster: Cluster, node: Endpoint) -> float:
    os.kill(int((node.root.parent / "sshd.pid").read_text()), signal.SIGKILL)
    return _seconds_until_lost(cluster, {node.name})


def _seconds_until_lost(cluster: Cluster, names: set[str]) -> float:
    begun = time.monotonic()
    while not names <= _lost(cluster):
        _patience(begun)
    return time.monotonic() - begun


def _events(cluster: Cluster, index: int) -> int:
    events = cluster.ask("GET", f"/v1/events?follow=0&since={index}.9999&limit=500").ok()["items"]
    return sum(event["kind"].endswith(".presence") for event in events)


def _tool(*words: str, text: str = "") -> None:
    subprocess.run(words, check=True, input=text.encode())


@contextlib.contextmanager
def _own_network(count: int) -> Iterator[None]:
    """Work in a new network namespace with an address for each node; it goes with this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise SystemExit(f"no network namespace: {os.strerror(ctypes.get_errno())}; run it as root")
    lines = ["link set lo up", *(f"addr add {_address(i)}/32 dev lo" for i in range(count))]
    _tool("ip", "-batch", "-", text="\n".join(lines) + "\n")
    _tool("nft", "-f", "-", text=RULES)
    yield


def _patience(begun: float) -> None:
    if time.monotonic() - begun > DEADLINE_S:
        raise SystemExit(f"not known as unreachable within {DEADLINE_S:g} s")
    time.sleep(POLL_S)


def table(found: Found) -> str:
    """Return the figures for people."""

    def line(what: str, times: Sequence[float]) -> str:
        return f"{what:34}{statistics.median(times):>10.1f}{max(times):>10.1f}"

    most_s = max(*found.dead_s, found.half_s)
    return "\n".join(
        [
            f"{found.nodes} nodes, 3 replicas; goal: known within {GOAL_S:g} s",
            f"{'':34}{'median s':>10}{'most s':>10}",
            line("one machine dies", found.dead_s),
            line(f"half at once ({found.half_events} events)", [found.half_s]),
            line("one sshd is killed", found.sshd_s),
            f"processor time for a node and minute: {found.replicas_ms:.1f} ms of all replicas, "
            f"{found.nodes_ms:.1f} ms of its sshd",
            told([(f"none over {GOAL_S:g} s", most_s <= GOAL_S)]),
        ]
    )


def main(words: Sequence[str] | None = None) -> int:
    parser = parser_of("presence", __doc__)
    parser.add_argument("--nodes", type=int, default=300)
    parser.add_argument("--deaths", type=int, default=10, help="one by one, of each kind")
    parser.add_argument("--seconds", type=float, default=30.0, help="for which the cost is measured")
    asked = parser.parse_args(words)
    with _own_network(asked.nodes), tempfile.TemporaryDirectory(prefix="hamgr-presence-") as directory:
        found = measured(Path(directory), count=asked.nodes, deaths=asked.deaths, seconds=asked.seconds)
    print(json.dumps(asdict(found)) if asked.json else table(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
