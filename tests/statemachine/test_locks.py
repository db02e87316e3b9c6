"""Several jobs at once: locks of nodes, priorities, and who waits for whom."""

import pytest

from statemachine.commands import SubmitJob
from statemachine.outcomes import Reason
from statemachine.rollouts import blocking
from statemachine.words import JobKind, JobState, TaskState
from tests.statemachine.fleet import Fleet, component, manifest

NODES = ("n0", "n1", "n2")


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app")))
    fleet.in_service(*NODES)
    return fleet


def waits(fleet: Fleet, job: str, node: str) -> list[str]:
    found = blocking.waits_for(
        fleet.state, fleet.job(job), fleet.task(job, node), blocking.Counts(fleet.state)
    )
    return [wait.message for wait in found]


def test_a_job_waits_for_the_node_that_another_is_at_work_on_and_says_for_whom(fleet: Fleet) -> None:
    first = fleet.submit(JobKind.VERIFY, "n0")
    fleet.claim(first, "n0")
    second = fleet.submit(JobKind.UPGRADE, "n0", "n1", max_parallel=2)
    assert fleet.due(second) == ["n1"]
    assert waits(fleet, second, "n0") == [f"n0 is locked by {first}, a verify"]
    fleet.stale_claim(second, "n0")
    fleet.drive(first)
    assert fleet.due(second) == ["n0", "n1"]
    fleet.drive(second)
    assert fleet.job(second).state is JobState.SUCCEEDED


def test_of_two_jobs_that_want_a_node_the_older_one_is_first(fleet: Fleet) -> None:
    first, second = fleet.submit(JobKind.VERIFY, "n0"), fleet.submit(JobKind.VERIFY, "n0")
    assert (fleet.due(first), fleet.due(second)) == (["n0"], [])
    fleet.drive(first)
    assert fleet.due(second) == ["n0"]


def test_a_higher_priority_goes_before_an_older_job(fleet: Fleet) -> None:
    first = fleet.submit(JobKind.VERIFY, "n0", "n1")
    urgent = fleet.submit(JobKind.VERIFY, "n0", priority=10)
    assert (fleet.due(first), fleet.due(urgent)) == (["n1"], ["n0"])


@pytest.mark.parametrize("priority", [-101, 101])
def test_a_priority_out_of_bounds_is_refused(fleet: Fleet, priority: int) -> None:
    fleet.refuse(Reason.INVALID, SubmitJob, kind=JobKind.VERIFY, nodes=("n0",), priority=priority)


def test_a_node_that_moved_on_before_its_turn_is_skipped_with_the_reason(fleet: Fleet) -> None:
    leaving = fleet.submit(JobKind.DECOMMISSION, "n0")
    fleet.claim(leaving, "n0")
    upgrade = fleet.submit(JobKind.UPGRADE, "n0", "n1")
    fleet.drive(leaving)
    assert fleet.task(upgrade, "n0").state is TaskState.SKIPPED
    assert fleet.task(upgrade, "n0").error == "it is decommissioned meanwhile"
    fleet.drive(upgrade, "n1")
    assert fleet.job(upgrade).state is JobState.PARTLY
    assert not any(fleet.node(node).job for node in NODES)


def test_a_job_that_is_cancelled_while_it_waits_leaves_the_lock_to_its_holder(fleet: Fleet) -> None:
    first = fleet.submit(JobKind.VERIFY, "n0")
    fleet.claim(first, "n0")
    second = fleet.submit(JobKind.VERIFY, "n0")
    fleet.cancel(second)
    assert fleet.job(second).state is JobState.CANCELLED
    assert fleet.node("n0").job == first
