"""The simulation sees what it is there for: each protection is taken away, and some world must notice.

By evidence alone: the state machine's own invariants are left out, so that what notices is what really
happened on the machines.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import count, islice
from typing import Any

import pytest

from backends.memory.node import MemoryNode
from backends.ports import AttemptKey, AttemptState, AttemptStatus
from hamgr.jobs.attempt import Attempt, NodeCalls
from hamgr.jobs.worker import TaskWorker
from statemachine.commands import ClaimTask, FinishAttempt, StartAttempt
from statemachine.draft import Draft
from statemachine.jobs import tasks, undo
from statemachine.jobs.work import StepDue
from statemachine.model import Job, Result, Task
from statemachine.outcomes import Accepted, Outcome
from statemachine.words import Ending, NodeName, Phase
from tests.simulation.network import Weather
from tests.simulation.world import ROLLING_EVERY, judge

pytestmark = pytest.mark.timeout(600)  # up to dozens of worlds, on a machine that may be busy
SEEDS_MAX = 60


LATE = Weather(late=0.3)
"""Orders arrive when whoever sent them has long gone on."""


def noticed(expected: str, weather: Weather | None = None, *, rolling: bool = False) -> str:
    """Return the first broken law that says `expected`; `rolling` looks where people mostly roll out."""
    found: list[str] = []
    seeds = (seed for seed in count() if (seed % ROLLING_EVERY == 0) is rolling)
    for seed in islice(seeds, SEEDS_MAX):
        found += judge(seed, weather=weather, by_evidence_alone=True).broken
        if match := [problem for problem in found if expected in problem]:
            return match[0]
    pytest.fail(f"{SEEDS_MAX} worlds did not notice; they said: {found[:5]}")


def test_the_simulation_sees_a_node_without_a_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryNode, "_check", lambda self, epoch: None)
    assert noticed("was launched after epoch", LATE)


def test_the_simulation_sees_an_attempt_that_is_run_again_instead_of_adopted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adopt = MemoryNode.start

    def start(self: MemoryNode, epoch: int, key: AttemptKey, script: bytes, *, now: float) -> bool:
        self._check(epoch)
        self._attempts.pop(key, None)
        return adopt(self, epoch, key, script, now=now)

    monkeypatch.setattr(MemoryNode, "start", start)
    assert noticed("was launched twice")


def test_the_simulation_sees_two_executors_on_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    careful = MemoryNode.start

    def start(self: MemoryNode, epoch: int, key: AttemptKey, script: bytes, *, now: float) -> bool:
        with monkeypatch.context() as blind:
            blind.setattr(MemoryNode, "_running", lambda self, now: [])
            return careful(self, epoch, key, script, now=now)

    monkeypatch.setattr(MemoryNode, "start", start)
    assert noticed("was launched while")


def test_the_simulation_sees_a_success_that_nobody_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    async def finish(self: Attempt, due: StepDue, script: bytes, launched_at: float) -> Result:
        return Result(step=due.key, attempt=due.attempt, ending=Ending.EXITED, exit_code=0)

    monkeypatch.setattr(Attempt, "finish", finish)
    assert noticed("is recorded as exited 0, but it was never launched")


def test_the_simulation_sees_a_claim_that_does_not_raise_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    real = tasks.claim_task

    def claim_task(draft: Draft, command: ClaimTask) -> Outcome:
        known = draft.nodes.get(command.node)
        outcome = real(draft, command)
        if isinstance(outcome, Accepted) and known is not None and known.epoch:
            task = draft.jobs[command.job].tasks[command.node]
            draft.put_task(command.job, replace(task, epoch=known.epoch))
            draft.put_node(replace(draft.nodes[command.node], epoch=known.epoch))
            return replace(outcome, epoch=known.epoch)
        return outcome

    monkeypatch.setattr(tasks, "claim_task", claim_task)
    assert noticed("was used by")


def test_the_simulation_sees_reports_of_a_stale_epoch_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(real: Callable[[Draft, Any], Outcome]) -> Callable[[Draft, Any], Outcome]:
        def rule(draft: Draft, command: StartAttempt | FinishAttempt) -> Outcome:
            job = draft.jobs.get(command.job)
            task = job.tasks.get(command.node) if job else None
            return real(draft, replace(command, epoch=task.epoch) if task else command)

        return rule

    monkeypatch.setattr(tasks, "start_attempt", blind(tasks.start_attempt))
    monkeypatch.setattr(tasks, "finish_attempt", blind(tasks.finish_attempt))
    assert noticed("a report under epoch")


def test_the_simulation_sees_that_an_undo_was_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    real = undo.fail_phase

    def fail_phase(draft: Draft, job: Job, task: Task, why: str) -> None:
        if task.touched and task.phase in (Phase.WORK, Phase.VERIFY) and draft.nodes[task.node].last_good:
            undo._give_back(draft, job, task, why)
        else:
            real(draft, job, task, why)

    monkeypatch.setattr(undo, "fail_phase", fail_phase)
    assert noticed("is not really there")


def test_the_simulation_sees_a_node_in_service_that_was_never_verified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = TaskWorker._attempt

    async def attempt(self: TaskWorker, calls: NodeCalls, due: StepDue, epoch: int) -> Result | None:
        result = await real(self, calls, due, epoch)
        if result is not None and due.step.phase is Phase.VERIFY and result.ending is Ending.EXITED:
            return replace(result, exit_code=0)
        return result

    monkeypatch.setattr(TaskWorker, "_attempt", attempt)
    assert noticed("is recorded as exited 0, but it ended by itself with 1")


def test_the_simulation_sees_a_cancelled_attempt_that_begins_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = NodeCalls.kill

    async def kill(self: NodeCalls, due: StepDue) -> AttemptStatus:
        status = await real(self, due)
        return replace(status, state=AttemptState.LOST) if status.state is AttemptState.ABSENT else status

    monkeypatch.setattr(NodeCalls, "kill", kill)
    assert noticed("was launched after it was recorded", LATE)


def test_the_simulation_sees_a_worker_that_fails_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def due_of(self: TaskWorker, epoch: int) -> StepDue | None:
        return self._tools.replica.state.nodes[NodeName("nobody")]  # type: ignore[return-value] # raises

    monkeypatch.setattr(TaskWorker, "_due", due_of)
    assert noticed("failed; it will be tried again")
