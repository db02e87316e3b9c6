"""Attempts of steps that restart their node: silence is what was asked for, until the step's time is over."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from backends.memory.executor import MemoryExecutor
from backends.memory.node import MemoryNode
from backends.ports import AttemptKey, Host
from hamgr.jobs.attempt import Attempt, AttemptSettings, GaveUp, NodeCalls
from statemachine.jobs.work import StepDue
from statemachine.manifest import StepSpec
from statemachine.model import Result
from statemachine.phases import PlannedStep
from statemachine.words import Digest, Ending, Phase, StepClass, Verb

PATIENCE_S = 0.2
"""For how long any other step would bear an unreachable node."""
SILENCE_S = 1.0


class Clock:
    def now(self) -> float:
        return time.time()


def due(*, reboot: bool, timeout_s: float = 30.0, launched_at: float | None = None) -> StepDue:
    spec = StepSpec(name="restart", step_class=StepClass.CHECKABLE, reboot=reboot, timeout_s=timeout_s)
    step = PlannedStep(
        key="work.00.app.restart",
        place=0,
        phase=Phase.WORK,
        bundle=Digest("sha256:" + "0" * 64),
        component="app",
        verb=Verb.COMMISSION,
        spec=spec,
    )
    return StepDue(
        step=step,
        key=step.key,
        attempt=1,
        checking=False,
        launched_at=launched_at,
        not_before=0.0,
        stop=False,
    )


class Scene:
    """One node that is asked to restart, and one leader."""

    def __init__(self) -> None:
        self.node = MemoryNode(name="n1", behaviour=self.behave)
        self.memory = MemoryExecutor(answer_timeout_s=0.1)
        self.host: Host = self.memory.attach(self.node, "n1.example")
        self.asked = asyncio.Event()
        self.calls = self.leader(1)

    def leader(self, epoch: int) -> NodeCalls:
        settings = AttemptSettings(unreachable_deadline_s=PATIENCE_S)
        return NodeCalls(
            executor=self.memory, host=lambda: self.host, epoch=epoch, job="x-1", settings=settings
        )

    def behave(self, key: AttemptKey, script: bytes) -> tuple[float, int, bytes]:
        del key, script
        self.asked.set()
        return 1e6, 0, b""

    async def finish(self, owed: StepDue) -> Result:
        self.calls.expect_restart(owed, time.time())
        attempt = Attempt(calls=self.calls, clock=Clock(), stopping=asyncio.Event())
        return await attempt.finish(owed, b"restart", owed.launched_at or time.time())

    async def go_down(self) -> None:
        await self.asked.wait()
        self.memory.set_up(self.node, up=False)

    async def come_back(self) -> None:
        await asyncio.sleep(SILENCE_S)
        self.memory.reboot(self.node)
        self.memory.set_up(self.node, up=True)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    await made.memory.close()


async def test_a_node_that_restarts_is_waited_for_and_its_attempt_is_lost_and_not_unreachable(
    scene: Scene,
) -> None:
    running = asyncio.create_task(scene.finish(due(reboot=True)))
    await scene.go_down()
    await scene.come_back()
    assert (await running).ending is Ending.LOST
    assert len(scene.node.launches) == 1


async def test_any_other_step_gives_up_on_a_silent_node_as_ever(scene: Scene) -> None:
    running = asyncio.create_task(scene.finish(due(reboot=False, timeout_s=80_000.0)))
    await scene.go_down()
    async with asyncio.timeout(60):
        with pytest.raises(GaveUp) as caught:
            await running
    assert caught.value.ending is Ending.UNREACHABLE


async def test_a_node_that_does_not_come_back_is_unreachable_when_the_time_of_the_step_is_over(
    scene: Scene,
) -> None:
    began = time.monotonic()
    running = asyncio.create_task(scene.finish(due(reboot=True, timeout_s=SILENCE_S)))
    await scene.go_down()
    with pytest.raises(GaveUp) as caught:
        await running
    assert caught.value.ending is Ending.UNREACHABLE
    assert time.monotonic() - began >= SILENCE_S / 2


async def test_a_node_that_lets_nobody_in_while_it_boots_is_waited_for(scene: Scene) -> None:
    running = asyncio.create_task(scene.finish(due(reboot=True)))
    await scene.go_down()
    await asyncio.sleep(PATIENCE_S)
    scene.node.lets_us_in = False
    scene.memory.reboot(scene.node)
    scene.memory.set_up(scene.node, up=True)
    await asyncio.sleep(SILENCE_S)
    assert not running.done()
    scene.node.lets_us_in = True
    assert (await running).ending is Ending.LOST


async def test_a_new_leader_bears_the_silence_that_the_old_one_asked_for(scene: Scene) -> None:
    old = asyncio.create_task(scene.finish(due(reboot=True)))
    await scene.go_down()
    old.cancel()
    await asyncio.gather(old, return_exceptions=True)
    owed = due(reboot=True, launched_at=time.time())
    scene.calls = scene.leader(2)
    scene.calls.expect_restart(owed, time.time())
    fencing = asyncio.create_task(scene.calls.fence())
    await scene.come_back()
    await fencing
    assert (await scene.finish(owed)).ending is Ending.LOST
    assert len(scene.node.launches) == 1


async def test_a_wrong_clock_of_the_old_leader_does_not_make_the_wait_longer_than_the_step(
    scene: Scene,
) -> None:
    scene.memory.set_up(scene.node, up=False)
    owed = due(reboot=True, timeout_s=SILENCE_S, launched_at=time.time() + 1e6)
    scene.calls.expect_restart(owed, time.time())
    async with asyncio.timeout(60):
        with pytest.raises(GaveUp):
            await scene.calls.fence()
