"""A leader's clock is set by hours while jobs run: nothing ends early for it, and nothing waits for ever."""

import asyncio

import pytest

from statemachine.commands import SubmitJob
from statemachine.model import Job
from statemachine.rollout import HoldKind, OnFailure, Rollout, Window
from statemachine.words import JobId, JobKind, JobState
from tests.hamgr.jobs.small_fleet import World, story

HOURS_S = 5 * 3_600.0
FOR_EVER_S = 1e9

either_way = pytest.mark.parametrize("jump_s", [HOURS_S, -HOURS_S], ids=["ahead", "back"])


def _upgrade(world: World, *, takes_s: float, **asked: object) -> JobId:
    for machine in world.machines.values():
        machine.behaviour = lambda *_: (takes_s, 0, b"")
    return JobId(world.ask(SubmitJob, kind=JobKind.UPGRADE, selector="role=web", **asked))


def _job(world: World, job: JobId) -> Job:
    return world.cluster.state.jobs[job]


@either_way
def test_no_deadline_of_a_task_passes_because_of_it(jump_s: float) -> None:
    async def tell(world: World) -> None:
        job = _upgrade(world, takes_s=50.0, task_deadline_s=600.0, rollout=Rollout(min_healthy_s=60.0))
        await asyncio.sleep(20)
        world.clock.skew_s = jump_s
        began_s = asyncio.get_running_loop().time()
        await world.until(lambda: _job(world, job).state is not JobState.RUNNING, within_s=900)
        assert _job(world, job).state is JobState.SUCCEEDED
        assert asyncio.get_running_loop().time() - began_s > 60.0, "the soak was not cut short"

    story(tell)


@either_way
def test_a_job_that_makes_progress_is_not_taken_for_stalled(jump_s: float) -> None:
    async def tell(world: World) -> None:
        job = _upgrade(world, takes_s=30.0, rollout=Rollout(progress_deadline_s=300.0))
        await asyncio.sleep(20)
        world.clock.skew_s = jump_s
        await world.until(lambda: _job(world, job).state is not JobState.RUNNING, within_s=400)
        assert _job(world, job).state is JobState.SUCCEEDED

    story(tell)


@either_way
def test_a_job_in_which_nothing_ends_stalls_when_it_would_have(jump_s: float) -> None:
    async def tell(world: World) -> None:
        job = _upgrade(
            world,
            takes_s=FOR_EVER_S,
            max_parallel=1,
            rollout=Rollout(progress_deadline_s=300.0, on_failure=OnFailure.PAUSE),
        )
        for _ in range(5):
            await asyncio.sleep(50)
            world.clock.skew_s += jump_s
        assert not _job(world, job).holds
        await world.until(lambda: bool(_job(world, job).holds), within_s=70)
        assert [one.kind for one in _job(world, job).holds] == [HoldKind.STALLED]

    story(tell)


@either_way
def test_a_new_leader_whose_clock_is_hours_off_takes_nothing_for_stalled(jump_s: float) -> None:
    async def tell(world: World) -> None:
        world.clock.skew_s = -jump_s
        rollout = Rollout(progress_deadline_s=300.0, min_healthy_s=120.0)
        job = _upgrade(world, takes_s=1.0, rollout=rollout)
        await asyncio.sleep(60)  # the nodes soak
        await world.lead()
        await world.until(lambda: _job(world, job).state is not JobState.RUNNING, within_s=400)
        assert _job(world, job).state is JobState.SUCCEEDED

    story(tell)


def test_a_window_is_shut_as_soon_as_the_clock_says_so() -> None:
    async def tell(world: World) -> None:
        hour_s = 3_600.0
        world.clock.skew_s = hour_s - world.clock.now() % hour_s  # the hour begins, and with it a window
        rollout = Rollout(windows=(Window(cron="0 * * * *", duration_s=1_800.0),))
        job = _upgrade(world, takes_s=60.0, max_parallel=1, rollout=rollout)
        await asyncio.sleep(20)
        assert not _job(world, job).holds
        world.clock.skew_s -= hour_s / 4
        await asyncio.sleep(60)
        assert [one.kind for one in _job(world, job).holds] == [HoldKind.WINDOW]
        await world.until(lambda: _job(world, job).state is JobState.SUCCEEDED, within_s=3_600)

    story(tell)
