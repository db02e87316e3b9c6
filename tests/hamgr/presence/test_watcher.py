"""The leader's watch over a cluster in this process: what reaches the log, and what must not."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from backends.ports import Host, NodeExecutor, ProbeReport, Refused, Unreachable
from hamgr.clock import SystemClock
from hamgr.jobs.proposer import Proposer
from hamgr.presence import watcher as module
from hamgr.presence.judge import Rules
from hamgr.presence.vantages import Answers
from hamgr.presence.watcher import Watcher
from hamgr.raft.memory import MemoryCluster, MemoryReplica
from hamgr.raft.port import Membership
from hamgr.raft.protocol.membership import Configuration
from statemachine.discovery_commands import ReportSighting, Sighting, SubmitDiscovery
from statemachine.model import Endpoint, Node
from statemachine.outcomes import Accepted
from statemachine.words import NodeName, Presence

NAMES = ("n1", "n2", "n3", "n4", "n5", "n6")
RULES = Rules(interval_s=0.05, recheck_s=0.02, hold_s=0.3)
DEADLINE_S = 20.0


@dataclass
class World:
    """Replicas, and who of them misses which nodes."""

    cluster: MemoryCluster
    missed: set[tuple[str, str]] = field(default_factory=set)
    mute: set[str] = field(default_factory=set)
    strangers: set[str] = field(default_factory=set)
    clones: set[str] = field(default_factory=set)
    asked_who: int = 0

    def of(self, name: str) -> "Vantage":
        return Vantage(self, name)

    def lose(self, *nodes: str) -> None:
        self.missed |= set(itertools.product(("r1", "r2", "r3"), nodes))

    def find(self, *nodes: str) -> None:
        self.missed -= set(itertools.product(("r1", "r2", "r3"), nodes))

    @property
    def leader(self) -> MemoryReplica:
        return self.cluster.replica(self.cluster.leader)

    def node(self, name: str) -> Node:
        return self.leader.state.nodes[NodeName(name)]

    async def becomes(self, name: str, presence: Presence) -> None:
        await until(lambda: self.node(name).presence is presence)

    async def probe(self, host: Host, *, timeout_s: float) -> ProbeReport:
        self.asked_who += 1
        if ("r1", host.name) in self.missed:
            raise Unreachable(host.name, "no answer")
        if host.name in self.strangers:
            raise Refused(host.name, "its host key is another one")
        machine_id = "another" if host.name in self.clones else f"id-{host.name}"
        return ProbeReport(host_key=host.host_key, machine_id=machine_id, hostname=host.name, epoch=0)


@dataclass
class Vantage:
    world: World
    name: str

    async def probe(self, nodes: Sequence[NodeName]) -> Answers | None:
        await asyncio.sleep(0)
        if self.name in self.world.mute:
            return None
        silent = {name: "no connection" for name in nodes if (self.name, name) in self.world.missed}
        return list(nodes), silent


class Members:
    configuration = Configuration()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.005)


_ids = itertools.count(1)


def stamp() -> dict[str, Any]:
    return {"request_id": f"setup-{next(_ids)}", "at": 1.0, "actor": "test"}


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(module, "REST_S", 0.02)
    monkeypatch.setattr(module, "PROOF_TIMEOUT_S", 0.1)
    monkeypatch.setattr(module, "PROPOSE_TIMEOUT_S", 0.1)
    cluster = MemoryCluster(("r1", "r2", "r3"))
    for name in ("r1", "r2", "r3"):
        await cluster.replica(name).start()
    world = World(cluster)
    await _discover(world.leader)
    tasks = [asyncio.create_task(_watcher(world, name).run()) for name in ("r1", "r2", "r3")]
    yield world
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _discover(replica: MemoryReplica) -> None:
    places = tuple(Endpoint(address=f"{name}.test") for name in NAMES)
    made = await replica.propose(SubmitDiscovery(**stamp(), endpoints=places), timeout_s=5.0)
    assert isinstance(made, Accepted)
    for name, place in zip(NAMES, places, strict=True):
        seen = Sighting(endpoint=place, name=name, machine_id=f"id-{name}", host_key=f"key {name}", epoch=0)
        task = NodeName(str(place))
        report = ReportSighting(**stamp(), job=cast("Any", made.ref), task=task, sighting=seen)
        assert isinstance(await replica.propose(report, timeout_s=5.0), Accepted)


def _watcher(world: World, name: str) -> Watcher:
    replica, clock = world.cluster.replica(name), SystemClock()
    return Watcher(
        replica=replica,
        members=cast("Membership", Members()),
        proposer=Proposer(replica=replica, clock=clock, new_id=lambda: f"{name}-{next(_ids)}"),
        executor=cast("NodeExecutor", world),
        vantages=world,
        clock=clock,
        rules=RULES,
    )


async def test_a_node_that_nobody_hears_is_unreachable_and_back_when_it_has_shown_who_it_is(
    world: World,
) -> None:
    world.lose("n1")
    await world.becomes("n1", Presence.UNREACHABLE)
    assert "no answer to" in world.node("n1").presence_reason
    assert world.asked_who == 0
    world.find("n1")
    await world.becomes("n1", Presence.REACHABLE)
    assert world.asked_who == 1
    assert all(world.node(name).presence is Presence.REACHABLE for name in NAMES)


async def test_while_nothing_changes_nothing_is_written(world: World) -> None:
    before = world.leader.state.index
    world.missed |= {("r1", name) for name in NAMES[:3]}
    await asyncio.sleep(0.5)
    assert world.leader.state.index == before


async def test_a_stranger_does_not_bring_a_node_back_and_is_told(world: World) -> None:
    world.lose("n1")
    await world.becomes("n1", Presence.UNREACHABLE)
    world.strangers.add("n1")
    world.find("n1")
    await until(lambda: "another one" in world.node("n1").presence_reason)
    assert world.node("n1").presence is Presence.UNREACHABLE


async def test_a_clone_with_the_same_host_key_does_not_bring_a_node_back(world: World) -> None:
    world.lose("n1")
    await world.becomes("n1", Presence.UNREACHABLE)
    world.clones.add("n1")
    world.find("n1")
    await until(lambda: "its machine id is not that of n1" in world.node("n1").presence_reason)
    assert world.node("n1").presence is Presence.UNREACHABLE


async def test_the_loss_of_many_is_one_entry(world: World) -> None:
    before = world.leader.state.index
    world.lose(*NAMES)
    await world.becomes("n1", Presence.UNREACHABLE)
    assert all(world.node(name).presence is Presence.UNREACHABLE for name in NAMES)
    assert [event.kind for event in world.leader.state.events if event.index > before] == ["fleet.presence"]


async def test_a_leader_that_is_cut_off_calls_nobody_unreachable_not_even_later(world: World) -> None:
    old = world.cluster.leader
    world.missed |= {(old, name) for name in NAMES}
    world.cluster.isolate(old)
    await until(lambda: world.cluster.leader != old)
    await asyncio.sleep(0.5)
    world.cluster.heal(old)
    world.missed.clear()
    await asyncio.sleep(0.2)
    kinds = [event.kind for event in world.leader.state.events]
    assert "node.presence" not in kinds
    assert "fleet.presence" not in kinds


async def test_the_next_leader_finds_out_by_its_own_probes(world: World) -> None:
    old = world.cluster.leader
    world.lose("n2")
    world.cluster.isolate(old)
    await until(lambda: world.cluster.leader != old)
    await world.becomes("n2", Presence.UNREACHABLE)
    assert old not in world.node("n2").presence_reason


async def test_with_replicas_that_give_no_word_a_lost_node_is_suspect(world: World) -> None:
    world.mute |= {"r1", "r2", "r3"} - {world.cluster.leader}
    world.lose("n3")
    await world.becomes("n3", Presence.SUSPECT)
    assert world.node("n3").presence_reason.endswith("no other replica could be asked")
