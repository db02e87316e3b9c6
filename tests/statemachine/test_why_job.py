"""Why a job is where it is, in the words that an operator reads at night; every one of them was recorded."""

from typing import Any

import pytest

from statemachine.commands import PauseJob, PromoteJob, ResumeJob, RetryJob, RevertJob, ReviewJob
from statemachine.manifest import Manifest, Requirement, StepSpec
from statemachine.rollout import OnFailure, Promotion, Rollout, Window
from statemachine.why import jobs as module
from statemachine.why.jobs import why_job
from statemachine.why.nodes import why_node
from statemachine.why.reasons import LISTED_MAX, Cause, spell
from statemachine.words import Ending, JobKind, StepClass
from tests.statemachine.fleet import Fleet, component, manifest

NODES = tuple(f"n{i}" for i in range(6))


def content() -> Manifest:
    """Return a bundle whose upgrade may be tried four times, half a minute apart at first."""
    replace = StepSpec(name="replace", retries=3, retry_delay_s=30, step_class=StepClass.CHECKABLE)
    return manifest(
        component(
            "app",
            commission=(StepSpec(name="install"),),
            upgrade=(replace,),
            verify=(StepSpec(name="answers", check=True),),
            cleanup=(StepSpec(name="remove"),),
        )
    )


@pytest.fixture
def fleet() -> Fleet:
    """Six nodes in service under bundle 1; bundle 2 is the current one."""
    fleet = Fleet()
    fleet.bundle(1, content())
    fleet.in_service(*NODES)
    fleet.bundle(2, content())
    return fleet


def upgrade(fleet: Fleet, *nodes: str, max_failed: int | None = 3, priority: int = 0, **rollout: Any) -> str:
    return fleet.submit(
        JobKind.UPGRADE,
        *(nodes or NODES),
        max_parallel=2,
        max_failed=max_failed,
        priority=priority,
        rollout=Rollout(**rollout),
    )


def causes(fleet: Fleet, job: str) -> list[Cause]:
    return why_job(fleet.state, fleet.job(job), fleet.at)


def told(fleet: Fleet, job: str) -> list[str]:
    """Return all that is said after the headline, with the way out after an arrow."""
    return [c.message + (f" -> {c.way_out}" if c.way_out else "") for c in causes(fleet, job)[1:]]


def lose(fleet: Fleet, job: str, node: str, tail: str = "") -> None:
    """Let an upgrade fail as often as it may, and its way back pass."""
    fleet.claim(job, node)
    for _ in range(4):
        fleet.step(job, node, exit_code=1, output_tail=tail)
        fleet.passed_time(120)
    while fleet.owed(job, node):
        fleet.step(job, node)


def test_a_job_that_nobody_has_begun_waits_for_the_leader_and_its_later_waves_for_the_first(
    fleet: Fleet,
) -> None:
    job = upgrade(fleet)
    assert causes(fleet, job)[0].message == (
        f"{job}, upgrade of 6 nodes, is running: 6 queued; 0 of 3 allowed failures"
    )
    assert told(fleet, job) == [
        "n0, n1: nothing is in the way, and the leader has not begun yet -> hamgr status, if it stays so",
        "4 wait for later waves; wave 1 of 3 has to end first",
    ]


def test_a_running_step_says_which_attempt_it_is_since_when_and_until_when_at_most(fleet: Fleet) -> None:
    job = upgrade(fleet, "n0")
    fleet.claim(job, "n0")
    assert told(fleet, job) == [
        "n0 is to begin 'app: replace' (work), attempt 1 of 4; claimed by replica-1/7"
    ]
    fleet.start(job, "n0")
    began = fleet.at
    fleet.passed_time(20)
    (running,) = causes(fleet, job)[1:]
    assert running.message == "n0 runs 'app: replace' (work), attempt 1 of 4; claimed by replica-1/7"
    assert (running.since, running.until) == (began, began + 300)
    fleet.passed_time(300)
    (late,) = causes(fleet, job)[1:]
    assert "its 5 min are over" in late.message
    assert late.until is None


def test_a_failed_attempt_is_told_with_its_output_and_when_the_next_one_comes(fleet: Fleet) -> None:
    job = upgrade(fleet, "n0")
    fleet.claim(job, "n0")
    fleet.step(job, "n0", exit_code=7, output_tail="No space left on device")
    (waiting,) = causes(fleet, job)[1:]
    assert waiting.message == (
        "n0 waits before attempt 2 of 4 of 'app: replace' (work); attempt 1 failed with exit status 7; "
        "claimed by replica-1/7"
    )
    assert (waiting.until, waiting.output) == (fleet.at + 30, "No space left on device")


def test_a_lost_attempt_is_asked_whether_it_finished(fleet: Fleet) -> None:
    job = upgrade(fleet, "n0")
    fleet.claim(job, "n0")
    fleet.step(job, "n0", Ending.LOST)
    fleet.start(job, "n0")
    assert "is asked whether it finished 'app: replace' (work)" in told(fleet, job)[0]
    assert "attempt 1 lost" in told(fleet, job)[0]


def test_a_node_that_soaks_says_for_how_long(fleet: Fleet) -> None:
    job = upgrade(fleet, "n0", min_healthy_s=600)
    fleet.claim(job, "n0")
    fleet.step(job, "n0")
    fleet.step(job, "n0")
    (soaking,) = causes(fleet, job)[1:]
    assert soaking.message.startswith("n0 is to stay healthy for 10 min before it is verified once more")
    assert soaking.until == fleet.at + 600


def test_a_lock_is_told_with_its_holder_what_that_does_and_where_to_ask_on(fleet: Fleet) -> None:
    first = upgrade(fleet, "n0", "n1")
    fleet.claim(first, "n0")
    fleet.claim(first, "n1")
    fleet.start(first, "n0")
    second = fleet.submit(JobKind.VERIFY, "n0", "n1", "n2")
    assert told(fleet, second) == [
        f"n0, n1: locked by {first}, an upgrade; there n0 runs 'app: replace' (work), attempt 1 of 4; "
        f"claimed by replica-1/7 -> hamgr why {first}",
        "n2: nothing is in the way, and the leader has not begun yet -> hamgr status, if it stays so",
    ]


def test_of_two_jobs_that_may_begin_the_later_one_names_the_one_that_goes_first(fleet: Fleet) -> None:
    late = upgrade(fleet, "n0", "n1")
    urgent = upgrade(fleet, "n0", priority=50)
    assert told(fleet, late) == [
        f"n0: {urgent}, an upgrade, goes first (priority 50) -> hamgr why {urgent}",
        "n1: nothing is in the way, and the leader has not begun yet -> hamgr status, if it stays so",
    ]
    assert "nothing is in the way" in told(fleet, urgent)[0]


def test_what_roles_require_of_each_other_is_told_once_for_all_nodes() -> None:
    fleet = Fleet()
    roles = {"quorum": (Requirement(role="quorum", minimum=2),)}
    fleet.bundle(1, manifest(component("app"), roles=roles))
    fleet.discovered("a", "b", "c")
    fleet.drive(fleet.submit(JobKind.COMMISSION, "a", "b", "c", role="quorum"))
    job = fleet.submit(JobKind.UPGRADE, "a", "b", "c", max_parallel=3)
    fleet.claim(job, "a")
    assert told(fleet, job)[1:] == [
        "b, c: waits, for role quorum needs 2 x quorum in service and would have 1"
    ]


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (PauseJob, "it is paused by ann: lunch -> hamgr job resume {job}"),
        (
            PromoteJob,
            "the canary is done, waiting for promotion: somebody has to look at them and say that they are "
            "good -> hamgr job promote {job}",
        ),
    ],
)
def test_a_hold_comes_first_with_who_why_and_the_command_that_ends_it(
    fleet: Fleet, act: Any, says: str
) -> None:
    job = upgrade(fleet, canary=1, promotion=Promotion.MANUAL)
    if act is PauseJob:
        fleet.accept(PauseJob, job=job, reason="lunch")
    else:
        fleet.drive(job, "n0")
    assert told(fleet, job)[0] == says.format(job=job)
    assert told(fleet, job)[1] in ("5 wait for that", "6 wait for that")
    fleet.accept(ResumeJob if act is PauseJob else PromoteJob, job=job)
    assert "nothing is in the way" in told(fleet, job)[0]


def test_windows_and_starts_say_when_they_end_by_themselves(fleet: Fleet) -> None:
    window = Window(cron="0 22 * * sat", duration_s=4 * 3600, zone="Europe/Madrid")
    job = upgrade(fleet, "n0", windows=(window,), start_at=fleet.at + 900)
    start, shut, waits = causes(fleet, job)[1:]
    assert (start.message, start.until, start.way_out) == ("it is to begin later", fleet.at + 900, "")
    assert shut.message == (
        "no change window is open yet; it may begin tasks from '0 22 * * sat' in Europe/Madrid for 4 h"
    )
    assert (shut.until, waits.message) == (None, "1 wait for that")
    fleet.passed_time(900)
    fleet.accept(ReviewJob, job=job, open_until=None, opens_at=fleet.at + 7200)
    (shut, _) = causes(fleet, job)[1:]
    assert (shut.until, shut.way_out) == (fleet.at + 7200, "")
    fleet.passed_time(7200)
    fleet.accept(ReviewJob, job=job, open_until=None, opens_at=None)
    assert told(fleet, job)[0].endswith(f"for 4 h -> hamgr job cancel {job}")
    assert told(fleet, job)[0].startswith("no change window will ever open again")


def test_a_moment_that_has_come_is_looked_at_before_anything_begins(fleet: Fleet) -> None:
    job = upgrade(fleet, "n0", "n1", progress_deadline_s=600)
    fleet.accept(ReviewJob, job=job)
    fleet.claim(job, "n0")
    fleet.passed_time(599)
    assert "nothing is in the way" in told(fleet, job)[1]
    fleet.passed_time(1)
    assert told(fleet, job)[1] == (
        "a moment of its windows, start or deadline has come, and the leader looks at that first "
        "-> hamgr status, if it stays so"
    )
    waiting = [cause.message for cause in why_node(fleet.state, fleet.node("n1"), fleet.at)]
    assert "the leader looks at that first" in waiting[-1]


def test_a_job_that_pauses_on_failure_names_who_failed_and_both_ways_on(fleet: Fleet) -> None:
    job = upgrade(fleet, max_failed=0, on_failure=OnFailure.PAUSE)
    lose(fleet, job, "n0", "disk full")
    hold, waits, failed = causes(fleet, job)[1:]
    assert "1 failed: n0" in hold.message
    assert hold.way_out == f"hamgr job resume {job} to go on, or hamgr job cancel {job}"
    assert waits.message == "5 wait for that"
    assert failed.message == "n0 failed: work.00.app.replace failed with exit status 1"
    assert (failed.output, failed.way_out) == ("disk full", f"hamgr job log {job} --node n0")


def test_a_job_that_stopped_says_so_and_what_came_from_it(fleet: Fleet) -> None:
    job = upgrade(fleet, max_failed=0, on_failure=OnFailure.REVERT)
    fleet.drive(job, "n0")
    lose(fleet, job, "n1")
    (back,) = fleet.state.running
    assert told(fleet, job) == [
        "it stopped early, for 1 failed: n1: nothing more was begun, and what had changed is brought back",
        f"n1 failed: work.00.app.replace failed with exit status 1 -> hamgr job log {job} --node n1",
        f"it can be tried again -> hamgr job retry {job}",
        "n2, n3, n4, n5 were skipped: the job stopped after 1 failed: n1",
        f"{back}, running, brings back what it changed",
    ]
    assert told(fleet, back)[-1] == f"it brings back what {job} changed"
    again = fleet.accept(RetryJob, job=job).ref
    assert told(fleet, again)[-1] == f"it does again what failed in {job}"
    assert told(fleet, job)[-1] == f"{again}, running, does again what failed"


def test_a_node_on_its_way_back_says_after_what(fleet: Fleet) -> None:
    job = upgrade(fleet, "n0")
    fleet.claim(job, "n0")
    for _ in range(4):
        fleet.fail(job, "n0")
        fleet.passed_time(120)
    assert (
        "(undo), attempt 1 of 4; it is on its way back after: work.00.app.replace failed with exit"
        in (told(fleet, job)[0])
    )


def test_a_cancelled_task_that_runs_says_that_it_is_being_stopped(fleet: Fleet) -> None:
    job = upgrade(fleet)
    fleet.claim(job, "n0")
    fleet.start(job, "n0")
    fleet.cancel(job)
    assert "; it is being stopped, for its job was cancelled" in told(fleet, job)[0]
    assert told(fleet, job)[1] == "n1, n2, n3, n4, n5 were cancelled"


def test_a_failed_node_that_cannot_be_tried_again_as_it_is_now_says_why(fleet: Fleet) -> None:
    job = upgrade(fleet, "n0")
    fleet.claim(job, "n0")
    fleet.start(job, "n0")
    fleet.finish(job, "n0", Ending.UNREACHABLE, error="no route to host")
    assert told(fleet, job)[-1] == "n0 cannot be tried again now: it is quarantined meanwhile -> hamgr why n0"
    assert told(fleet, job)[0].startswith("n0 failed: no route to host; whether work.00.app.replace finished")


def test_a_job_that_succeeded_has_nothing_to_add(fleet: Fleet) -> None:
    job = upgrade(fleet)
    fleet.drive(job)
    (only,) = causes(fleet, job)
    assert only.message == f"{job}, upgrade of 6 nodes, ended: succeeded: 6 succeeded"
    back = fleet.accept(RevertJob, job=job).ref
    assert told(fleet, job) == [f"{back}, running, brings back what it changed"]


def test_many_of_a_kind_are_counted_instead_of_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet()
    fleet.bundle(1, content())
    names = [f"n{i:03}" for i in range(30)]
    fleet.in_service(*names)
    job = fleet.submit(JobKind.VERIFY, *names, max_parallel=30)
    for name in names[:20]:
        fleet.claim(job, name)
    assert told(fleet, job)[LISTED_MAX:] == [
        "12 more are at work",
        "n020, n021, n022, n023, n024 and 5 more: nothing is in the way, and the leader has not begun yet "
        "-> hamgr status, if it stays so",
    ]
    monkeypatch.setattr(module, "LOOKED_AT_MAX", 4)
    assert told(fleet, job)[-1] == "6 more were not looked at"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (90, "90 s"),
        (300, "5 min"),
        (3600, "1 h"),
        (3660, "61 min"),
        (4 * 3600, "4 h"),
        (9000, "2 h 30 min"),
        (3 * 86400, "3 d"),
    ],
)
def test_durations_are_spelled_in_units_that_people_use(seconds: float, text: str) -> None:
    assert spell(seconds) == text
