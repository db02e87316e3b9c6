"""Cordons, drains and deadlines: nodes are set aside, emptied, and given back, and none of it is a trap."""

import pytest

from statemachine.commands import ExpireMaintenance, SetMaintenance, SubmitJob
from statemachine.jobs import upkeep
from statemachine.manifest import Requirement, StepSpec
from statemachine.model import Maintenance
from statemachine.nodes import inventory
from statemachine.outcomes import Reason
from statemachine.words import Ending, Health, JobKind, JobState, NodeName, Status, TaskState
from tests.statemachine.fleet import MASTERS, Fleet, component, manifest

N = "web-1"
APP = component(
    "app",
    commission=(StepSpec(name="install"),),
    upgrade=(StepSpec(name="replace", retries=5), StepSpec(name="restart")),
    verify=(StepSpec(name="answers", check=True),),
    drain=(StepSpec(name="leave"), StepSpec(name="wait")),
    undrain=(StepSpec(name="join"),),
)
LB = component("lb", commission=(StepSpec(name="listen"),), drain=(StepSpec(name="shut"),))


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.bundle(1, manifest(LB, APP))
    fleet.in_service(N, "web-2")
    return fleet


def cordon(fleet: Fleet, node: str = N) -> Maintenance | None:
    return fleet.node(node).maintenance


def test_a_cordon_with_an_end_is_a_duty_and_ends_when_its_time_is_over(fleet: Fleet) -> None:
    fleet.accept(SetMaintenance, node="web-2", on=True, reason="disk", until=fleet.at + 90)
    fleet.accept(SetMaintenance, node=N, on=True, reason="memory", until=fleet.at + 60)
    assert upkeep.duties(fleet.state) == (upkeep.CordonDue(node=NodeName(N), at=fleet.at + 60),)
    fleet.passed_time(59)
    fleet.refuse(Reason.STALE_CLAIM, ExpireMaintenance, node=N)
    fleet.passed_time(1)
    fleet.accept(ExpireMaintenance, node=N)
    assert cordon(fleet) is None
    assert cordon(fleet, "web-2") is not None
    fleet.refuse(Reason.STALE_CLAIM, ExpireMaintenance, node=N)


def test_a_cordon_without_an_end_is_nobodys_duty(fleet: Fleet) -> None:
    fleet.accept(SetMaintenance, node=N, on=True, reason="memory")
    assert upkeep.duties(fleet.state) == ()
    fleet.passed_time(1e6)
    fleet.refuse(Reason.STALE_CLAIM, ExpireMaintenance, node=N)


def test_a_cordon_that_is_over_before_it_begins_is_refused(fleet: Fleet) -> None:
    fleet.refuse(Reason.INVALID, SetMaintenance, node=N, on=True, reason="memory", until=fleet.at)


def test_a_drain_runs_its_steps_from_the_last_component_and_leaves_the_node_cordoned(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.DRAIN, N, reason="new DIMM")
    fleet.claim(job, N)
    assert inventory.in_maintenance(fleet.node(N), fleet.at), "cordoned from the first moment"
    owed = []
    while step := fleet.owed(job, N):
        owed.append(step)
        fleet.step(job, N)
    assert owed == ["work.00.app.leave/1", "work.01.app.wait/1", "work.02.lb.shut/1"]
    assert fleet.job(job).state is JobState.SUCCEEDED
    assert fleet.node(N).status is Status.COMMISSIONED
    found = cordon(fleet)
    assert found is not None
    assert (found.reason, found.owner, found.drain, found.until) == ("drained: new DIMM", "ann", job, None)
    fleet.refuse(Reason.IN_MAINTENANCE, SubmitJob, kind=JobKind.UPGRADE, nodes=(N,))


def test_an_undrain_gives_the_load_back_proves_it_and_lifts_the_cordon(fleet: Fleet) -> None:
    fleet.drive(fleet.submit(JobKind.DRAIN, N))
    job = fleet.submit(JobKind.UNDRAIN, N)
    fleet.claim(job, N)
    fleet.step(job, N)
    assert fleet.owed(job, N) == "verify.00.app.answers/1"
    assert cordon(fleet) is not None
    fleet.step(job, N)
    assert cordon(fleet) is None
    assert fleet.job(job).state is JobState.SUCCEEDED


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
def test_a_drain_that_does_not_end_well_is_undone_and_the_cordon_is_lifted(fleet: Fleet, ending: str) -> None:
    job = fleet.submit(JobKind.DRAIN, N)
    fleet.claim(job, N)
    fleet.step(job, N)
    if ending == "failed":
        fleet.fail(job, N)
    else:
        fleet.start(job, N)
        fleet.cancel(job)
        fleet.finish(job, N, Ending.CANCELLED)
    assert fleet.owed(job, N) == "undo.00.app.join/1"
    assert cordon(fleet) is not None, "it has no load until the undo is done"
    fleet.step(job, N)
    assert cordon(fleet) is None
    assert fleet.node(N).status is Status.COMMISSIONED
    assert fleet.task(job, N).state is (TaskState.FAILED if ending == "failed" else TaskState.CANCELLED)


def test_a_drain_that_cannot_be_undone_leaves_the_cordon_and_undrain_is_the_way_out(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.DRAIN, N)
    fleet.claim(job, N)
    fleet.fail(job, N)
    fleet.fail(job, N)
    assert fleet.task(job, N).state is TaskState.FAILED
    assert fleet.node(N).status is Status.COMMISSIONED, "no drain moves a node in its lifecycle"
    assert cordon(fleet) is not None
    assert "leave" in fleet.node(N).error
    fleet.drive(fleet.submit(JobKind.UNDRAIN, N))
    assert cordon(fleet) is None
    assert fleet.node(N).error == ""


def test_an_undrain_whose_proof_fails_keeps_the_cordon_and_says_drift(fleet: Fleet) -> None:
    fleet.drive(fleet.submit(JobKind.DRAIN, N))
    job = fleet.submit(JobKind.UNDRAIN, N)
    fleet.claim(job, N)
    fleet.step(job, N)
    fleet.fail(job, N)
    assert cordon(fleet) is not None
    assert fleet.node(N).health is Health.DRIFTED
    assert fleet.job(job).state is JobState.FAILED


def test_a_drain_that_never_touched_its_node_lifts_the_cordon_at_once(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.DRAIN, N)
    fleet.claim(job, N)
    fleet.finish(job, N, Ending.UNREACHABLE, error="silent")
    assert cordon(fleet) is None
    assert fleet.node(N).status is Status.COMMISSIONED


def test_a_role_without_drain_steps_is_only_cordoned() -> None:
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app")))
    fleet.in_service(N)
    job = fleet.submit(JobKind.DRAIN, N)
    fleet.claim(job, N)
    assert fleet.job(job).state is JobState.SUCCEEDED
    assert cordon(fleet) is not None


def test_a_cordon_that_was_there_before_outlives_a_failed_drain(fleet: Fleet) -> None:
    fleet.accept(SetMaintenance, node=N, on=True, reason="memory")
    job = fleet.submit(JobKind.DRAIN, N)
    fleet.claim(job, N)
    fleet.fail(job, N)
    fleet.step(job, N)
    found = cordon(fleet)
    assert found is not None
    assert (found.reason, found.drain) == ("memory", "")


def test_the_cordon_of_a_drained_node_is_not_lifted_by_hand_nor_by_the_clock(fleet: Fleet) -> None:
    fleet.drive(fleet.submit(JobKind.DRAIN, N))
    refused = fleet.refuse(Reason.WRONG_STATUS, SetMaintenance, node=N, on=False)
    assert "hamgr node undrain" in refused.hint
    fleet.refuse(Reason.WRONG_STATUS, SetMaintenance, node=N, on=True, reason="x", until=fleet.at + 60)
    fleet.accept(SetMaintenance, node=N, on=True, reason="waits for a part")
    found = cordon(fleet)
    assert found is not None
    assert (found.reason, bool(found.drain)) == ("waits for a part", True)


def test_a_cordon_cannot_be_changed_while_the_node_is_drained(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.DRAIN, N)
    fleet.claim(job, N)
    fleet.refuse(Reason.BUSY, SetMaintenance, node=N, on=False)


def masters(*names: str) -> Fleet:
    fleet = Fleet()
    fleet.bundle(1, MASTERS)
    fleet.in_service(*names, role="master")
    fleet.in_service("w1", role="worker")
    return fleet


def test_a_drain_that_would_leave_a_role_below_its_minimum_is_refused() -> None:
    fleet = masters("m1", "m2")
    fleet.refuse(Reason.REQUIREMENT, SubmitJob, kind=JobKind.DRAIN, nodes=("m1", "m2"))
    fleet.drive(fleet.submit(JobKind.DRAIN, "m1"))
    refused = fleet.refuse(Reason.REQUIREMENT, SubmitJob, kind=JobKind.DRAIN, nodes=("m2",))
    assert "role worker needs 1 x master" in refused.message
    fleet.drive(fleet.submit(JobKind.UNDRAIN, "m1"))
    fleet.drive(fleet.submit(JobKind.DRAIN, "m2"))
    assert cordon(fleet, "m2") is not None


def test_a_drain_waits_while_the_only_other_node_is_out_of_work() -> None:
    fleet = masters("m1", "m2")
    upgrade = fleet.submit(JobKind.UPGRADE, "m1")
    fleet.claim(upgrade, "m1")
    drain = fleet.submit(JobKind.DRAIN, "m2")
    assert fleet.due(drain) == []
    fleet.stale_claim(drain, "m2")
    fleet.drive(upgrade)
    assert fleet.due(drain) == ["m2"]


def test_a_drained_master_does_not_count_for_an_upgrade_of_the_other_one() -> None:
    fleet = masters("m1", "m2")
    fleet.drive(fleet.submit(JobKind.DRAIN, "m1"))
    job = fleet.submit(JobKind.UPGRADE, "m2")
    assert fleet.task(job, "m2").state is TaskState.SKIPPED


def test_a_role_that_requires_itself_is_drained_one_by_one() -> None:
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app"), roles={"db": (Requirement(role="db", minimum=2),)}))
    fleet.in_service("d1", "d2", "d3", role="db")
    fleet.refuse(Reason.REQUIREMENT, SubmitJob, kind=JobKind.DRAIN, nodes=("d1", "d2"))
    fleet.drive(fleet.submit(JobKind.DRAIN, "d1"))
    fleet.refuse(Reason.REQUIREMENT, SubmitJob, kind=JobKind.DRAIN, nodes=("d2",))


def test_a_deadline_ends_the_retries_of_a_task_and_its_undo_still_runs(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.UPGRADE, N, task_deadline_s=100.0)
    fleet.claim(job, N)
    fleet.fail(job, N)
    assert fleet.owed(job, N) == "work.00.app.replace/2"
    fleet.passed_time(100)
    fleet.fail(job, N)
    assert "its deadline of 100 s is over; work.00.app.replace failed" in fleet.task(job, N).failure
    assert fleet.owed(job, N) == "undo.00.app.replace/1"
    due = fleet.step_due(job, N)
    assert due is not None
    assert due.deadline_at is None
    while fleet.owed(job, N):
        fleet.step(job, N)
    assert fleet.node(N).status is Status.COMMISSIONED


def test_a_deadline_lets_no_further_step_begin_and_cuts_the_running_one(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.UPGRADE, N, task_deadline_s=100.0)
    fleet.claim(job, N)
    due = fleet.step_due(job, N)
    assert due is not None
    assert due.deadline_at == fleet.at + 100
    fleet.start(job, N)
    fleet.passed_time(101)
    fleet.finish(job, N)
    assert fleet.owed(job, N) == "undo.00.app.replace/1", "the next step may not begin"


def test_a_proof_that_passed_in_time_is_no_drift_when_the_deadline_ends_the_task() -> None:
    fleet = Fleet()
    checks = (StepSpec(name="one", check=True), StepSpec(name="two", check=True))
    fleet.bundle(1, manifest(component("app", commission=(StepSpec(name="install"),), verify=checks)))
    fleet.in_service(N)
    job = fleet.submit(JobKind.VERIFY, N, task_deadline_s=10.0)
    fleet.claim(job, N)
    fleet.start(job, N)
    fleet.passed_time(11)
    fleet.finish(job, N)
    assert fleet.job(job).state is JobState.FAILED
    assert fleet.node(N).health is Health.VERIFIED


@pytest.mark.parametrize("deadline_s", [-1.0, 1e9, float("nan")])
def test_a_deadline_that_nobody_could_keep_is_refused(fleet: Fleet, deadline_s: float) -> None:
    fleet.refuse(Reason.INVALID, SubmitJob, kind=JobKind.VERIFY, nodes=(N,), task_deadline_s=deadline_s)
