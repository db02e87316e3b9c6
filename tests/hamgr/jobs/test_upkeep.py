"""The leader's duties to nodes beside the jobs: cordons end, debts are collected, whoever leads."""

import asyncio

import pytest

from backends.memory.node import MemoryNode
from statemachine.commands import ReplaceNode, SetMaintenance, SubmitJob
from statemachine.words import JobId, JobKind, JobState, Status
from tests.hamgr.jobs.small_fleet import World, story
from tests.simulation.virtual_time import VirtualClock
from tests.statemachine.fleet import key_of


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
