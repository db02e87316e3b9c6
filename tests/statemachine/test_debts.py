"""Nodes that were offline owe what they missed, count for nothing until they have paid, and can pay."""

import pytest

from statemachine.commands import (
    CancelJob,
    ForgiveDebt,
    PayDebt,
    ReportPresence,
    ResumeJob,
    RevertJob,
    SetMaintenance,
    SubmitJob,
)
from statemachine.jobs import upkeep
from statemachine.jobs.payments import PAYMENTS_RUNNING_MAX
from statemachine.model import JOBS_RUNNING_MAX, Debt
from statemachine.outcomes import Accepted, Reason
from statemachine.rollout import HoldKind, OnFailure, Rollout, Window
from statemachine.rollouts import debts
from statemachine.words import Ending, JobKind, JobState, NodeName, Offline, Presence, Status, TaskState
from tests.statemachine.fleet import MASTERS, Fleet, component, digest, manifest

NAMES = ("web-1", "web-2", "web-3")
N = "web-3"


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app")))
    fleet.in_service(*NAMES)
    fleet.bundle(2, manifest(component("app"), component("more")))
    fleet.unreachable(N)
    return fleet


def back(fleet: Fleet, node: str = N) -> None:
    fleet.accept(ReportPresence, node=node, presence=Presence.REACHABLE)


def debt(fleet: Fleet, node: str = N) -> Debt | None:
    return fleet.node(node).debt


def owing(fleet: Fleet, **fields: object) -> str:
    """Upgrade all that can be reached; `N` owes."""
    job = fleet.accept(SubmitJob, kind=JobKind.UPGRADE, selector="*", max_parallel=2, **fields).ref
    fleet.drive(job, "web-1", "web-2")
    return job


def pay(fleet: Fleet, node: str = N) -> str:
    return fleet.accept(PayDebt, node=node).ref


def test_an_offline_node_that_was_selected_is_skipped_and_owes(fleet: Fleet) -> None:
    job = owing(fleet, variables={"k": 1}, priority=7)
    task = fleet.task(job, N)
    assert (task.state, task.error) == (TaskState.SKIPPED, f"{debts.SKIPPED}: silent")
    assert fleet.job(job).state is JobState.PARTLY
    found = debt(fleet)
    assert found is not None
    assert (found.job, found.bundle, found.variables, found.priority) == (job, digest(2), {"k": 1}, 7)
    assert fleet.node(N).status is Status.COMMISSIONED
    assert fleet.node(N).history[-1].job != job


def test_an_offline_node_that_was_named_is_refused_unless_it_may_owe(fleet: Fleet) -> None:
    refused = fleet.refuse(Reason.UNREACHABLE, SubmitJob, kind=JobKind.UPGRADE, nodes=NAMES)
    assert refused.offenders == (N,)
    assert "--offline owe" in refused.hint
    fleet.refuse(Reason.UNREACHABLE, SubmitJob, kind=JobKind.UPGRADE, selector="*", offline=Offline.REFUSE)
    job = fleet.submit(JobKind.UPGRADE, *NAMES, offline=Offline.OWE)
    assert fleet.task(job, N).wave == max(task.wave for task in fleet.job(job).tasks.values())


@pytest.mark.parametrize("kind", [JobKind.VERIFY, JobKind.DECOMMISSION, JobKind.DRAIN])
def test_nothing_but_an_upgrade_can_be_owed(fleet: Fleet, kind: JobKind) -> None:
    fleet.refuse(Reason.INVALID, SubmitJob, kind=kind, nodes=("web-1",), offline=Offline.OWE)
    fleet.refuse(Reason.UNREACHABLE, SubmitJob, kind=kind, selector="*")


def test_a_node_that_falls_silent_before_it_is_touched_owes_and_costs_no_budget(fleet: Fleet) -> None:
    back(fleet)
    job = fleet.accept(SubmitJob, kind=JobKind.UPGRADE, selector="*", max_parallel=1).ref
    fleet.claim(job, "web-1")
    fleet.finish(job, "web-1", Ending.UNREACHABLE, error="no route")
    assert fleet.task(job, "web-1").state is TaskState.SKIPPED
    assert fleet.node("web-1").status is Status.COMMISSIONED
    assert debt(fleet, "web-1") is not None
    assert fleet.job(job).failing == ""
    fleet.drive(job, "web-2", N)
    assert fleet.job(job).state is JobState.PARTLY


def test_a_node_that_falls_silent_when_it_was_touched_owes_nothing_and_is_quarantined(fleet: Fleet) -> None:
    back(fleet)
    job = fleet.accept(SubmitJob, kind=JobKind.UPGRADE, selector="*").ref
    fleet.claim(job, "web-1")
    fleet.start(job, "web-1")
    fleet.finish(job, "web-1", Ending.UNREACHABLE)
    assert fleet.node("web-1").status is Status.QUARANTINED
    assert debt(fleet, "web-1") is None


def test_a_node_that_is_back_pays_by_a_job_of_its_own_and_is_free_of_debt(fleet: Fleet) -> None:
    first = owing(fleet, variables={"k": 1})
    assert upkeep.duties(fleet.state) == (upkeep.DebtsDue(),)
    assert debts.missing(fleet.state) == [N]
    fleet.refuse(Reason.STALE_CLAIM, PayDebt, node=N)
    back(fleet)
    assert debts.payable(fleet.state, fleet.at) == [N]
    job = pay(fleet)
    assert fleet.job(job).variables == {"k": 1}
    assert first in fleet.job(job).reason
    fleet.refuse(Reason.STALE_CLAIM, PayDebt, node=N)
    fleet.drive(job)
    assert debt(fleet) is None
    assert fleet.node(N).bundle == digest(2)
    assert upkeep.duties(fleet.state) == ()


def test_nobody_pays_before_the_job_has_ended_well(fleet: Fleet) -> None:
    job = fleet.accept(SubmitJob, kind=JobKind.UPGRADE, selector="*", max_parallel=1).ref
    fleet.drive(job, "web-1", "web-2")
    again = fleet.accept(
        SubmitJob, kind=JobKind.UPGRADE, selector="*", rollout=Rollout(canary=1), max_parallel=1
    ).ref
    back(fleet)
    assert fleet.task(again, N).state is TaskState.QUEUED
    assert debts.payable(fleet.state, fleet.at) == [N], "what it owes to the first job, which is over"
    fleet.drive(again)
    assert debt(fleet) is None, "the later job brought it there"


def test_a_node_that_is_back_in_the_middle_of_the_rollout_waits_for_its_end(fleet: Fleet) -> None:
    back(fleet)
    job = fleet.accept(SubmitJob, kind=JobKind.UPGRADE, selector="*", max_parallel=1).ref
    fleet.claim(job, "web-1")
    fleet.finish(job, "web-1", Ending.UNREACHABLE)
    back(fleet, "web-1")
    assert fleet.job(job).state is JobState.RUNNING
    assert debts.payable(fleet.state, fleet.at) == []
    fleet.refuse(Reason.STALE_CLAIM, PayDebt, node="web-1")
    fleet.drive(job, "web-2", N)
    pay(fleet, "web-1")


@pytest.mark.parametrize("end", ["failed", "cancelled", "reverted"])
def test_what_a_job_that_went_no_further_left_is_owed_by_nobody(fleet: Fleet, end: str) -> None:
    if end == "reverted":
        job = owing(fleet)
        assert debt(fleet) is not None
        fleet.accept(RevertJob, job=job)
    else:
        job = fleet.accept(SubmitJob, kind=JobKind.UPGRADE, selector="web-[13]", max_parallel=2).ref
        assert debt(fleet) is not None
        fleet.claim(job, "web-1")
        if end == "failed":
            fleet.fail(job, "web-1")
        else:
            fleet.accept(CancelJob, job=job)
            fleet.finish(job, "web-1", Ending.CANCELLED)
        while fleet.owed(job, "web-1"):
            fleet.step(job, "web-1")
        assert fleet.job(job).state is not JobState.RUNNING
    assert debt(fleet) is None


def test_a_paused_job_that_goes_on_still_leaves_a_debt(fleet: Fleet) -> None:
    strategy = Rollout(on_failure=OnFailure.PAUSE)
    job = fleet.accept(SubmitJob, kind=JobKind.UPGRADE, selector="*", max_parallel=1, rollout=strategy).ref
    fleet.claim(job, "web-1")
    fleet.fail(job, "web-1")
    while fleet.owed(job, "web-1"):
        fleet.step(job, "web-1")
    assert fleet.job(job).holds[0].kind is HoldKind.FAILURES
    fleet.accept(ResumeJob, job=job)
    fleet.drive(job, "web-2")
    found = debt(fleet)
    assert found is not None
    assert found.job == job


def test_a_node_that_owes_counts_for_nobody_until_it_is_forgiven() -> None:
    fleet = Fleet()
    fleet.bundle(1, MASTERS)
    fleet.in_service("m1", "m2", role="master")
    fleet.in_service("w1", role="worker")
    fleet.unreachable("m2")
    job = fleet.accept(SubmitJob, kind=JobKind.UPGRADE, selector="name=m2").ref
    assert fleet.job(job).state is JobState.FAILED
    back(fleet, "m2")
    blocked = fleet.submit(JobKind.UPGRADE, "m1")
    assert fleet.task(blocked, "m1").state is TaskState.SKIPPED
    fleet.refuse(Reason.REQUIREMENT, SubmitJob, kind=JobKind.DRAIN, nodes=("m1",))
    fleet.accept(ForgiveDebt, node="m2", reason="it is as good as new")
    fleet.drive(fleet.submit(JobKind.UPGRADE, "m1"))
    assert fleet.node("m1").status is Status.UPGRADED
    fleet.refuse(Reason.WRONG_STATUS, ForgiveDebt, node="m2")


def test_a_payment_that_fails_is_not_tried_again_and_stays_visible(fleet: Fleet) -> None:
    owing(fleet)
    back(fleet)
    job = pay(fleet)
    fleet.claim(job, N)
    fleet.fail(job, N)
    while fleet.owed(job, N):
        fleet.step(job, N)
    found = debt(fleet)
    assert found is not None
    assert "exit status 1" in found.error
    assert upkeep.duties(fleet.state) == ()
    fleet.passed_time(1e6)
    fleet.refuse(Reason.STALE_CLAIM, PayDebt, node=N)
    fleet.drive(fleet.submit(JobKind.UPGRADE, N))
    assert debt(fleet) is None


def test_a_cancelled_payment_waits_for_the_operator(fleet: Fleet) -> None:
    owing(fleet)
    back(fleet)
    job = pay(fleet)
    fleet.refuse(Reason.BUSY, ForgiveDebt, node=N)
    fleet.cancel(job)
    found = debt(fleet)
    assert found is not None
    assert found.error == "cancelled"
    fleet.accept(ForgiveDebt, node=N)


def test_a_node_that_falls_silent_again_keeps_its_debt_and_is_asked_later_and_later(fleet: Fleet) -> None:
    first = owing(fleet)
    waits = []
    for _ in range(9):
        back(fleet)
        job = pay(fleet)
        fleet.claim(job, N)
        fleet.finish(job, N, Ending.UNREACHABLE, error="silent")
        assert fleet.job(job).state is JobState.FAILED
        found = debt(fleet)
        assert found is not None
        assert (found.job, found.error) == (first, "")
        waits.append(found.not_before - fleet.at)
        back(fleet)
        fleet.refuse(Reason.STALE_CLAIM, PayDebt, node=N)
        fleet.passed_time(waits[-1])
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_a_payment_keeps_to_the_change_windows_of_the_job_that_it_is_owed_to(fleet: Fleet) -> None:
    windows = (Window(cron="0 3 * * *", duration_s=3600.0),)
    job = fleet.accept(
        SubmitJob, kind=JobKind.UPGRADE, selector=f"name={N}", rollout=Rollout(windows=windows)
    ).ref
    assert fleet.job(job).state is JobState.FAILED
    back(fleet)
    payment = pay(fleet)
    assert [hold.kind for hold in fleet.job(payment).holds] == [HoldKind.WINDOW]
    assert fleet.due(payment) == []


def test_a_node_in_maintenance_pays_when_that_is_over(fleet: Fleet) -> None:
    owing(fleet)
    fleet.accept(SetMaintenance, node=N, on=True, reason="disk")
    back(fleet)
    assert upkeep.duties(fleet.state) == ()
    fleet.refuse(Reason.STALE_CLAIM, PayDebt, node=N)
    fleet.accept(SetMaintenance, node=N, on=False)
    pay(fleet)


def test_canaries_that_nobody_could_reach_promote_nobody(fleet: Fleet) -> None:
    back(fleet)
    job = fleet.accept(SubmitJob, kind=JobKind.UPGRADE, selector="*", rollout=Rollout(canary=1)).ref
    fleet.claim(job, "web-1")
    fleet.finish(job, "web-1", Ending.UNREACHABLE)
    assert [hold.kind for hold in fleet.job(job).holds] == [HoldKind.CANARY]
    assert fleet.due(job) == []


def test_canaries_are_chosen_among_the_nodes_that_are_there(fleet: Fleet) -> None:
    back(fleet)
    fleet.unreachable("web-1")
    job = fleet.accept(SubmitJob, kind=JobKind.UPGRADE, selector="*", rollout=Rollout(canary=1)).ref
    assert next(iter(fleet.job(job).tasks)) == "web-2"


def test_a_rack_that_comes_back_pays_some_nodes_at_a_time() -> None:
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app")))
    names = [f"n{number:02d}" for number in range(PAYMENTS_RUNNING_MAX + 4)]
    fleet.in_service(*names)
    for name in names:
        fleet.unreachable(name)
    fleet.accept(SubmitJob, kind=JobKind.UPGRADE, selector="*")
    for name in names:
        back(fleet, name)
    assert debts.payable(fleet.state, fleet.at) == names
    outcomes = [fleet.send(PayDebt, node=NodeName(name)) for name in names]
    assert sum(isinstance(one, Accepted) for one in outcomes) == PAYMENTS_RUNNING_MAX < JOBS_RUNNING_MAX
    fleet.drive(outcomes[0].ref if isinstance(outcomes[0], Accepted) else "")
    pay(fleet, names[-1])


def test_the_bundle_that_a_node_owes_is_kept(fleet: Fleet) -> None:
    owing(fleet)
    fleet.drive(fleet.submit(JobKind.UPGRADE, "web-1", "web-2", bundle=digest(1)))
    for number in range(3, 80):
        fleet.bundle(number, manifest(component("app")))
    assert digest(2) in fleet.state.bundles
