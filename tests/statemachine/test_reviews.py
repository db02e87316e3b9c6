"""When the calendar and the clock let a job go on, or end it: windows, start times, progress deadlines."""

import pytest

from statemachine.commands import ResumeJob, ReviewJob
from statemachine.jobs import work
from statemachine.outcomes import Reason
from statemachine.rollout import HoldKind, OnFailure, Window
from tests.statemachine.fleet import Fleet
from tests.statemachine.six_nodes import holds, six_nodes, upgrade


@pytest.fixture
def fleet() -> Fleet:
    return six_nodes()


def reviews(fleet: Fleet) -> list[float]:
    return [one.at for one in work.pending(fleet.state) if isinstance(one, work.ReviewDue)]


def test_a_job_begins_tasks_only_while_a_window_is_open(fleet: Fleet) -> None:
    job = upgrade(fleet, windows=(Window(cron="0 22 * * *", duration_s=3600),))
    assert (reviews(fleet), fleet.due(job)) == ([fleet.at], [])
    opens_at = fleet.at + 500
    fleet.accept(ReviewJob, job=job, open_until=None, opens_at=opens_at)
    assert (reviews(fleet), fleet.job(job).holds[0].until) == ([opens_at], opens_at)
    fleet.refuse(Reason.STALE_CLAIM, ReviewJob, job=job, open_until=None, opens_at=opens_at)
    fleet.passed_time(500)
    fleet.accept(ReviewJob, job=job, open_until=fleet.at + 3600, opens_at=fleet.at + 86_400)
    assert fleet.due(job) == ["n0", "n1"]
    assert reviews(fleet) == [fleet.at + 3600]
    fleet.claim(job, "n0")
    fleet.passed_time(3600)
    fleet.accept(ReviewJob, job=job, open_until=None, opens_at=fleet.at + 82_800)
    assert fleet.due(job) == ["n0"]
    fleet.drive(job, "n0")
    assert fleet.due(job) == []


def test_nothing_begins_after_a_window_that_closed_while_nobody_led(fleet: Fleet) -> None:
    job = upgrade(fleet, windows=(Window(cron="0 22 * * *", duration_s=3600),))
    fleet.accept(ReviewJob, job=job, open_until=fleet.at + 3600, opens_at=None)
    fleet.passed_time(3600)
    fleet.stale_claim(job, "n0")
    fleet.accept(ReviewJob, job=job, open_until=None, opens_at=fleet.at + 82_800)
    assert (holds(fleet, job), fleet.due(job)) == ([HoldKind.WINDOW], [])


def test_a_job_that_is_to_begin_later_begins_then(fleet: Fleet) -> None:
    job = upgrade(fleet, start_at=fleet.at + 100)
    assert (fleet.due(job), reviews(fleet)) == ([], [fleet.at + 100])
    fleet.passed_time(100)
    fleet.accept(ReviewJob, job=job)
    assert fleet.due(job) == ["n0", "n1"]


def test_a_job_in_which_nothing_ends_for_too_long_has_failed(fleet: Fleet) -> None:
    job = upgrade(fleet, progress_deadline_s=300, on_failure=OnFailure.PAUSE)
    fleet.accept(ReviewJob, job=job)
    fleet.claim(job, "n0")
    assert reviews(fleet) == [fleet.at + 300]
    fleet.passed_time(200)
    fleet.drive(job, "n1")
    assert reviews(fleet) == [fleet.at + 300]
    fleet.passed_time(300)
    fleet.accept(ReviewJob, job=job)
    assert holds(fleet, job) == [HoldKind.STALLED]
    assert reviews(fleet) == []
    fleet.accept(ResumeJob, job=job)
    fleet.accept(ReviewJob, job=job)
    assert reviews(fleet) == [fleet.at + 300]


def test_a_progress_deadline_counts_by_the_clocks_of_leaders_alone(fleet: Fleet) -> None:
    job = upgrade(fleet, progress_deadline_s=300, on_failure=OnFailure.PAUSE)
    assert reviews(fleet) == [0.0]
    fleet.passed_time(7200)  # the leader's clock is two hours ahead of the one that stamped the submission
    fleet.accept(ReviewJob, job=job)
    assert (holds(fleet, job), fleet.due(job)) == ([], ["n0", "n1"])
    assert reviews(fleet) == [fleet.at + 300]


def test_a_clock_that_is_set_fails_no_job_and_keeps_none_from_failing(fleet: Fleet) -> None:
    job = upgrade(fleet, progress_deadline_s=300, on_failure=OnFailure.PAUSE)
    fleet.accept(ReviewJob, job=job)
    fleet.passed_time(7200)  # it was set forward: the leader itself has seen no more than a minute
    fleet.accept(ReviewJob, job=job, quiet_s=60.0)
    assert (holds(fleet, job), reviews(fleet)) == ([], [fleet.at + 240])
    fleet.passed_time(-7200)  # and back
    fleet.refuse(Reason.STALE_CLAIM, ReviewJob, job=job, quiet_s=299.0)
    fleet.accept(ReviewJob, job=job, quiet_s=300.0)
    assert holds(fleet, job) == [HoldKind.STALLED]


def test_a_window_is_what_the_newest_look_at_the_clock_found(fleet: Fleet) -> None:
    job = upgrade(fleet, windows=(Window(cron="0 22 * * *", duration_s=3600),))
    fleet.accept(ReviewJob, job=job, open_until=fleet.at + 3600, opens_at=fleet.at + 86_400)
    fleet.passed_time(-7200)  # the clock was two hours ahead: no window was open
    shut = {"open_until": None, "opens_at": fleet.at + 5400}
    fleet.accept(ReviewJob, job=job, **shut)
    assert (holds(fleet, job), fleet.due(job)) == ([HoldKind.WINDOW], [])
    fleet.refuse(Reason.STALE_CLAIM, ReviewJob, job=job, **shut)
    fleet.accept(ReviewJob, job=job, open_until=fleet.at + 600, opens_at=fleet.at + 86_400)
    assert fleet.due(job) == ["n0", "n1"]
