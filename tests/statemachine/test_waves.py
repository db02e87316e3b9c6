"""How a job walks its nodes: wave by wave, no further than its budget of failures."""

import pytest

from statemachine.commands import CancelJob, SetMaintenance, SubmitJob
from statemachine.model import JOBS_ENDED_MAX, JOBS_RUNNING_MAX, TASKS_MAX
from statemachine.outcomes import Reason
from statemachine.words import JobKind, JobState, TaskState
from tests.statemachine.fleet import Fleet, component, manifest

NODES = tuple(f"n{i}" for i in range(5))


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app")))
    fleet.discovered(*NODES)
    return fleet


@pytest.fixture
def serving(fleet: Fleet) -> Fleet:
    fleet.drive(fleet.submit(JobKind.COMMISSION, *NODES, role="web"))
    return fleet


def test_a_wave_begins_when_all_of_the_one_before_has_ended(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.COMMISSION, *NODES, role="web", max_parallel=2)
    assert fleet.due(job) == ["n0", "n1"]
    fleet.drive(job, "n0")
    assert fleet.due(job) == ["n1"]
    fleet.stale_claim(job, "n2")
    fleet.drive(job, "n1")
    assert fleet.due(job) == ["n2", "n3"]


def test_an_upgrade_takes_a_tenth_at_a_time_unless_it_says_otherwise(serving: Fleet) -> None:
    job = serving.submit(JobKind.UPGRADE, *NODES)
    assert serving.job(job).max_parallel == 1
    assert serving.due(job) == ["n0"]


def test_an_upgrade_stops_at_the_first_failure_and_what_runs_goes_on(serving: Fleet) -> None:
    job = serving.submit(JobKind.UPGRADE, *NODES, max_parallel=2)
    serving.claim(job, "n1")
    serving.lose(job, "n0")
    assert serving.due(job) == ["n1"]
    serving.drive(job, "n1")
    states = [serving.task(job, node).state for node in NODES]
    assert states == [TaskState.FAILED, TaskState.SUCCEEDED, *[TaskState.SKIPPED] * 3]
    assert "the job stopped after 1 failed: n0" in serving.task(job, "n4").error
    assert serving.job(job).state is JobState.PARTLY
    assert all(not serving.node(node).job for node in NODES)


def test_a_job_goes_on_while_its_failures_are_within_the_budget(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.COMMISSION, *NODES, role="web", max_parallel=1, max_failed=1)
    fleet.lose(job, "n0")
    assert fleet.due(job) == ["n1"]
    fleet.lose(job, "n1")
    assert fleet.job(job).state is JobState.FAILED
    assert fleet.task(job, "n2").state is TaskState.SKIPPED


def test_a_commission_goes_on_whatever_fails_unless_it_has_a_budget(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.COMMISSION, *NODES, role="web", max_parallel=1)
    for node in NODES[:4]:
        fleet.lose(job, node)
    fleet.drive(job, "n4")
    assert fleet.job(job).state is JobState.PARTLY


def test_a_node_that_is_put_into_maintenance_before_its_wave_is_skipped(serving: Fleet) -> None:
    job = serving.submit(JobKind.UPGRADE, *NODES, max_parallel=1)
    serving.accept(SetMaintenance, node="n1", on=True, reason="disk")
    assert serving.task(job, "n1").state is TaskState.QUEUED
    serving.drive(job, "n0")
    assert serving.task(job, "n1").state is TaskState.SKIPPED
    assert "in maintenance: disk" in serving.task(job, "n1").error
    assert serving.due(job) == ["n2"]


def test_a_node_of_the_open_wave_that_is_put_into_maintenance_is_skipped_at_once(serving: Fleet) -> None:
    job = serving.submit(JobKind.UPGRADE, "n0")
    serving.accept(SetMaintenance, node="n0", on=True, reason="disk")
    assert serving.job(job).state is JobState.FAILED
    assert serving.node("n0").job == ""


def test_a_cancelled_job_ends_at_once_when_nothing_has_begun(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.COMMISSION, *NODES, role="web")
    fleet.cancel(job)
    assert fleet.job(job).state is JobState.CANCELLED
    assert {task.state for task in fleet.job(job).tasks.values()} == {TaskState.CANCELLED}
    fleet.refuse(Reason.WRONG_STATUS, CancelJob, job=job)
    fleet.refuse(Reason.NO_SUCH_JOB, CancelJob, job="j-99")


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        (Reason.INVALID, {"kind": JobKind.DISCOVER, "nodes": ("n0",)}),
        (Reason.INVALID, {"nodes": ("n0",), "max_parallel": -1}),
        (Reason.INVALID, {"nodes": ("n0",), "max_parallel": TASKS_MAX + 1}),
        (Reason.INVALID, {"nodes": ("n0",), "max_failed": -1}),
        (Reason.INVALID, {"nodes": ("n0",), "role": ""}),
        (Reason.INVALID, {"selector": "a b"}),
        (Reason.NO_TARGETS, {}),
        (Reason.NO_TARGETS, {"nodes": ("n0",), "selector": "*"}),
        (Reason.NO_TARGETS, {"selector": "role=nobody"}),
        (Reason.NO_SUCH_NODE, {"nodes": ("n0", "ghost-1", "ghost-2")}),
        (Reason.NO_SUCH_ROLE, {"nodes": ("n0",), "role": "jester"}),
        (Reason.NO_SUCH_BUNDLE, {"nodes": ("n0",), "bundle": "sha256:none"}),
        (Reason.WRONG_STATUS, {"nodes": ("n0",), "role": "", "kind": JobKind.UPGRADE}),
    ],
)
def test_a_request_that_cannot_be_is_refused_and_nothing_happens(
    fleet: Fleet, reason: Reason, fields: dict[str, object]
) -> None:
    fleet.refuse(reason, SubmitJob, **{"kind": JobKind.COMMISSION, "role": "web", **fields})


@pytest.mark.parametrize("fields", [{"bundle": "sha256:x"}, {"role": "web"}])
def test_a_verify_takes_neither_a_bundle_nor_a_role(serving: Fleet, fields: dict[str, object]) -> None:
    serving.refuse(Reason.INVALID, SubmitJob, kind=JobKind.VERIFY, nodes=("n0",), **fields)


def test_a_refusal_names_all_who_are_not_there(fleet: Fleet) -> None:
    refusal = fleet.refuse(
        Reason.NO_SUCH_NODE, SubmitJob, kind=JobKind.VERIFY, nodes=("ghost-1", "n0", "ghost-2")
    )
    assert refusal.offenders == ("ghost-1", "ghost-2")


def test_more_jobs_than_the_limit_are_refused(serving: Fleet) -> None:
    full = serving.clone()
    full.state = full.with_running(JOBS_RUNNING_MAX)
    before = full.state
    full.refuse(Reason.LIMIT, SubmitJob, kind=JobKind.VERIFY, nodes=("n0",))
    assert full.state.jobs == before.jobs


def test_the_jobs_that_ended_last_are_kept_whenever_they_were_submitted(serving: Fleet) -> None:
    long = serving.submit(JobKind.VERIFY, "n0")
    for _ in range(JOBS_ENDED_MAX + 5):
        serving.cancel(serving.submit(JobKind.VERIFY, "n1"))
    serving.drive(long)
    assert serving.job(long).state is JobState.SUCCEEDED
    assert len(serving.state.jobs) == JOBS_ENDED_MAX
