"""Jobs that only verify: looks that leave nothing on the node, and what still has to go by the runner."""

import asyncio
import dataclasses

import pytest

from backends.memory.node import MemoryNode
from hamgr.jobs.glance import CUT_OFF
from hamgr.jobs.worker import Tools
from statemachine.commands import CancelJob, SubmitJob
from statemachine.model import Result, Task
from statemachine.words import Ending, JobId, JobKind, NodeName, Presence, TaskState
from tests.hamgr.jobs.small_fleet import Stopped, World, story
from tests.simulation.virtual_time import VirtualClock

LONG = b"a line of output that is long enough\n" * 60
WAIT_S = 1_000.0


def verify(world: World, *nodes: str) -> str:
    return world.ask(SubmitJob, kind=JobKind.VERIFY, nodes=nodes or ("web-1",))


def task_of(world: World, job: str, node: str = "web-1") -> Task:
    return world.cluster.state.jobs[JobId(job)].tasks[NodeName(node)]


async def ended(world: World, job: str) -> Result:
    await world.until(lambda: JobId(job) not in world.cluster.state.running, within_s=WAIT_S)
    return task_of(world, job).results[-1]


def sees(machine: MemoryNode, *, lasts_s: float = 0.0, exit_code: int = 0, output: bytes = b"") -> None:
    """Let what runs on a machine go so, whoever runs it."""
    machine.sight = lambda _script: (lasts_s, exit_code, output)
    machine.behaviour = lambda _key, _script: (lasts_s, exit_code, output)


def test_a_verify_job_looks_and_leaves_no_trace_on_its_nodes() -> None:
    async def tell(world: World) -> None:
        for machine in world.machines.values():
            sees(machine, output=b"it answers\n")
        job = verify(world, "web-1", "web-2")
        result = await ended(world, job)
        assert (result.ending, result.exit_code, result.output_tail) == (Ending.EXITED, 0, "it answers\n")
        assert task_of(world, job, "web-2").state is TaskState.SUCCEEDED
        assert [(machine.launches, machine.epoch) for machine in world.machines.values()] == [([], 0)] * 3
        assert world.node("web-1").epoch > 0

    story(tell)


@pytest.mark.parametrize(("exit_code", "recorded"), [(3, 3), (None, CUT_OFF)])
def test_a_check_that_fails_fails_its_task_and_is_told_with_what_it_printed(
    exit_code: int, recorded: int
) -> None:
    async def tell(world: World) -> None:
        sees(world.machines["web-1"], exit_code=exit_code, output=b"no page")
        job = verify(world)
        result = await ended(world, job)
        assert (result.exit_code, result.output_tail) == (recorded, "no page")
        assert task_of(world, job).state is TaskState.FAILED
        assert world.machines["web-1"].launches == []

    story(tell)


@pytest.mark.parametrize("output", [LONG, b"\xff\n", b"a\x00b"])
def test_what_has_no_room_in_a_result_is_run_by_the_runner_which_keeps_it(output: bytes) -> None:
    async def tell(world: World) -> None:
        machine = world.machines["web-1"]
        sees(machine, exit_code=1, output=output)
        job = verify(world)
        result = await ended(world, job)
        assert result.exit_code == 1
        [(epoch, key)] = machine.launches
        assert (epoch, key.step, key.attempt) == (world.node("web-1").epoch, result.step, result.attempt)
        assert machine.read_log(key, offset=0, bytes_max=10_000, now=1e9).data == output

    story(tell)


def test_a_long_output_that_took_most_of_its_time_is_not_asked_for_again() -> None:
    async def tell(world: World) -> None:
        sees(world.machines["web-1"], lasts_s=200.0, output=LONG)
        result = await ended(world, verify(world))
        assert (result.ending, result.exit_code) == (Ending.EXITED, 0)
        assert LONG.decode().endswith(result.output_tail)
        assert world.machines["web-1"].launches == []

    story(tell)


def test_a_look_comes_back_to_a_node_that_was_silent_for_a_moment_and_gives_up_on_one_that_stays_so() -> None:
    async def tell(world: World) -> None:
        for away_s, passed in ((2.0, True), (60.0, False)):
            world.executor.set_up(world.machines["web-1"], up=False)
            job = verify(world)
            await asyncio.sleep(away_s)
            world.executor.set_up(world.machines["web-1"], up=True)
            result = await ended(world, job)
            assert result.passed is passed
        assert result.ending is Ending.UNREACHABLE
        assert world.node("web-1").presence is Presence.UNREACHABLE
        assert world.machines["web-1"].launches == []

    story(tell)


def test_a_look_that_does_not_end_is_recorded_as_timed_out() -> None:
    async def tell(world: World) -> None:
        sees(world.machines["web-1"], lasts_s=1e6)
        result = await ended(world, verify(world))
        assert (result.ending, result.error) == (Ending.TIMED_OUT, "ran longer than 300 s")

    story(tell)


def test_a_cancelled_job_waits_for_no_look() -> None:
    async def tell(world: World) -> None:
        sees(world.machines["web-1"], lasts_s=200.0)
        job = verify(world)
        await asyncio.sleep(5.0)
        assert task_of(world, job).launched_at is not None
        world.ask(CancelJob, job=job)
        began = VirtualClock().now()
        assert (await ended(world, job)).ending is Ending.CANCELLED
        assert VirtualClock().now() - began < 5.0

    story(tell)


def test_a_look_that_a_dead_leader_began_is_done_by_the_next_one_under_its_own_claim() -> None:
    async def tell(world: World) -> None:
        sees(world.machines["web-1"], lasts_s=20.0)
        job = verify(world)
        await asyncio.sleep(5.0)
        before = world.node("web-1").epoch
        await world.lead()
        assert (await ended(world, job)).passed
        assert world.node("web-1").epoch == before + 1
        assert [epoch for epoch, _ in world.machines["web-1"].launches] == [before + 1]

    story(tell)


def test_the_proof_of_a_job_that_changed_something_goes_by_the_runner() -> None:
    async def tell(world: World) -> None:
        world.machines["web-1"].sight = lambda _script: pytest.fail("it was looked at")
        job = world.ask(SubmitJob, kind=JobKind.UPGRADE, nodes=("web-1",))
        assert (await ended(world, job)).passed
        assert [key.step.partition(".")[0] for _, key in world.machines["web-1"].launches][-1] == "verify"

    story(tell)


def test_secrets_are_taken_out_of_what_a_look_saw() -> None:
    def tools(world: World, clock: Stopped | VirtualClock) -> Tools:
        return dataclasses.replace(
            World.tools(world, clock), conceal=lambda _node, _job, text: text.replace("hunter2", "*******")
        )

    async def tell(world: World) -> None:
        world.tools = lambda clock: tools(world, clock)  # type: ignore[method-assign]  # one world of its own
        await world.lead()
        sees(world.machines["web-1"], exit_code=1, output=b"password is hunter2\n")
        assert (await ended(world, verify(world))).output_tail == "password is *******\n"

    story(tell)
