"""The leader's duties beside the jobs: cordons end, debts are collected, schedules fire, whoever leads."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from backends.memory.executor import MemoryExecutor
from backends.memory.node import MemoryNode
from hamgr.jobs import upkeep
from hamgr.jobs.attempt import AttemptSettings
from hamgr.jobs.proposer import Proposer
from hamgr.jobs.worker import Tools
from hamgr.manager import Manager
from statemachine import codec
from statemachine.commands import ReplaceNode, SetMaintenance, SubmitJob
from statemachine.jobs.upkeep import ScheduleDue, duties
from statemachine.jobs.work import StepDue
from statemachine.model import Node, State
from statemachine.schedule_commands import PutSchedule
from statemachine.words import JobId, JobKind, JobState, NodeName, RequestId, Status
from tests.hamgr.api.rig import Cluster, LocalReplica
from tests.simulation import virtual_time
from tests.simulation.virtual_time import VirtualClock
from tests.statemachine.fleet import AT, Fleet, component, key_of, manifest


class Scripts:
    """Every step is the same script, which the nodes here do not read."""

    async def script(self, state: State, job: JobId, node: NodeName, due: StepDue) -> bytes:
        return b"true"


class Stopped:
    """A clock that a test sets."""

    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        return self.at


class World:
    """Two web nodes in service, a spare one, and as many managers as a story needs."""

    def __init__(self) -> None:
        fleet = Fleet()
        fleet.at = AT - 1_000
        fleet.bundle(1, manifest(component("app")))
        fleet.in_service("web-1", "web-2")
        fleet.discovered("spare")
        self.cluster = Cluster()
        self.cluster.state = fleet.state
        self.replica = LocalReplica(self.cluster)
        self.executor = MemoryExecutor()
        self.machines = {}
        for name in fleet.state.nodes:
            machine = MemoryNode(name, host_key=key_of(name), machine_id=f"id-{name}")
            self.executor.attach(machine, f"{name}.example")
            self.machines[str(name)] = machine
        self._ids = itertools.count(1)
        self._running: asyncio.Task[None] | None = None

    def tools(self, clock: Stopped | VirtualClock) -> Tools:
        return Tools(
            replica=self.replica,
            proposer=Proposer(replica=self.replica, clock=clock, new_id=lambda: f"m-{next(self._ids)}"),
            executor=self.executor,
            scripts=Scripts(),
            clock=clock,
            failpoints=lambda *_: None,
            settings=AttemptSettings(unreachable_deadline_s=5.0),
        )

    async def lead(self) -> None:
        """Let another leader take over; the one before ends wherever it is."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        self.cluster.term += 1
        manager = Manager(tools=self.tools(VirtualClock()), new_cluster="testcluster")
        self._running = asyncio.get_running_loop().create_task(manager.run())

    def ask(self, make: Callable[..., object], **fields: object) -> str:
        stamps = {"request_id": f"ask-{next(self._ids)}", "at": VirtualClock().now(), "actor": "ann"}
        return str(self.cluster.apply(make(**stamps, **fields)).ref)

    def node(self, name: str) -> Node:
        return self.cluster.state.nodes[NodeName(name)]

    async def until(self, holds: Callable[[], bool], *, within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while not holds():
                await asyncio.sleep(0.5)


def story(tell: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        world = World()
        await world.lead()
        await tell(world)

    virtual_time.run(main())


def test_a_cordon_ends_when_its_time_is_over_and_not_before() -> None:
    async def tell(world: World) -> None:
        until = VirtualClock().now() + 60
        world.ask(SetMaintenance, node="web-1", on=True, reason="disk", until=until)
        await asyncio.sleep(59)
        assert world.node("web-1").maintenance is not None
        await world.lead()
        await world.until(lambda: world.node("web-1").maintenance is None, within_s=7)

    story(tell)


async def _owing(world: World) -> None:
    world.executor.set_up(world.machines["web-2"], up=False)
    job = world.ask(SubmitJob, kind=JobKind.UPGRADE, selector="role=web")
    await world.until(lambda: JobId(job) not in world.cluster.state.running, within_s=120)
    assert world.node("web-1").status is Status.UPGRADED
    assert world.node("web-2").debt is not None


def test_a_node_that_is_back_is_met_by_the_leader_and_pays() -> None:
    async def tell(world: World) -> None:
        await _owing(world)
        await asyncio.sleep(600)
        assert world.node("web-2").status is Status.COMMISSIONED
        jobs = world.cluster.state.job_count
        world.executor.set_up(world.machines["web-2"], up=True)
        await world.until(lambda: world.node("web-2").debt is None, within_s=60)
        assert world.node("web-2").status is Status.UPGRADED
        assert world.cluster.state.job_count == jobs + 1

    story(tell)


def test_a_payment_is_made_once_however_often_the_leader_changes() -> None:
    async def tell(world: World) -> None:
        await _owing(world)
        jobs = world.cluster.state.job_count
        world.executor.set_up(world.machines["web-2"], up=True)
        for _ in range(40):
            await world.lead()
            await asyncio.sleep(0.7)
        await world.until(lambda: world.node("web-2").debt is None, within_s=120)
        assert world.cluster.state.job_count == jobs + 1

    story(tell)


@pytest.mark.parametrize(
    "other", [{}, {"host_key": key_of("web-2")}, {"machine_id": "id-web-2"}], ids=["both", "id", "key"]
)
def test_another_machine_at_the_address_of_a_debtor_is_not_taken_for_it(other: dict[str, str]) -> None:
    async def tell(world: World) -> None:
        await _owing(world)
        world.executor.attach(MemoryNode("impostor", **other), "web-2.example")  # type: ignore[arg-type] # texts
        await asyncio.sleep(120)
        assert world.node("web-2").debt is not None
        assert world.node("web-2").presence == "unreachable"

    story(tell)


def test_a_replacement_is_carried_through_although_leaders_die_all_the_way() -> None:
    async def tell(world: World) -> None:
        for machine in world.machines.values():
            machine.behaviour = lambda *_: (2.0, 0, b"")
        job = world.ask(ReplaceNode, old="web-1", new="spare")
        while JobId(job) in world.cluster.state.running:
            await asyncio.sleep(0.9)
            await world.lead()
        assert world.cluster.state.jobs[JobId(job)].state is JobState.SUCCEEDED
        assert world.node("web-1").machine_id == "id-spare"
        for machine in world.machines.values():
            keys = [key for _, key in machine.launches]
            assert len(keys) == len(set(keys)), "no attempt is launched twice"

    story(tell)


def _scheduled(world: World, cron: str, *, next_at: float, zone: str = "UTC") -> None:
    stamps = {"request_id": RequestId("x"), "at": 0.0, "actor": ""}
    verify = SubmitJob(**stamps, kind=JobKind.VERIFY, selector="role=web")
    world.cluster.apply(
        PutSchedule(
            request_id=RequestId("put"),
            at=next_at - 10,
            actor="ann",
            name="often",
            cron=cron,
            zone=zone,
            request=codec.encode_command(verify),
            next_at=next_at,
        )
    )


@pytest.mark.parametrize(
    ("late_s", "outcome"),
    [(0.0, "began"), (1_250.0, "50 s late"), (30.0, "began"), (7_000.0, "began")],
)
async def test_a_schedule_fires_the_newest_of_its_moments(late_s: float, outcome: str) -> None:
    world = World()
    _scheduled(world, "*/10 * * * *", next_at=AT - AT % 600 + 600)
    due = duties(world.cluster.state)[0]
    assert isinstance(due, ScheduleDue)
    clock = Stopped(due.at + late_s)
    await upkeep.see_to(world.tools(clock), due)
    found = world.cluster.state.schedules["often"]
    assert outcome in found.outcome
    assert found.next_at == clock.at - clock.at % 600 + 600
    assert len(world.cluster.state.running) == 1
    await upkeep.see_to(world.tools(clock), due)  # a leader that has not heard of it yet
    assert len(world.cluster.state.running) == 1


async def test_a_moment_of_long_ago_is_skipped() -> None:
    world = World()
    noon = AT - AT % 86_400 + 86_400 / 2
    _scheduled(world, "0 12 * * *", next_at=noon)
    (due,) = duties(world.cluster.state)
    await upkeep.see_to(world.tools(Stopped(noon + 7_200)), due)
    found = world.cluster.state.schedules["often"]
    assert "nobody led the cluster" in found.outcome
    assert found.next_at == noon + 86_400
    assert not world.cluster.state.running


async def test_a_zone_that_a_replica_does_not_know_pauses_the_schedule_and_says_so() -> None:
    world = World()
    _scheduled(world, "0 12 * * *", next_at=AT, zone="Atlantis/Capital")
    (due,) = duties(world.cluster.state)
    await upkeep.see_to(world.tools(Stopped(AT)), due)
    assert "Atlantis/Capital" in world.cluster.state.schedules["often"].paused
    assert duties(world.cluster.state) == ()
