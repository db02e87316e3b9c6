"""A cluster begins again: nothing of the old one is done twice, obeyed, or taken for the new one's."""

import dataclasses

import pytest

from statemachine import codec
from statemachine.cluster import generations
from statemachine.cluster.generations import EPOCHS, GENERATIONS_MAX, INDEXES
from statemachine.commands import CancelJob, ResumeJob
from statemachine.jobs import upkeep
from statemachine.model import EPOCH_MAX, Debt, State
from statemachine.rollout import HoldKind
from statemachine.schedule import Schedule
from statemachine.why.jobs import why_job
from statemachine.words import JobId, JobKind
from tests.statemachine.fleet import AT, Fleet, component, digest, manifest


def under_way(fleet: Fleet) -> str:
    """Begin a job on a, with b still to come; return its name."""
    fleet.bundle(1, manifest(component("app"), roles={"web": ()}))
    fleet.in_service("a", "b")
    job = fleet.submit(JobKind.VERIFY, "a", "b", max_parallel=1)
    fleet.claim(job, "a")
    fleet.start(job, "a")
    return job


def reborn(fleet: Fleet) -> None:
    before = fleet.state
    fleet.state = generations.begin(before, source="recovered from r2", at=AT, actor="operator")
    assert fleet.state.generation == before.generation + 1
    assert codec.decode_state(codec.encode_state(fleet.state)) == fleet.state


def test_epochs_and_indexes_are_beyond_all_that_was_lost() -> None:
    fleet = Fleet()
    job = under_way(fleet)
    before = fleet.node("a")
    reborn(fleet)
    assert fleet.node("a").epoch == before.epoch + EPOCHS
    assert fleet.node("a").index >= before.index + INDEXES
    assert fleet.state.index >= INDEXES
    fleet.accept(ResumeJob, job=job)
    assert fleet.claim(job, "a") == before.epoch + EPOCHS + 1
    assert fleet.state.events[-1].index == fleet.state.index


def test_what_was_under_way_waits_for_an_operator_even_where_it_had_begun() -> None:
    fleet = Fleet()
    job = under_way(fleet)
    assert fleet.due(job) == ["a"]
    reborn(fleet)
    assert fleet.due(job) == []
    fleet.stale_claim(job, "a")
    fleet.stale_claim(job, "b")
    hold = fleet.job(job).holds[-1]
    assert (hold.kind, hold.reason) == (
        HoldKind.REBORN,
        "recovered from r2; what it did since is not known here",
    )
    causes = why_job(fleet.state, fleet.job(job), AT)
    assert any(f"hamgr job resume {job}" in cause.way_out for cause in causes)


def test_a_job_that_is_resumed_asks_for_the_attempt_that_was_announced() -> None:
    fleet = Fleet()
    job = under_way(fleet)
    owed = fleet.step_due(job, "a")
    reborn(fleet)
    fleet.accept(ResumeJob, job=job)
    assert fleet.due(job) == ["a"]
    fleet.claim(job, "a")
    again = fleet.step_due(job, "a")
    assert owed is not None
    assert again is not None
    assert (again.key, again.attempt, again.launched_at) == (owed.key, owed.attempt, owed.launched_at)
    fleet.finish(job, "a")
    fleet.drive(job, "b")
    assert fleet.job(job).state == "succeeded"


def test_a_job_that_is_cancelled_ends() -> None:
    fleet = Fleet()
    job = under_way(fleet)
    reborn(fleet)
    fleet.accept(CancelJob, job=job)
    assert fleet.due(job) == ["a"]
    assert fleet.claim(job, "a") > EPOCHS


def test_jobs_have_names_that_the_old_cluster_never_gave() -> None:
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app"), roles={"web": ()}))
    fleet.in_service("a")
    first = fleet.submit(JobKind.VERIFY, "a")
    fleet.drive(first)
    reborn(fleet)
    second = fleet.submit(JobKind.VERIFY, "a")
    fleet.drive(second)
    reborn(fleet)
    third = fleet.submit(JobKind.VERIFY, "a")
    number = int(first.removeprefix("j-"))
    assert (second, third) == (f"j2-{number + 1}", f"j3-{number + 2}")


def test_there_is_an_end_to_generations_before_there_is_one_to_epochs() -> None:
    last = dataclasses.replace(State(), generation=GENERATIONS_MAX)
    with pytest.raises(generations.TooManyGenerations):
        generations.begin(last, source="x", at=AT, actor="operator")
    assert (GENERATIONS_MAX + 1) * EPOCHS <= EPOCH_MAX


def test_nothing_begins_by_itself_debts_and_schedules_wait_for_an_operator() -> None:
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app"), roles={"web": ()}))
    fleet.in_service("a")
    owing = dataclasses.replace(fleet.node("a"), debt=Debt(job=JobId("j-1"), bundle=digest(1), since=AT))
    nightly = Schedule(
        name="nightly", cron="0 2 * * *", zone="UTC", request=b"", kind=JobKind.VERIFY, author="ann",
        since=AT, next_at=AT + 60.0,
    )  # fmt: skip
    resting = dataclasses.replace(nightly, name="resting", paused="ann paused it")
    fleet.state = dataclasses.replace(
        fleet.state, nodes={owing.name: owing}, schedules={one.name: one for one in (nightly, resting)}
    )
    assert {type(duty) for duty in upkeep.duties(fleet.state)} == {upkeep.DebtsDue, upkeep.ScheduleDue}
    reborn(fleet)
    assert upkeep.duties(fleet.state) == ()
    debt = fleet.node("a").debt
    assert debt is not None
    assert debt.error == "recovered from r2"
    assert fleet.state.schedules["nightly"].paused == "recovered from r2"
    assert fleet.state.schedules["resting"].paused == "ann paused it"
