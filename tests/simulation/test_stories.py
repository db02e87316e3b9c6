"""Single stories that a seed once told, retold on purpose: one node, one job, one misfortune."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from backends.memory.faults import Fault
from backends.ports import Host
from hamgr.jobs.proposer import Proposer
from statemachine.commands import CancelJob, CommitBundle, SetGlobals, SubmitJob
from statemachine.discovery_commands import SubmitDiscovery
from statemachine.model import Endpoint, Job
from statemachine.outcomes import Accepted
from statemachine.rollout import Rollout
from statemachine.words import JobId, JobKind, JobState, NodeName, Phase, Status, TaskState
from tests.simulation import virtual_time
from tests.simulation.nodes import Launch, Machine
from tests.simulation.orders import POISON, Nature, Order, digest_of, manifest_of
from tests.simulation.virtual_time import VirtualClock
from tests.simulation.world import World

AT_ONCE = Nature(fails=0, lasts_s=0.0, reboots=False)
LONG = replace(AT_ONCE, lasts_s=20.0)
FIRST = "put-agent-0"
"""The first step of the only component of the role that the node gets."""
NODE = NodeName("n0")


class Story(World):
    """A quiet world with one node and three replicas, in which the first step goes as told."""

    def __init__(self, first_step: Nature) -> None:
        super().__init__(0, nodes=1)
        self._first_step = first_step
        self._requests = iter(range(1_000))

    def _nature(self, machine: str, order: Order) -> Nature:
        return self._first_step if order.step == FIRST else AT_ONCE

    @property
    def machine(self) -> Machine:
        return self.machines[0]

    def launches(self, step: str = FIRST) -> list[Launch]:
        return [launch for launch in self.machine.evidence if launch.order.step == step]

    async def ask(self, make: Callable[..., object], **fields: object) -> str:
        """Ask whatever replica is up, and return what the answer refers to."""
        replica = self.consensus.replica(self.consensus.up()[-1])
        people = Proposer(
            replica=replica, clock=VirtualClock(), new_id=lambda: f"story-{next(self._requests)}"
        )
        outcome = await replica.propose(people.make(make, **fields), timeout_s=60.0)  # type: ignore[arg-type]  # any command
        assert isinstance(outcome, Accepted), outcome
        return outcome.ref

    async def discover(self) -> None:
        endpoint = Endpoint(address=self.address_of(self.machine))
        await self.ended(await self.ask(SubmitDiscovery, endpoints=(endpoint,)))

    async def commission(self) -> str:
        return await self.ask(SubmitJob, kind=JobKind.COMMISSION, nodes=(NODE,), role="lone")

    async def soaked(self, job: str) -> None:
        """Wait until the node proves that it stays healthy."""
        async with asyncio.timeout(60.0):
            while self.consensus.final.jobs[JobId(job)].tasks[NODE].phase is not Phase.SOAK:
                await asyncio.sleep(0.1)

    async def ended(self, job: str) -> Job:
        async with asyncio.timeout(900.0):
            while self.consensus.final.jobs[JobId(job)].state is JobState.RUNNING:
                await asyncio.sleep(0.1)
        return self.consensus.final.jobs[JobId(job)]

    async def begun(self) -> None:
        async with asyncio.timeout(60.0):
            while not self.launches():
                await asyncio.sleep(0.1)

    def play(self, script: Callable[["Story"], Awaitable[None]]) -> None:
        async def whole() -> None:
            elections = asyncio.get_running_loop().create_task(self._elections())
            for process in self.processes.values():
                process.begin()
            await asyncio.sleep(10.0)
            await self.ask(
                CommitBundle, digest=digest_of(1), manifest=manifest_of(self.seed, 1), size_bytes=1
            )
            await self.discover()
            await script(self)
            await asyncio.sleep(300.0)
            self._judge()
            elections.cancel()

        virtual_time.run(whole())
        assert not self.broken, self.broken


def test_a_cancelled_attempt_whose_order_is_still_on_its_way_never_begins() -> None:
    def slow_run(_host: Host, verb: str) -> Fault | None:
        return Fault(delay_s=15.0) if verb == "run" else None

    async def script(story: Story) -> None:
        story.network.executor._fault = slow_run
        job = await story.commission()
        await asyncio.sleep(5.0)
        await story.ask(CancelJob, job=job)
        task = (await story.ended(job)).tasks[NODE]
        assert task.state is TaskState.CANCELLED
        assert task.results[0].ending == "cancelled"
        await asyncio.sleep(60.0)
        assert not story.launches()
        assert story.figures.counts["ex-leader refused by a node"] == 1

    Story(AT_ONCE).play(script)


@pytest.mark.parametrize("values", [{"size": 2}, {POISON: "probe"}], ids=["other", "impossible"])
def test_an_attempt_is_adopted_although_its_script_would_be_another_one_now(values: dict[str, str]) -> None:
    async def script(story: Story) -> None:
        job = await story.commission()
        await story.begun()
        await story.ask(SetGlobals, variables=values)
        story.crash(story.consensus.leader, down_s=600.0)
        await asyncio.sleep(10.0)
        await story.ask(SetGlobals, variables=dict.fromkeys(values))
        assert (await story.ended(job)).state is JobState.SUCCEEDED
        assert len(story.launches()) == 1

    Story(LONG).play(script)


def test_an_announced_attempt_that_no_node_heard_of_and_nobody_can_prepare_is_not_run() -> None:
    async def script(story: Story) -> None:
        story.armed = ("announced", "crash")
        job = await story.commission()
        while not story.figures.counts["crash at announced"]:
            await asyncio.sleep(0.001)
        story.down(story.machine, for_s=10.0)
        await story.ask(SetGlobals, variables={POISON: "probe"})
        task = (await story.ended(job)).tasks[NODE]
        assert (task.state, len(story.launches())) == (TaskState.FAILED, 0)
        assert task.results[0].ending == "not-run"

    Story(AT_ONCE).play(script)


def test_a_node_that_is_discovered_elsewhere_in_mid_step_is_followed() -> None:
    async def script(story: Story) -> None:
        job = await story.commission()
        await story.begun()
        story.move(story.machine)
        story.crash(story.consensus.leader, down_s=1.0)
        await asyncio.sleep(8.0)
        await story.discover()
        assert (await story.ended(job)).state is JobState.SUCCEEDED
        assert len(story.launches()) == 1

    Story(LONG).play(script)


@pytest.mark.parametrize("skew_s", [-3600.0, 3600.0], ids=["behind", "ahead"])
def test_a_new_leader_whose_clock_is_an_hour_wrong_ends_the_job_as_soon(skew_s: float) -> None:
    async def script(story: Story) -> None:
        job = await story.commission()
        await story.begun()
        for name, process in story.processes.items():
            if name != story.consensus.leader:
                process.clock.skew_s = skew_s
        story.crash(story.consensus.leader, down_s=600.0)
        began_s = asyncio.get_running_loop().time()
        await story.ended(job)
        assert asyncio.get_running_loop().time() - began_s < 300.0

    Story(replace(AT_ONCE, fails=1)).play(script)


def test_a_leader_that_is_cut_off_in_mid_step_orders_nothing_more_and_is_not_repeated() -> None:
    async def script(story: Story) -> None:
        job = await story.commission()
        await story.begun()
        old = story.consensus.leader
        story.cut_off(old, for_s=120.0)
        assert (await story.ended(job)).state is JobState.SUCCEEDED
        assert story.consensus.leader != old
        assert story.consensus.replica(old).leadership.leads
        assert len(story.launches()) == 1
        assert story.consensus.final.nodes[NODE].status is Status.COMMISSIONED

    Story(LONG).play(script)


def test_a_node_soaks_for_as_long_as_was_asked_although_its_leader_dies_meanwhile() -> None:
    async def script(story: Story) -> None:
        soak = Rollout(min_healthy_s=600.0)
        job = await story.ask(SubmitJob, kind=JobKind.COMMISSION, nodes=(NODE,), role="lone", rollout=soak)
        await story.soaked(job)
        began_s = asyncio.get_running_loop().time()
        await asyncio.sleep(200.0)
        story.crash(story.consensus.leader, down_s=30.0)
        assert (await story.ended(job)).state is JobState.SUCCEEDED
        (last,) = [launch for launch in story.machine.evidence if launch.key.step.startswith("soak")]
        assert last.at - began_s >= 600.0 - 1.0

    Story(AT_ONCE).play(script)
