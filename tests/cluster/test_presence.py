"""Who is there, with real replicas and real OpenSSH nodes.

All replicas live in the lab's hub, each under a group id of its own, so that the hub can drop what one of
them sends to a node and nothing else. Cuts are never told to anybody.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.demo.layout import Layout
from cli.demo.processes import Processes
from tests.cluster.harness import Cluster
from tests.lab.kit import Lab
from tests.lab.kit.processes import tool

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

NODES = ("n1", "n2", "n3")
FIRST_GROUP = 61_001
RULES = """table inet presence {
  set cut { type gid . ipv4_addr; }
  chain out {
    type filter hook output priority 0;
    meta skgid . ip daddr @cut drop;
  }
}
"""


class GroupedProcesses(Processes):
    """Starts each replica under a group id of its own."""

    def __init__(self, layout: Layout, groups: dict[str, int]) -> None:
        super().__init__(layout)
        self._groups = groups

    def start_replica(self, name: str) -> None:
        before = os.getegid()
        os.setegid(self._groups[name])
        try:
            super().start_replica(name)
        finally:
            os.setegid(before)


class Watched(Cluster):
    """A cluster whose replicas can each be cut off from a node.

    Attributes:
        lab: Where the nodes are.
    """

    lab: Lab
    groups: dict[str, int]

    @classmethod
    def at(cls, directory: Path, lab: Lab) -> "Watched":
        cluster = cls(directory, ssh_key=Path(lab.ssh_key))
        cluster.lab = lab
        cluster.groups = {name: FIRST_GROUP + i for i, name in enumerate(cluster.names)}
        cluster.processes = GroupedProcesses(cluster.layout, cluster.groups)
        return cluster

    def cut(self, node: str, *replicas: str) -> None:
        """Drop from now on what `replicas` send to `node`."""
        pairs = ", ".join(f"{self.groups[name]} . {self.lab.address(node)}" for name in replicas)
        tool("nft", "-f", "-", text=f"add element inet presence cut {{ {pairs} }}\n")

    def heal(self) -> None:
        tool("nft", "-f", "-", text="flush set inet presence cut\n")

    def presence(self, node: str) -> str:
        return str(self.node(node)["presence"])

    def becomes(self, node: str, presence: str) -> Any:
        return self.wait(f"{node} {presence}", lambda: (n := self.node(node))["presence"] == presence and n)

    def told(self, node: str) -> list[str]:
        """Return the events of a node's presence."""
        found = self.ask("GET", "/v1/events?follow=0").ok()
        return [e["message"] for e in found["items"] if e["kind"] == "node.presence" and e["subject"] == node]


@pytest.fixture
def cluster(on_lab_network: Lab, tmp_path: Path) -> Iterator[Watched]:
    """Three replicas in the hub that know three nodes."""
    lab = on_lab_network
    cluster = Watched.at(tmp_path / "cluster", lab)
    tool("nft", "delete", "table", "inet", "presence", check=False)  # a killed run has left it
    tool("nft", "-f", "-", text=RULES)
    try:
        cluster.start()
        job = cluster.submit("discover", addresses=[lab.address(node) for node in NODES])
        assert cluster.ended(job)["state"] == "succeeded", cluster.job(job)
        yield cluster
    finally:
        cluster.stop()
        tool("nft", "delete", "table", "inet", "presence", check=False)


def test_a_host_is_unreachable_when_nobody_reaches_it_and_not_when_one_replica_does_not(
    cluster: Watched,
) -> None:
    leader = cluster.wait("a leader", cluster.leader)
    follower = next(name for name in cluster.names if name != leader)
    cluster.cut("n1", leader)
    cluster.cut("n2", follower)
    cluster.cut("n3", *cluster.names)
    lost = cluster.becomes("n3", "unreachable")
    assert "no answer to" in lost["presence_reason"]
    assert " and " in lost["presence_reason"]
    assert lost["presence_since"]
    assert [cluster.presence(node) for node in ("n1", "n2")] == ["reachable", "reachable"]
    cluster.heal()
    assert cluster.becomes("n3", "reachable")["presence_reason"] == ""
    assert cluster.told("n1") == cluster.told("n2") == []


def test_another_machine_at_the_address_of_a_lost_one_is_told_and_is_not_taken_for_it(
    cluster: Watched,
) -> None:
    cluster.lab.kill("n1")
    cluster.becomes("n1", "unreachable")
    cluster.lab.renew("n1")
    cluster.wait(
        "the stranger", lambda: "is not n1 or lets nobody in" in cluster.node("n1")["presence_reason"]
    )
    assert cluster.presence("n1") == "unreachable"


def test_a_new_leader_finds_out_what_the_old_one_did_not_tell(cluster: Watched) -> None:
    leader = cluster.wait("a leader", cluster.leader)
    cluster.cut("n2", *cluster.names)
    cluster.processes.kill_replica(leader)
    lost = cluster.becomes("n2", "unreachable")
    assert leader not in lost["presence_reason"]
    assert [cluster.presence(node) for node in ("n1", "n3")] == ["reachable", "reachable"]
