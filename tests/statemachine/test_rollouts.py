"""Strategies: canaries, failure domains, budgets, health gates, deadlines of nodes, and ways back."""

import pytest

from statemachine.commands import (
    PauseJob,
    PromoteJob,
    ResumeJob,
    RetryJob,
    RevertJob,
    SubmitJob,
)
from statemachine.manifest import Requirement
from statemachine.outcomes import Reason
from statemachine.rollout import HoldKind, OnFailure, Promotion, Rollout, Window
from statemachine.rollouts import blocking
from statemachine.words import JobKind, JobState, Phase, Status, TaskState
from tests.statemachine.fleet import Fleet, component, digest, manifest
from tests.statemachine.six_nodes import NODES, holds, six_nodes, states, upgrade, waves


@pytest.fixture
def fleet() -> Fleet:
    return six_nodes()


def test_canaries_go_first_and_the_rest_waits_for_an_operator(fleet: Fleet) -> None:
    job = upgrade(fleet, canary=1, promotion=Promotion.MANUAL)
    assert waves(fleet, job) == [["n0"], ["n1", "n2"], ["n3", "n4"], ["n5"]]
    fleet.refuse(Reason.WRONG_STATUS, PromoteJob, job=job)
    fleet.drive(job, "n0")
    assert (holds(fleet, job), fleet.due(job)) == ([HoldKind.CANARY], [])
    fleet.stale_claim(job, "n1")
    fleet.accept(PromoteJob, job=job)
    assert (holds(fleet, job), fleet.due(job)) == ([], ["n1", "n2"])
    fleet.refuse(Reason.WRONG_STATUS, PromoteJob, job=job)


def test_canaries_that_are_well_promote_themselves_unless_told_otherwise(fleet: Fleet) -> None:
    job = upgrade(fleet, canary=2)
    fleet.drive(job, "n0", "n1")
    assert fleet.job(job).promoted
    assert fleet.due(job) == ["n2", "n3"]


def test_one_canary_that_fails_is_one_too_many_whatever_the_budget(fleet: Fleet) -> None:
    job = upgrade(fleet, canary=2, max_failed=5)
    fleet.lose(job, "n0")
    fleet.stale_claim(job, "n2")
    assert states(fleet, job)[1:] == [TaskState.SKIPPED] * 5
    assert "canary n0 failed" in fleet.task(job, "n5").error


def test_one_failure_domain_is_worked_on_at_a_time(fleet: Fleet) -> None:
    job = upgrade(fleet, max_parallel=6, domain="rack")
    assert waves(fleet, job) == [["n0", "n3"], ["n1", "n4"], ["n2", "n5"]]
    fleet.drive(job, "n0")
    fleet.stale_claim(job, "n1")


def test_numbers_can_be_given_in_percent(fleet: Fleet) -> None:
    job = upgrade(fleet, max_parallel=0, max_parallel_percent=50, max_failed_percent=34)
    assert (fleet.job(job).max_parallel, fleet.job(job).max_failed) == (3, 2)


def test_a_pause_begins_nothing_and_what_runs_goes_on(fleet: Fleet) -> None:
    job = upgrade(fleet)
    fleet.claim(job, "n0")
    fleet.accept(PauseJob, job=job, reason="lunch")
    assert fleet.due(job) == ["n0"]
    fleet.stale_claim(job, "n1")
    fleet.drive(job, "n0")
    assert (fleet.due(job), fleet.job(job).holds[0].reason) == ([], "lunch")
    fleet.refuse(Reason.WRONG_STATUS, PauseJob, job=job)
    fleet.accept(ResumeJob, job=job)
    assert fleet.due(job) == ["n1"]
    fleet.refuse(Reason.WRONG_STATUS, ResumeJob, job=job)


def test_a_job_that_pauses_on_failure_goes_on_when_an_operator_has_looked(fleet: Fleet) -> None:
    job = upgrade(fleet, on_failure=OnFailure.PAUSE)
    fleet.lose(job, "n0")
    assert (holds(fleet, job), fleet.due(job)) == ([HoldKind.FAILURES], [])
    fleet.accept(ResumeJob, job=job)
    assert fleet.due(job) == ["n1"]
    fleet.lose(job, "n1")
    assert holds(fleet, job) == [HoldKind.FAILURES]
    fleet.cancel(job)
    assert fleet.job(job).state is JobState.CANCELLED


def test_a_job_that_reverts_brings_back_what_it_changed_the_newest_first(fleet: Fleet) -> None:
    job = upgrade(fleet, on_failure=OnFailure.REVERT)
    for node in ("n0", "n1", "n2"):
        fleet.passed_time(10)
        fleet.drive(job, node)
    fleet.lose(job, "n3")
    assert fleet.job(job).state is JobState.PARTLY
    (back,) = fleet.state.running
    assert fleet.job(back).revert_of == job
    assert list(fleet.job(back).tasks) == ["n2", "n1", "n0"]
    fleet.drive(back)
    assert fleet.job(back).state is JobState.SUCCEEDED
    assert {fleet.node(node).bundle for node in NODES} == {digest(1)}


def test_a_pause_forgives_no_failures_and_stops_no_revert(fleet: Fleet) -> None:
    job = upgrade(fleet, max_parallel=3, max_failed=1, on_failure=OnFailure.REVERT)
    fleet.drive(job, "n0")
    fleet.claim(job, "n1")
    fleet.claim(job, "n2")
    fleet.lose(job, "n1")
    fleet.accept(PauseJob, job=job)
    fleet.accept(ResumeJob, job=job)
    fleet.claim(job, "n2")
    fleet.drive(job, "n2")
    fleet.claim(job, "n3")
    fleet.claim(job, "n4")
    fleet.lose(job, "n3")
    assert states(fleet, job)[5] is TaskState.SKIPPED
    fleet.accept(PauseJob, job=job)
    fleet.accept(ResumeJob, job=job)
    fleet.drive(job, "n4")
    (back,) = fleet.state.running
    assert list(fleet.job(back).tasks) == ["n0", "n2", "n4"]


def test_a_job_that_was_cancelled_too_late_to_change_anything_reverts_nothing_either(fleet: Fleet) -> None:
    job = upgrade(fleet, on_failure=OnFailure.REVERT)
    fleet.claim(job, "n1")
    fleet.lose(job, "n0")
    fleet.cancel(job)
    while fleet.task(job, "n1").state is TaskState.RUNNING:
        fleet.step(job, "n1")
    assert fleet.task(job, "n1").state is TaskState.SUCCEEDED
    assert fleet.state.running == ()


def test_a_cancelled_job_reverts_nothing_by_itself(fleet: Fleet) -> None:
    job = upgrade(fleet, on_failure=OnFailure.REVERT)
    fleet.drive(job, "n0")
    fleet.cancel(job)
    assert fleet.state.running == ()


def test_an_ended_job_is_reverted_on_request_where_nothing_moved_on_since(fleet: Fleet) -> None:
    job = upgrade(fleet, max_parallel=6)
    fleet.refuse(Reason.WRONG_STATUS, RevertJob, job=job)
    fleet.drive(job)
    fleet.drive(fleet.submit(JobKind.DECOMMISSION, "n5"))
    back = fleet.accept(RevertJob, job=job).ref
    assert sorted(fleet.job(back).tasks) == ["n0", "n1", "n2", "n3", "n4"]
    fleet.drive(back)
    assert fleet.node("n0").bundle == digest(1)
    fleet.refuse(Reason.WRONG_STATUS, RevertJob, job=job)


def test_a_retry_takes_the_failed_nodes_or_all_that_did_not_succeed(fleet: Fleet) -> None:
    job = upgrade(fleet)
    fleet.drive(job, "n0")
    fleet.lose(job, "n1")
    again = fleet.accept(RetryJob, job=job).ref
    assert (list(fleet.job(again).tasks), fleet.job(again).retry_of) == (["n1"], job)
    assert fleet.job(again).bundle == digest(2)
    fleet.drive(again)
    rest = fleet.accept(RetryJob, job=job, unfinished=True).ref
    assert list(fleet.job(rest).tasks) == ["n1", "n2", "n3", "n4", "n5"]
    fleet.drive(rest)
    assert {fleet.node(node).bundle for node in NODES} == {digest(2)}
    fleet.refuse(Reason.WRONG_STATUS, RetryJob, job=rest)


def test_a_retry_keeps_canaries_failure_domains_and_windows(fleet: Fleet) -> None:
    window = Window(cron="0 22 * * *", duration_s=3600)
    job = upgrade(fleet, max_parallel=6, canary=1, domain="rack", windows=(window,))
    fleet.cancel(job)
    again = fleet.accept(RetryJob, job=job, unfinished=True).ref
    assert waves(fleet, again) == waves(fleet, job) == [["n0"], ["n3"], ["n1", "n4"], ["n2", "n5"]]
    assert (holds(fleet, again), fleet.due(again)) == ([HoldKind.WINDOW], [])


def test_a_node_has_to_stay_healthy_before_it_counts_as_done(fleet: Fleet) -> None:
    job = upgrade(fleet, min_healthy_s=60)
    fleet.claim(job, "n0")
    while fleet.task(job, "n0").phase is not Phase.SOAK:
        fleet.step(job, "n0")
    due = fleet.step_due(job, "n0")
    assert due is not None
    assert due.not_before == fleet.at + 60
    fleet.passed_time(60)
    fleet.drive(job, "n0")
    assert fleet.task(job, "n0").state is TaskState.SUCCEEDED


def test_a_node_that_falls_ill_while_it_soaks_is_reverted(fleet: Fleet) -> None:
    job = upgrade(fleet, min_healthy_s=60)
    fleet.claim(job, "n0")
    while fleet.task(job, "n0").phase is not Phase.SOAK:
        fleet.step(job, "n0")
    fleet.passed_time(60)
    fleet.fail(job, "n0")
    assert fleet.task(job, "n0").phase is Phase.UNDO


def test_a_node_may_take_until_its_deadline_to_become_healthy(fleet: Fleet) -> None:
    job = upgrade(fleet, healthy_deadline_s=64)
    fleet.claim(job, "n0")
    while fleet.task(job, "n0").phase is not Phase.VERIFY:
        fleet.step(job, "n0")
    looks = 0
    while fleet.task(job, "n0").phase is Phase.VERIFY:
        fleet.fail(job, "n0")
        fleet.passed_time(2)
        looks += 1
    assert looks == 33
    assert fleet.task(job, "n0").phase is Phase.UNDO


def test_a_role_keeps_its_minimum_at_work_while_its_nodes_are_upgraded() -> None:
    fleet = Fleet()
    roles = {"quorum": (Requirement(role="quorum", minimum=2),)}
    fleet.bundle(1, manifest(component("app"), roles=roles))
    fleet.discovered("a", "b", "c")
    fleet.drive(fleet.submit(JobKind.COMMISSION, "a", "b", "c", role="quorum"))
    job = fleet.submit(JobKind.UPGRADE, "a", "b", "c", max_parallel=3)
    fleet.claim(job, "a")
    assert fleet.due(job) == ["a"]
    (wait,) = blocking.waits_for(
        fleet.state, fleet.job(job), fleet.task(job, "b"), blocking.Counts(fleet.state)
    )
    assert wait.message == "role quorum needs 2 x quorum in service and would have 1"
    fleet.stale_claim(job, "b")
    fleet.drive(job, "a")
    assert fleet.due(job) == ["b", "c"]


def test_who_is_upgraded_itself_comes_back_and_still_needs_the_others() -> None:
    fleet = Fleet()
    roles = {"master": (), "worker": (Requirement(role="master", minimum=1),)}
    fleet.bundle(1, manifest(component("app"), roles=roles))
    fleet.in_service("m1", role="master")
    fleet.in_service("m2", role="master")
    fleet.in_service("w", role="worker")
    job = fleet.submit(JobKind.UPGRADE, "m1", "m2", "w", max_parallel=3)
    fleet.claim(job, "m1")
    fleet.claim(job, "w")
    assert fleet.due(job) == ["m1", "w"], "both masters would be out of work when the worker is back"
    fleet.stale_claim(job, "m2")
    fleet.drive(job, "w")
    fleet.stale_claim(job, "m2")
    fleet.drive(job, "m1")
    assert fleet.due(job) == ["m2"]


def test_an_upgrade_that_could_never_keep_a_minimum_is_refused_unless_the_gap_is_accepted() -> None:
    fleet = Fleet()
    roles = {"master": (), "worker": (Requirement(role="master", minimum=1),)}
    fleet.bundle(1, manifest(component("app"), roles=roles))
    fleet.in_service("m", role="master")
    fleet.in_service("w", role="worker")
    refusal = fleet.refuse(Reason.REQUIREMENT, SubmitJob, kind=JobKind.UPGRADE, nodes=("m",))
    assert "--below-minimum" in refusal.hint
    fleet.drive(fleet.submit(JobKind.UPGRADE, "m", rollout=Rollout(below_minimum=True)))
    assert fleet.node("m").status is Status.UPGRADED


@pytest.mark.parametrize(
    ("rollout", "says"),
    [
        (Rollout(canary=7), "7 canaries are asked for, of 6 nodes"),
        (Rollout(promotion=Promotion.MANUAL), "no canary"),
        (Rollout(max_parallel_percent=101), "between 1 and 100"),
        (Rollout(max_parallel_percent=50), "as 2 and as 50 %"),
        (Rollout(max_failed_percent=-1), "between 0 and 100"),
        (Rollout(domain="no label!"), "no failure domain"),
        (Rollout(min_healthy_s=60, healthy_deadline_s=60), "has only 60 s"),
        (Rollout(min_healthy_s=60, progress_deadline_s=30), "before a node can be healthy"),
        (Rollout(min_healthy_s=float("nan")), "must be between"),
        (Rollout(start_at=-1.0), "before 1970"),
        (Rollout(windows=(Window(cron="soon", duration_s=3600),)), "not five fields"),
        (Rollout(windows=(Window(cron="0 1 * * *", duration_s=1),)), "must be between"),
        (Rollout(windows=(Window(cron="0 1 * * *", duration_s=600, zone="../etc"),)), "no time zone"),
        (Rollout(windows=(Window(cron="0 1 * * *", duration_s=600),) * 17), "more than 16"),
    ],
)
def test_a_strategy_that_contradicts_itself_is_refused(fleet: Fleet, rollout: Rollout, says: str) -> None:
    refusal = fleet.refuse(
        Reason.INVALID, SubmitJob, kind=JobKind.UPGRADE, nodes=NODES, max_parallel=2, rollout=rollout
    )
    assert says in refusal.message


def test_all_contradictions_of_a_strategy_are_named(fleet: Fleet) -> None:
    bad = Rollout(canary=9, max_failed_percent=900, start_at=-1)
    refusal = fleet.refuse(Reason.INVALID, SubmitJob, kind=JobKind.UPGRADE, nodes=NODES, rollout=bad)
    assert all(says in refusal.message for says in ("9 canaries", "900 %", "before 1970"))
