"""The simulation sees what rollouts are protected from: each rule is taken away, and some world must notice.

What notices is the ledger of what was asked and what began, never the state machine's own invariants.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from statemachine.draft import Draft
from statemachine.model import Job, State, Task
from statemachine.nodes import requirements
from statemachine.rollouts import blocking, gates, reverts, waves
from statemachine.rollouts.blocking import Counts, Wait
from statemachine.words import TaskState
from tests.simulation.test_ablations import noticed

pytestmark = pytest.mark.timeout(600)  # up to dozens of worlds, on a machine that may be busy


def begins(state: State, job: Job) -> Iterator[Task]:
    """Yield what may begin, as `waves.startable` does, whatever holds the job."""
    for task in waves.open_wave(job):
        if task.state is TaskState.QUEUED and not blocking.waits_for(state, job, task, Counts(state)):
            yield task


def may_begin(state: State, job: Job, task: Task, at: float) -> bool:
    return any(task is other for other in begins(state, job))


def test_the_simulation_sees_a_budget_that_nobody_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "over_budget", lambda job: "")
    assert noticed("and it may lose", rolling=True)


def test_the_simulation_sees_a_lock_that_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    real = blocking.waits_for

    def waits_for(state: State, job: Job, task: Task, counts: Counts) -> list[Wait]:
        return [wait for wait in real(state, job, task, counts) if not wait.job]

    monkeypatch.setattr(blocking, "waits_for", waits_for)
    assert noticed("is at work on it", rolling=True)


@pytest.mark.parametrize("law", ["while it is paused", "before its canaries", "outside its change windows"])
def test_the_simulation_sees_a_hold_that_holds_nothing(monkeypatch: pytest.MonkeyPatch, law: str) -> None:
    monkeypatch.setattr(waves, "startable", begins)
    monkeypatch.setattr(waves, "may_begin", may_begin)
    assert noticed(law, rolling=True)


def test_the_simulation_sees_a_minimum_that_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "waits_to_stop", lambda state, working, node: [])
    assert noticed("are left", rolling=True)


def test_the_simulation_sees_a_way_back_that_begins_with_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    real = reverts.revert_of

    def revert_of(draft: Draft, job: Job, *, reason: str) -> Job | str:
        back = real(draft, job, reason=reason)
        if isinstance(back, str):
            return back
        waves_of = [task.wave for task in back.tasks.values()]
        turned = [
            replace(task, wave=wave)
            for task, wave in zip(reversed(back.tasks.values()), waves_of, strict=True)
        ]
        return replace(back, tasks={task.node: task for task in turned})

    monkeypatch.setattr(reverts, "revert_of", revert_of)
    assert noticed("changed later", rolling=True)
