"""A job's text is that of its view, and what did not change in it is not written again."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from hamgr.api import views
from hamgr.api.jobtexts import JOBS_MAX, JobTexts
from statemachine.model import Job, State, Task
from statemachine.words import JobId, JobKind, NodeName, TaskState


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The nodes whose tasks were written since."""
    found: list[str] = []

    def noted(task: Task, *, results: bool) -> dict[str, Any]:
        found.append(task.node)
        return line(task, results=results)

    line = views.task_line
    monkeypatch.setattr(views, "task_line", noted)
    return found


def job(name: str, tasks: int) -> Job:
    made = {NodeName(f"n{n}"): Task(node=NodeName(f"n{n}"), wave=0) for n in range(tasks)}
    return Job(id=JobId(name), kind=JobKind.UPGRADE, actor='ann "the" é', tasks=made)


def told(texts: JobTexts, one: Job) -> Any:
    return json.loads(texts.whole(State(), one, results=False, tasks=True))


def test_only_the_tasks_that_changed_are_written_again(written: list[str]) -> None:
    texts, now = JobTexts(), job("j-1", 50)
    stages = [now]
    for node in ("n3", "n7", "n3"):
        task = replace(now.tasks[NodeName(node)], state=TaskState.RUNNING, epoch=len(stages))
        now = replace(now, tasks={**now.tasks, NodeName(node): task}, index=len(stages))
        stages.append(now)
    for before, after in pairwise([job("j-1", 0), *stages, stages[-1]]):
        written.clear()
        found = told(texts, after)
        changed = [node for node, task in after.tasks.items() if before.tasks.get(node) is not task]
        assert written == changed
        assert found == views.job_whole(State(), after, results=False)


@pytest.mark.parametrize(("results", "tasks"), [(True, True), (False, False), (True, False)])
def test_other_forms_are_those_of_the_view(results: bool, tasks: bool) -> None:
    one = job("j-1", 2)
    text = JobTexts().whole(State(), one, results=results, tasks=tasks)
    assert json.loads(text) == views.job_whole(State(), one, results=results, tasks=tasks)


def test_a_job_without_tasks_is_well_formed() -> None:
    assert told(JobTexts(), job("j-1", 0))["tasks"] == []


def test_the_jobs_that_nobody_asks_for_any_more_are_forgotten(written: list[str]) -> None:
    texts = JobTexts()
    jobs = [job(f"j-{n}", 1) for n in range(JOBS_MAX + 1)]
    for one in jobs:
        told(texts, one)
    written.clear()
    told(texts, jobs[-1])
    assert written == []
    told(texts, jobs[0])
    assert written == ["n0"]
