"""How many tasks a rule looks at, counted, so that a big job stays cheap on every machine."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from statemachine.model import Job, Task
from statemachine.rollout import Rollout
from statemachine.rollouts import gates
from statemachine.words import JobId, JobKind, NodeName, TaskState

TASKS = 1_000
FAILED = Task(node=NodeName("n"), wave=0, state=TaskState.FAILED)


class Counted(Mapping[NodeName, Task]):
    """Tasks that all have failed, and how many of them were looked at."""

    def __init__(self) -> None:
        self.looked = 0

    def __getitem__(self, name: NodeName) -> Task:
        self.looked += 1
        return FAILED

    def __iter__(self) -> Iterator[NodeName]:
        return (NodeName(f"n{number}") for number in range(TASKS))

    def __len__(self) -> int:
        return TASKS


def job(**fields: Any) -> tuple[Job, Counted]:
    tasks = Counted()
    return Job(id=JobId("j-1"), kind=JobKind.UPGRADE, actor="ann", tasks=tasks, **fields), tasks


@pytest.mark.parametrize("fields", [{}, {"rollout": Rollout(canary=2), "promoted": True}])
def test_a_job_that_no_failure_stops_has_none_of_its_tasks_looked_at(fields: dict[str, Any]) -> None:
    free, tasks = job(**fields)
    assert gates.over_budget(free) == ""
    assert tasks.looked == 0


def test_a_budget_is_judged_by_one_look_at_each_task() -> None:
    bound, tasks = job(max_failed=0)
    assert gates.over_budget(bound).startswith(f"{TASKS} failed")
    assert tasks.looked == TASKS


def test_canaries_are_judged_without_a_budget_as_well() -> None:
    trying, _ = job(rollout=Rollout(canary=1))
    assert gates.over_budget(trying) == "canary n failed"
