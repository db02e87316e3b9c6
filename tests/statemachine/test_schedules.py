"""Schedules: each moment makes one job at most, whoever leads, and whatever became of it is told."""

import pytest

from statemachine import codec
from statemachine.commands import CancelJob, SubmitJob
from statemachine.discovery_commands import SubmitDiscovery
from statemachine.jobs import upkeep
from statemachine.model import Endpoint
from statemachine.outcomes import Accepted, Reason
from statemachine.rollout import Promotion, Rollout
from statemachine.schedule import LATE_S_MAX, SCHEDULES_MAX, Schedule
from statemachine.schedule_commands import (
    DropSchedule,
    FireSchedule,
    PauseSchedule,
    PutSchedule,
    ReplanSchedule,
)
from statemachine.words import JobKind, NodeName, RequestId
from tests.statemachine.fleet import Fleet, component, manifest

EVERY_S = 600.0


def request(**fields: object) -> bytes:
    stamps = {"request_id": RequestId("x"), "at": 1.0, "actor": "x"}
    wanted = {"kind": JobKind.VERIFY, "selector": "*", **fields}
    return codec.encode_command(SubmitJob(**stamps, **wanted))  # type: ignore[arg-type] # any fields


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app")))
    fleet.in_service("web-1", "web-2")
    return fleet


def put(fleet: Fleet, name: str = "nightly", **fields: object) -> None:
    given = {"cron": "*/10 * * * *", "zone": "UTC", "request": request(), "next_at": fleet.at + EVERY_S}
    fleet.accept(PutSchedule, name=name, **{**given, **fields})


def schedule(fleet: Fleet, name: str = "nightly") -> Schedule:
    return fleet.state.schedules[name]


def fire(fleet: Fleet, *, late_s: float = 0.0, missed: int = 0) -> str:
    """Let the moment come, and `missed` more of them; return what the outcome refers to."""
    due = schedule(fleet).next_at
    moment = due + missed * EVERY_S
    fleet.at = moment + late_s
    fields = {"name": "nightly", "due": due, "moment": moment, "next_at": moment + EVERY_S}
    return fleet.accept(FireSchedule, **fields).ref


def test_a_moment_makes_a_job_in_the_name_of_who_asked_for_it(fleet: Fleet) -> None:
    put(fleet)
    assert upkeep.duties(fleet.state) == (upkeep.ScheduleDue(name="nightly", at=fleet.at + EVERY_S),)
    job = fire(fleet)
    made = fleet.job(job)
    assert (made.kind, made.actor, made.reason, len(made.tasks)) == (
        JobKind.VERIFY,
        "ann",
        "schedule nightly",
        2,
    )
    found = schedule(fleet)
    assert (found.job, found.fired_at, found.outcome) == (job, fleet.at, f"began {job}")
    assert found.next_at == fleet.at + EVERY_S


def test_two_leaders_cannot_fire_one_moment_twice(fleet: Fleet) -> None:
    put(fleet)
    due = schedule(fleet).next_at
    fire(fleet)
    jobs = fleet.state.job_count
    fleet.refuse(Reason.STALE_CLAIM, FireSchedule, name="nightly", due=due, moment=due, next_at=due + EVERY_S)
    assert fleet.state.job_count == jobs


def test_a_moment_that_has_not_come_is_not_fired(fleet: Fleet) -> None:
    put(fleet)
    due = schedule(fleet).next_at
    fleet.refuse(Reason.STALE_CLAIM, FireSchedule, name="nightly", due=due, moment=due, next_at=due + 1)
    fleet.passed_time(EVERY_S)
    fleet.refuse(
        Reason.INVALID, FireSchedule, name="nightly", due=due, moment=due + EVERY_S, next_at=due + 1e4
    )
    fleet.refuse(Reason.INVALID, FireSchedule, name="nightly", due=due, moment=due, next_at=due)


def test_a_schedule_can_be_made_to_wait_for_an_earlier_moment_to_come_and_no_other(fleet: Fleet) -> None:
    put(fleet)
    due = schedule(fleet).next_at
    for bad in (fleet.at, due, due + 1):
        fleet.refuse(Reason.INVALID, ReplanSchedule, name="nightly", due=due, next_at=bad)
    fleet.refuse(Reason.STALE_CLAIM, ReplanSchedule, name="nightly", due=due - 1, next_at=fleet.at + 1)
    fleet.refuse(Reason.NO_SUCH_SCHEDULE, ReplanSchedule, name="other", due=due, next_at=fleet.at + 1)
    fleet.accept(ReplanSchedule, name="nightly", due=due, next_at=fleet.at + 1)
    assert schedule(fleet).next_at == fleet.at + 1
    assert fleet.state.events[-1].kind == "schedule.replanned"
    fleet.accept(PauseSchedule, name="nightly", on=True)
    fleet.refuse(Reason.STALE_CLAIM, ReplanSchedule, name="nightly", due=fleet.at + 1, next_at=fleet.at + 0.5)


def test_moments_that_were_missed_are_made_up_for_once(fleet: Fleet) -> None:
    put(fleet)
    job = fire(fleet, missed=2, late_s=LATE_S_MAX)
    assert schedule(fleet).outcome == f"began {job}, 3600 s late"
    assert len(fleet.state.running) == 1


def test_a_moment_that_was_missed_for_too_long_is_skipped_and_that_is_recorded(fleet: Fleet) -> None:
    put(fleet)
    jobs = fleet.state.job_count
    fire(fleet, late_s=LATE_S_MAX + 1)
    assert fleet.state.job_count == jobs
    assert "nobody led the cluster" in schedule(fleet).outcome
    assert fleet.state.events[-1].kind == "schedule.skipped"
    assert fire(fleet), "the next one is fired again"


def test_a_moment_is_skipped_while_the_last_job_still_runs(fleet: Fleet) -> None:
    put(fleet)
    job = fire(fleet)
    fire(fleet)
    assert schedule(fleet).outcome == f"skipped, since {job} still runs"
    assert fleet.state.running == (job,)
    fleet.accept(CancelJob, job=job)
    assert fire(fleet) != job


def test_what_is_refused_at_its_moment_is_told_and_the_next_moment_comes(fleet: Fleet) -> None:
    put(fleet, request=request(selector="", nodes=(NodeName("later"),)))
    fire(fleet)
    assert schedule(fleet).outcome == "refused: no such node: later"
    fleet.in_service("later")
    assert fire(fleet) in fleet.state.running


def test_a_paused_schedule_waits_and_goes_on_with_the_moment_that_is_next_then(fleet: Fleet) -> None:
    put(fleet)
    due = schedule(fleet).next_at
    fleet.accept(PauseSchedule, name="nightly", on=True, reason="holidays")
    assert upkeep.duties(fleet.state) == ()
    fleet.passed_time(EVERY_S)
    fleet.refuse(Reason.STALE_CLAIM, FireSchedule, name="nightly", due=due, moment=due, next_at=due + EVERY_S)
    fleet.refuse(Reason.WRONG_STATUS, PauseSchedule, name="nightly", on=True)
    fleet.refuse(Reason.INVALID, PauseSchedule, name="nightly", on=False, next_at=fleet.at)
    fleet.accept(PauseSchedule, name="nightly", on=False, next_at=fleet.at + 5)
    assert schedule(fleet).next_at == fleet.at + 5
    fleet.refuse(Reason.WRONG_STATUS, PauseSchedule, name="nightly", on=False, next_at=fleet.at + 5)


def test_a_dropped_schedule_makes_nothing_and_its_job_goes_on(fleet: Fleet) -> None:
    put(fleet)
    job = fire(fleet)
    fleet.accept(DropSchedule, name="nightly")
    assert fleet.state.running == (job,)
    assert upkeep.duties(fleet.state) == ()
    for command, more in ((DropSchedule, {}), (PauseSchedule, {"on": True})):
        fleet.refuse(Reason.NO_SUCH_SCHEDULE, command, name="nightly", **more)


def test_a_calendar_that_has_no_moment_left_is_a_schedule_that_waits_for_nothing(fleet: Fleet) -> None:
    put(fleet)
    due = schedule(fleet).next_at
    fleet.at = due
    fleet.accept(FireSchedule, name="nightly", due=due, moment=due, next_at=0.0)
    assert upkeep.duties(fleet.state) == ()


def test_the_first_of_many_schedules_is_the_one_to_wait_for_and_there_is_a_bound(fleet: Fleet) -> None:
    for number in range(SCHEDULES_MAX):
        put(fleet, f"s{number}", next_at=fleet.at + 1_000 - number)
    assert upkeep.duties(fleet.state) == (
        upkeep.ScheduleDue(name=f"s{SCHEDULES_MAX - 1}", at=fleet.at + 1_001 - SCHEDULES_MAX),
    )
    given = {"cron": "0 3 * * *", "zone": "UTC", "request": request(), "next_at": fleet.at + 1}
    fleet.refuse(Reason.LIMIT, PutSchedule, name="more", **given)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Not A Name"},
        {"cron": "daily"},
        {"zone": "9"},
        {"next_at": 0.0},
        {"next_at": float("nan")},
        {"request": b"nonsense"},
        {"request": request(selector="a b")},
        {"request": request(max_parallel=-1)},
        {"request": request(plan="p")},
        {"request": request(rollout=Rollout(start_at=5.0))},
        {"request": request(kind=JobKind.UPGRADE, rollout=Rollout(promotion=Promotion.MANUAL))},
        {"request": request(kind=JobKind.REPLACE)},
    ],
)
def test_a_schedule_that_could_never_work_is_refused(fleet: Fleet, wrong: dict[str, object]) -> None:
    given = {"name": "n", "cron": "0 3 * * *", "zone": "UTC", "request": request(), "next_at": fleet.at + 1}
    fleet.refuse(Reason.INVALID, PutSchedule, **{**given, **wrong})


def test_a_discovery_cannot_be_scheduled(fleet: Fleet) -> None:
    stamps = {"request_id": RequestId("x"), "at": 1.0, "actor": "x"}
    discovery = SubmitDiscovery(**stamps, endpoints=(Endpoint(address="a"),))  # type: ignore[arg-type] # stamps
    fleet.refuse(
        Reason.INVALID,
        PutSchedule,
        name="n",
        cron="0 3 * * *",
        zone="UTC",
        request=codec.encode_command(discovery),
        next_at=fleet.at + 1,
    )


def test_a_name_is_used_once_and_nodes_may_be_missing_when_it_is_made(fleet: Fleet) -> None:
    put(fleet, request=request(selector="role=later"))
    given = {"cron": "0 3 * * *", "zone": "UTC", "request": request(), "next_at": fleet.at + 1}
    fleet.refuse(Reason.WRONG_STATUS, PutSchedule, name="nightly", **given)
    assert isinstance(fleet.send(PutSchedule, name="other", **given), Accepted)
