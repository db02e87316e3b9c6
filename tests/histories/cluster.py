"""A cluster of real `hamgrd` processes, each in a network namespace of its own, that survives our faults."""

import contextlib
import itertools
import json
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cli.demo.layout import Layout, ReplicaPlan
from cli.demo.processes import Processes
from tests.cluster.harness import Answer, Cluster
from tests.histories.sites import API_ADDRESS, Sites, claimed_sites

REPLICAS = ("r1", "r2", "r3")
VOTE_TRIES_S = 1.5
VOTE_TIMEOUT_S = 2.0
POLL_S = 0.05


class SeparateProcesses(Processes):
    """Starts each replica at its own site."""

    def __init__(self, layout: Layout, sites: Sites, *, environment: Mapping[str, str]) -> None:
        super().__init__(layout, environment=environment)
        self._sites = sites

    def start_replica(self, name: str) -> None:
        with self._sites.inside(name):
            super().start_replica(name)


class SeparateCluster(Cluster):
    """Three replicas that can be cut off from each other, but not from who asks them.

    Attributes:
        sites: The network between the replicas.
    """

    sites: Sites

    @classmethod
    def at(cls, sites: Sites, directory: Path) -> "SeparateCluster":
        """Lay a cluster out for `sites`; nothing runs yet."""
        cluster = cls(directory, replicas=len(sites.replicas), movable_clock=True)
        cluster.sites = sites
        cluster.layout = _moved(cluster.layout, sites)
        cluster.processes = SeparateProcesses(cluster.layout, sites, environment=cluster.environment)
        return cluster

    def on(
        self, name: str, method: str, path: str, body: Any = None, *, key: str = "", timeout_s: float = 5.0
    ) -> Answer:
        with self.sites.inside(name):
            return super().on(name, method, path, body, key=key, timeout_s=timeout_s)

    def kill(self, name: str) -> None:
        """SIGKILL a replica, unless it is dead already."""
        if self.processes.ended(name) is None:
            self.processes.kill_replica(name)

    def freeze(self, name: str) -> None:
        """SIGSTOP: the kernel still takes its requests, and nobody answers them."""
        self.processes.signal_replica(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.processes.signal_replica(name, signal.SIGCONT)

    def vote(self, name: str, *, votes: bool) -> str:
        """Give a replica a vote or take it, if somebody does that now; return what was said, in a line."""
        path, said = f"/v1/replicas/{name}:{'promote' if votes else 'demote'}", "nobody answers"
        deadline = time.monotonic() + VOTE_TRIES_S
        for asked in itertools.cycle(self.names):  # a leader hands over first
            answer = self.on(asked, "POST", path, timeout_s=VOTE_TIMEOUT_S)
            if answer.status == 200:
                return f"{name} {'votes' if votes else 'has no vote'}"
            said = str(answer.body.get("detail", said) if isinstance(answer.body, dict) else said)
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
        return f"{path}: {said}"

    def itself(self, name: str, *, timeout_s: float = 1.0) -> dict[str, Any] | None:
        """Return what a replica says of itself; None when it says nothing."""
        answer = self.on(name, "GET", "/v1/replica", timeout_s=timeout_s)
        return answer.body if answer.status == 200 else None

    def leaders(self, *, timeout_s: float = 0.4) -> list[tuple[int, str]]:
        """Return who says that it leads, with the term, the latest first; a frozen replica says nothing."""
        running = [name for name in self.names if self.processes.ended(name) is None]
        told = [(name, self.itself(name, timeout_s=timeout_s)) for name in running]
        return sorted(((answer["term"], name) for name, answer in told if answer and answer["leads"]))[::-1]

    def leader(self) -> str:
        """Return who leads in the latest term; empty when nobody says so."""
        return next((name for _, name in self.leaders()), "")


@contextlib.contextmanager
def separate_cluster(directory: Path | None = None) -> Iterator[SeparateCluster]:
    """Run three replicas for as long as the context is open.

    Args:
        directory: Where they store; one that is thrown away when it is not given.
    """
    with contextlib.ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hamgr-histories-")))
        sites = stack.enter_context(claimed_sites(REPLICAS))
        cluster = SeparateCluster.at(sites, directory / "cluster")
        stack.callback(cluster.stop)
        cluster.start()
        yield cluster


def _moved(layout: Layout, sites: Sites) -> Layout:
    """Give every replica the addresses of its site, in its configuration and in the others' too."""
    for plan in layout.replicas:
        settings = json.loads(plan.config.read_text())
        settings |= {"raft": sites.raft(plan.name), "api": API_ADDRESS}
        for name, peer in settings["peers"].items():
            peer |= {"raft": sites.raft(name), "api": API_ADDRESS}
        plan.config.write_text(json.dumps(settings, indent=2) + "\n")
    return replace(layout, replicas=tuple(_plan(plan, sites) for plan in layout.replicas))


def _plan(plan: ReplicaPlan, sites: Sites) -> ReplicaPlan:
    return replace(plan, raft=sites.raft(plan.name), api=API_ADDRESS)
