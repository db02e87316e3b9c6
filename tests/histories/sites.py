"""A network for the replicas of one cluster: each has a namespace of its own, and the cuts lie between them.

1. A replica's raft address is on the network; its API stays on the loopback address of its own namespace.
   So a cut takes a replica's peers from it, and never its clients.
2. Cuts drop frames on a bridge: both sides keep their link, and nothing tells them.
3. What a killed run has left, processes included, is cleared before its slot is used again.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.lab.kit.network import Network
from tests.lab.kit.processes import END_TIMEOUT_S, LabError, alive, in_network_namespace, tool
from tests.lab.kit.slots import SLOTS_MAX, claim_slot

SITES = range(SLOTS_MAX, SLOTS_MAX + 16)
"""Slots of our own, after those of the labs: nobody takes a lab down while we use its lock's neighbour."""
RAFT_PORT, API_PORT = 7001, 8001
API_ADDRESS = f"127.0.0.1:{API_PORT}"


class Sites:
    """The network of one cluster; replica `rN` lives at host `nN` of the bridge."""

    def __init__(self, slot: int, replicas: Sequence[str]) -> None:
        """Nothing is made yet."""
        self.replicas = tuple(replicas)
        self._network = Network(f"hamgr-site{slot}", f"10.78.{slot}")

    def raft(self, replica: str) -> str:
        """Return the address under which the other replicas reach this one."""
        return f"{self._network.address(_host(replica))}:{RAFT_PORT}"

    @contextlib.contextmanager
    def inside(self, replica: str) -> Iterator[None]:
        """Put the calling thread next to a replica: sockets and processes made inside stay there."""
        with in_network_namespace(self._network.namespace(_host(replica))):
            yield

    def make(self) -> None:
        """Make the network, without cuts."""
        self._network.make()
        for replica in self.replicas:
            host = _host(replica)
            self._network.plug(host)
            lines = (
                "link set lo up",
                f"addr add {self._network.address(host)}/24 dev eth0",
                "link set eth0 up",
            )
            tool("ip", "-n", self._network.namespace(host), "-batch", "-", text="\n".join(lines) + "\n")

    def remove(self) -> None:
        """Take the network away, with what still runs in it."""
        for name in [self._network.namespace(_host(replica)) for replica in self.replicas]:
            if Path("/run/netns", name).exists():
                _end_all(name)
                tool("ip", "netns", "del", name, check=False)
        if self._network.exists():
            self._network.remove()

    def isolate(self, *replicas: str) -> None:
        """Cut `replicas` off from the others, instead of every earlier cut; among themselves they talk."""
        rest = [_host(replica) for replica in self.replicas if replica not in replicas]
        self._network.partition([[_host(replica) for replica in replicas], rest])

    def shatter(self) -> None:
        """Cut every replica off from every other, instead of every earlier cut."""
        self._network.partition([[_host(replica)] for replica in self.replicas])

    def block(self, source: str, target: str) -> None:
        """Drop what goes from `source` to `target`; the other direction passes."""
        self._network.block(_host(source), _host(target))

    def deafen(self, replica: str) -> None:
        """Have a replica hear nobody, while what it sends still goes out."""
        for other in set(self.replicas) - {replica}:
            self.block(other, replica)

    def silence(self, replica: str) -> None:
        """Have nothing of what a replica sends go out, while it still hears."""
        for other in set(self.replicas) - {replica}:
            self.block(replica, other)

    def heal(self) -> None:
        """Undo every cut."""
        self._network.heal()


@contextlib.contextmanager
def claimed_sites(replicas: Sequence[str]) -> Iterator[Sites]:
    """Give a network that no other run has, for as long as the context is open."""
    for slot in SITES:
        if (descriptor := claim_slot(slot)) is None:
            continue
        sites = Sites(slot, replicas)
        try:
            sites.remove()
            sites.make()
            yield sites
        finally:
            sites.remove()
            os.close(descriptor)
        return
    raise LabError(f"all {len(SITES)} networks for replicas are in use")


def _host(replica: str) -> str:
    return f"n{replica.removeprefix('r')}"


def _end_all(namespace: str) -> None:
    """End what runs in a namespace that is ours, and wait until it is gone."""
    pids = [int(word) for word in tool("ip", "netns", "pids", namespace).split()]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + END_TIMEOUT_S
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.005)
