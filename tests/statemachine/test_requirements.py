"""Roles that need other roles: nothing that an operator asks for leaves nodes in service without them."""

import pytest

from statemachine.commands import ForgetNode, SubmitJob
from statemachine.manifest import Requirement
from statemachine.outcomes import Reason
from statemachine.rollout import Rollout
from statemachine.words import Ending, JobKind, JobState, Status, TaskState
from tests.statemachine.fleet import MASTERS, Fleet, component, manifest
from tests.statemachine.invariants import breaches


@pytest.fixture
def fleet() -> Fleet:
    """One master, two workers that need it, two nodes that wait."""
    fleet = Fleet()
    fleet.bundle(1, MASTERS)
    fleet.in_service("m1", role="master")
    fleet.in_service("w1", "w2", role="worker")
    fleet.discovered("n1", "n2")
    return fleet


def test_the_last_master_is_not_decommissioned_and_all_who_asked_are_named(fleet: Fleet) -> None:
    refusal = fleet.refuse(Reason.REQUIREMENT, SubmitJob, kind=JobKind.DECOMMISSION, nodes=("m1", "w1"))
    assert refusal.offenders == ("m1", "w1")
    assert "role worker needs 1 x master" in refusal.message


def test_the_last_master_is_not_forgotten_even_by_force(fleet: Fleet) -> None:
    fleet.refuse(Reason.REQUIREMENT, ForgetNode, node="m1", force=True)


def test_one_of_two_masters_may_go(fleet: Fleet) -> None:
    fleet.drive(fleet.submit(JobKind.COMMISSION, "n1", role="master"))
    fleet.drive(fleet.submit(JobKind.DECOMMISSION, "m1"))
    assert fleet.node("m1").status is Status.DECOMMISSIONED


def test_a_master_that_workers_on_their_way_into_service_need_may_not_go(fleet: Fleet) -> None:
    fleet.drive(fleet.submit(JobKind.DECOMMISSION, "w1", "w2"))
    job = fleet.submit(JobKind.COMMISSION, "n1", role="worker")
    fleet.claim(job, "n1")
    fleet.refuse(Reason.REQUIREMENT, SubmitJob, kind=JobKind.DECOMMISSION, nodes=("m1",))
    fleet.drive(job)
    assert breaches(fleet.state) == {}


def test_a_quarantined_master_may_go_while_the_last_good_one_stays(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.COMMISSION, "n1", role="master")
    fleet.claim(job, "n1")
    fleet.fail(job, "n1")
    fleet.fail(job, "n1")
    assert fleet.node("n1").status is Status.QUARANTINED
    fleet.drive(fleet.submit(JobKind.DECOMMISSION, "n1"))
    assert fleet.node("n1").status is Status.DECOMMISSIONED


def test_a_worker_without_any_master_is_refused() -> None:
    fleet = Fleet()
    fleet.bundle(1, MASTERS)
    fleet.discovered("n1")
    fleet.refuse(Reason.REQUIREMENT, SubmitJob, kind=JobKind.COMMISSION, nodes=("n1",), role="worker")


def test_workers_wait_for_the_master_of_the_same_job() -> None:
    fleet = Fleet()
    fleet.bundle(1, MASTERS)
    fleet.discovered("a-worker", "z-master")
    fleet.accept_role("a-worker", "worker")
    fleet.accept_role("z-master", "master")
    job = fleet.submit(JobKind.COMMISSION, "a-worker", "z-master")
    assert fleet.due(job) == ["z-master"]
    fleet.claim(job, "z-master")
    assert fleet.due(job) == ["z-master"], "a master on its way is no master yet"
    fleet.stale_claim(job, "a-worker")
    fleet.drive(job, "z-master")
    assert fleet.due(job) == ["a-worker"]
    fleet.drive(job, "a-worker")
    assert fleet.job(job).state is JobState.SUCCEEDED


def test_workers_are_skipped_with_the_reason_when_their_master_failed() -> None:
    fleet = Fleet()
    fleet.bundle(1, MASTERS)
    fleet.discovered("w", "m")
    fleet.accept_role("w", "worker")
    fleet.accept_role("m", "master")
    job = fleet.submit(JobKind.COMMISSION, "w", "m")
    fleet.claim(job, "m")
    fleet.fail(job, "m")
    fleet.step(job, "m")
    assert fleet.task(job, "m").state is TaskState.FAILED
    assert fleet.task(job, "w").state is TaskState.SKIPPED
    assert "needs 1 x master" in fleet.task(job, "w").error
    assert fleet.job(job).state is JobState.FAILED
    assert fleet.node("w").status is Status.DISCOVERED
    assert fleet.node("w").job == ""


def test_everything_may_be_decommissioned_in_one_job_and_masters_go_last(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.DECOMMISSION, "m1", "w1", "w2")
    assert fleet.due(job) == ["w1", "w2"]
    fleet.stale_claim(job, "m1")
    fleet.drive(job, "w1")
    assert fleet.due(job) == ["w2"]
    fleet.drive(job, "w2")
    assert fleet.due(job) == ["m1"]
    fleet.drive(job, "m1")
    assert fleet.job(job).state is JobState.SUCCEEDED


@pytest.mark.parametrize("parallel", [1, 2])
def test_waves_of_a_decommission_go_from_those_who_need_to_those_who_are_needed(
    fleet: Fleet, parallel: int
) -> None:
    job = fleet.submit(JobKind.DECOMMISSION, "m1", "w1", "w2", max_parallel=parallel)
    assert list(fleet.job(job).tasks) == ["w1", "w2", "m1"]
    for node in ("w1", "w2", "m1"):
        fleet.drive(job, node)
    assert fleet.job(job).state is JobState.SUCCEEDED


def test_the_master_stays_when_a_worker_of_the_same_job_could_not_leave(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.DECOMMISSION, "m1", "w1", "w2")
    fleet.claim(job, "w1")
    fleet.finish(job, "w1", Ending.REFUSED, error="wrong key")
    assert fleet.node("w1").status is Status.COMMISSIONED
    fleet.drive(job, "w2")
    assert fleet.task(job, "m1").state is TaskState.SKIPPED
    assert fleet.node("m1").status is Status.COMMISSIONED
    assert fleet.job(job).state is JobState.PARTLY


def test_a_worker_that_waits_is_skipped_when_the_master_is_forgotten_by_force() -> None:
    fleet = Fleet()
    fleet.bundle(1, MASTERS)
    fleet.in_service("m1", role="master")
    fleet.discovered("n1")
    job = fleet.submit(JobKind.COMMISSION, "n1", role="worker")
    assert fleet.due(job) == ["n1"]
    fleet.accept(ForgetNode, node="m1", force=True)
    assert fleet.task(job, "n1").state is TaskState.SKIPPED
    assert fleet.job(job).state is JobState.FAILED


def test_two_jobs_that_each_leave_one_master_do_not_take_both(fleet: Fleet) -> None:
    fleet.drive(fleet.submit(JobKind.COMMISSION, "n1", role="master"))
    first = fleet.submit(JobKind.DECOMMISSION, "m1")
    second = fleet.submit(JobKind.DECOMMISSION, "n1")
    fleet.claim(first, "m1")
    assert fleet.due(second) == []
    fleet.stale_claim(second, "n1")
    fleet.drive(first, "m1")
    assert fleet.job(second).state is JobState.FAILED
    assert fleet.task(second, "n1").state is TaskState.SKIPPED
    assert "needs 1 x master" in fleet.task(second, "n1").error
    assert breaches(fleet.state) == {}


def test_an_upgrade_to_a_bundle_whose_roles_need_what_is_not_there_is_refused(fleet: Fleet) -> None:
    fleet.bundle(
        2,
        manifest(component("app"), roles={"master": (), "worker": (Requirement(role="master", minimum=2),)}),
    )
    refusal = fleet.refuse(Reason.REQUIREMENT, SubmitJob, kind=JobKind.UPGRADE, nodes=("w1", "w2"))
    assert "needs 2 x master" in refusal.message
    fleet.drive(fleet.submit(JobKind.COMMISSION, "n1", role="master"))
    fleet.submit(JobKind.UPGRADE, "w1", "w2")


def test_a_breach_that_is_there_already_is_not_made_worse() -> None:
    fleet = Fleet()
    two = (Requirement(role="master", minimum=2),)
    fleet.bundle(1, manifest(component("app"), roles={"master": (), "worker": two}))
    fleet.in_service("m1", "m2", role="master")
    fleet.in_service("w1", role="worker")
    job = fleet.submit(JobKind.UPGRADE, "m2", rollout=Rollout(below_minimum=True))
    fleet.claim(job, "m2")
    fleet.fail(job, "m2")
    fleet.fail(job, "m2")
    assert breaches(fleet.state) == {("worker", "master"): (1, 2)}
    refusal = fleet.refuse(Reason.REQUIREMENT, SubmitJob, kind=JobKind.DECOMMISSION, nodes=("m1",))
    assert "would have 0" in refusal.message
    fleet.accept(ForgetNode, node="m2")


def test_a_breach_that_is_there_already_does_not_forbid_to_mend_it(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.UPGRADE, "m1", rollout=Rollout(below_minimum=True))
    fleet.claim(job, "m1")
    fleet.fail(job, "m1")
    fleet.fail(job, "m1")
    assert fleet.node("m1").status is Status.QUARANTINED
    assert breaches(fleet.state) == {("worker", "master"): (0, 1)}
    fleet.drive(fleet.submit(JobKind.DECOMMISSION, "w1"))
    fleet.drive(fleet.submit(JobKind.COMMISSION, "m1", role="master"))
    assert breaches(fleet.state) == {}


def test_a_role_that_needs_more_of_itself_can_be_started_in_one_job() -> None:
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app"), roles={"quorum": (Requirement(role="quorum", minimum=2),)}))
    fleet.discovered("a", "b")
    fleet.refuse(Reason.REQUIREMENT, SubmitJob, kind=JobKind.COMMISSION, nodes=("a",), role="quorum")
    fleet.drive(fleet.submit(JobKind.COMMISSION, "a", "b", role="quorum"))
    assert breaches(fleet.state) == {}
