"""Claims and attempts: one holder, every attempt once, a finished step never again."""

import pytest

from statemachine.commands import ClaimTask, Command, FinishAttempt, StartAttempt
from statemachine.discovery_commands import ReportSighting, ReportSilence, Sighting
from statemachine.jobs.tasks import LOST_MAX, RETRIES_MAX, RETRY_DELAY_S_MAX
from statemachine.manifest import Manifest, StepSpec
from statemachine.model import OUTPUT_TAIL_BYTES_MAX, RESULTS_MAX, Endpoint, Result
from statemachine.outcomes import Accepted, Reason
from statemachine.words import Ending, JobKind, Status, StepClass, TaskState
from tests.statemachine.fleet import Fleet, component, manifest

N = "n1"


def one_step(**fields: object) -> Manifest:
    """Return a bundle whose commission is one step of the kind given."""
    spec = StepSpec(name="do", **fields)  # type: ignore[arg-type]  # a keyword of each test
    verify = (StepSpec(name="answers", check=True),)
    cleanup = (StepSpec(name="remove", retries=1),)
    return manifest(component("app", commission=(spec,), verify=verify, cleanup=cleanup))


def begun(content: Manifest) -> tuple[Fleet, str]:
    """Return a cluster with a claimed commission of one node."""
    fleet = Fleet()
    fleet.bundle(1, content)
    fleet.discovered(N)
    job = fleet.submit(JobKind.COMMISSION, N, role="web")
    fleet.claim(job, N)
    return fleet, job


def report(make: type[Command], job: str, *, epoch: int, step: str, attempt: int) -> dict[str, object]:
    if make is StartAttempt:
        return {"job": job, "node": N, "epoch": epoch, "step": step, "attempt": attempt}
    result = Result(step=step, attempt=attempt, ending=Ending.EXITED, exit_code=0)
    return {"job": job, "node": N, "epoch": epoch, "result": result}


STEP = "work.00.app.do"


@pytest.mark.parametrize("make", [StartAttempt, FinishAttempt])
@pytest.mark.parametrize(
    ("epoch", "step", "attempt"),
    [
        (1, STEP, 1),
        (3, STEP, 1),
        (2, "work.01.app.do", 1),
        (2, f"{STEP}.check", 1),
        (2, STEP, 0),
        (2, STEP, 2),
    ],
)
def test_a_report_that_is_not_owed_is_refused_and_nothing_happens(
    make: type[Command], epoch: int, step: str, attempt: int
) -> None:
    fleet, job = begun(one_step())
    fleet.claim(job, N)
    fleet.refuse(Reason.STALE_CLAIM, make, **report(make, job, epoch=epoch, step=step, attempt=attempt))


@pytest.mark.parametrize("make", [StartAttempt, FinishAttempt])
def test_a_task_that_nobody_has_claimed_takes_no_steps(make: type[Command]) -> None:
    fleet = Fleet()
    fleet.bundle(1, one_step())
    fleet.discovered(N)
    job = fleet.submit(JobKind.COMMISSION, N, role="web")
    fleet.refuse(Reason.STALE_CLAIM, make, **report(make, job, epoch=0, step=STEP, attempt=1))


@pytest.mark.parametrize("make", [StartAttempt, FinishAttempt, ClaimTask])
def test_a_task_that_has_ended_takes_nothing_more(make: type[Command]) -> None:
    fleet, job = begun(one_step())
    fleet.drive(job)
    fields = report(make, job, epoch=1, step=STEP, attempt=1)
    if make is ClaimTask:
        fields = {"job": job, "node": N, "claimant": "late"}
    fleet.refuse(Reason.STALE_CLAIM, make, **fields)


def test_what_a_probe_saw_does_not_end_a_task_that_works_on_a_node() -> None:
    fleet, job = begun(one_step())
    seen = Sighting(endpoint=Endpoint(address="x"), name="x", machine_id="x", host_key="x", epoch=0)
    fleet.refuse(Reason.INVALID, ReportSighting, job=job, task=N, sighting=seen)
    fleet.refuse(Reason.INVALID, ReportSilence, job=job, task=N, error="", silent=True)


def test_every_claim_raises_the_epoch_and_keeps_what_was_done() -> None:
    fleet, job = begun(one_step())
    assert fleet.task(job, N).epoch == 1
    fleet.start(job, N)
    launched = fleet.task(job, N).launched_at
    fleet.passed_time(5.0)
    assert fleet.claim(job, N) == 2
    task = fleet.task(job, N)
    assert (task.epoch, task.launched_at, fleet.node(N).epoch) == (2, launched, 2)
    assert fleet.owed(job, N) == f"{STEP}/1"
    fleet.finish(job, N)
    assert fleet.owed(job, N) == "verify.00.app.answers/1"


def test_a_claim_starts_above_what_the_node_has_seen_elsewhere() -> None:
    fleet, job = begun(one_step())
    fleet.sight(N, epoch=40)
    assert fleet.claim(job, N) == 41


def test_announcing_an_attempt_twice_is_the_same_as_once() -> None:
    fleet, job = begun(one_step())
    fleet.start(job, N)
    launched = fleet.task(job, N).launched_at
    fleet.passed_time(9.0)
    fleet.start(job, N)
    assert fleet.task(job, N).launched_at == launched


@pytest.mark.parametrize("ending", [Ending.EXITED, Ending.LOST, Ending.TIMED_OUT])
def test_the_end_of_an_attempt_that_was_never_announced_is_refused(ending: Ending) -> None:
    fleet, job = begun(one_step())
    result = Result(step=STEP, attempt=1, ending=ending, exit_code=0 if ending is Ending.EXITED else None)
    fleet.refuse(Reason.STALE_CLAIM, FinishAttempt, job=job, node=N, epoch=1, result=result)


def test_a_result_is_recorded_once_with_the_time_of_its_launch_and_a_bounded_tail() -> None:
    fleet, job = begun(one_step())
    fleet.start(job, N)
    started = fleet.at
    fleet.passed_time(3.0)
    fleet.finish(job, N, changed=True, output_tail="é" * 5_000, error="e" * 5_000)
    (result,) = fleet.task(job, N).results
    assert (result.started_at, result.ended_at, result.changed) == (started, started + 3.0, True)
    assert len(result.output_tail.encode()) == OUTPUT_TAIL_BYTES_MAX


def test_a_failed_step_is_tried_again_with_a_growing_delay() -> None:
    fleet, job = begun(one_step(retries=3, retry_delay_s=20.0))
    waits = []
    for attempt in (1, 2, 3):
        assert fleet.owed(job, N) == f"{STEP}/{attempt}"
        fleet.fail(job, N)
        waits.append(fleet.task(job, N).not_before - fleet.at)
    assert waits == [20.0, 40.0, RETRY_DELAY_S_MAX]
    fleet.fail(job, N)
    assert fleet.owed(job, N) == "undo.00.app.remove/1"
    assert fleet.task(job, N).not_before == 0.0


def test_a_step_that_passes_at_last_is_over() -> None:
    fleet, job = begun(one_step(retries=1))
    fleet.step(job, N, Ending.TIMED_OUT)
    fleet.step(job, N)
    assert fleet.owed(job, N) == "verify.00.app.answers/1"


def test_the_step_after_one_that_needed_several_attempts_begins_with_its_first() -> None:
    steps = (StepSpec(name="one", retries=1), StepSpec(name="two"))
    fleet, job = begun(manifest(component("app", commission=steps, verify=(StepSpec(name="v", check=True),))))
    fleet.fail(job, N)
    assert fleet.owed(job, N) == "work.00.app.one/2"
    fleet.step(job, N)
    assert fleet.owed(job, N) == "work.01.app.two/1"


def test_even_a_step_with_endless_retries_ends() -> None:
    fleet, job = begun(one_step(retries=10_000))
    tries = 0
    while fleet.owed(job, N).startswith(STEP):
        fleet.fail(job, N)
        tries += 1
        assert tries <= RESULTS_MAX
    assert tries == RETRIES_MAX + 1


def test_a_lost_idempotent_step_is_launched_again_a_few_times() -> None:
    fleet, job = begun(one_step())
    for attempt in range(1, LOST_MAX + 2):
        assert fleet.owed(job, N) == f"{STEP}/{attempt}"
        fleet.step(job, N, Ending.LOST)
    assert fleet.owed(job, N) == "undo.00.app.remove/1"
    assert "was lost 4 times" in fleet.task(job, N).failure


def test_a_lost_once_step_stops_for_the_operator() -> None:
    fleet, job = begun(one_step(step_class=StepClass.ONCE, retries=5))
    fleet.step(job, N, Ending.LOST)
    assert fleet.node(N).status is Status.QUARANTINED
    assert "an operator must look" in fleet.node(N).error
    assert fleet.task(job, N).state is TaskState.FAILED


def test_a_lost_checkable_step_is_checked_first_and_done_when_the_check_passes() -> None:
    fleet, job = begun(one_step(step_class=StepClass.CHECKABLE))
    fleet.step(job, N, Ending.LOST)
    assert fleet.owed(job, N) == f"{STEP}.check/1"
    assert fleet.step_due(job, N).checking
    fleet.step(job, N)
    assert fleet.owed(job, N) == "verify.00.app.answers/1"


def test_a_lost_checkable_step_is_launched_again_when_its_check_fails() -> None:
    fleet, job = begun(one_step(step_class=StepClass.CHECKABLE))
    fleet.step(job, N, Ending.LOST)
    fleet.fail(job, N)
    assert fleet.owed(job, N) == f"{STEP}/2"
    assert not fleet.step_due(job, N).checking


def test_a_lost_check_is_made_again_before_the_step_is_and_not_for_ever() -> None:
    fleet, job = begun(one_step(step_class=StepClass.CHECKABLE))
    fleet.step(job, N, Ending.LOST)
    fleet.step(job, N, Ending.LOST)
    assert fleet.owed(job, N) == f"{STEP}.check/2"
    fleet.step(job, N, Ending.LOST)
    fleet.step(job, N, Ending.LOST)
    assert fleet.owed(job, N) == "undo.00.app.remove/1"


def test_a_lost_read_only_step_is_repeated_whatever_its_class_says() -> None:
    fleet, job = begun(one_step(step_class=StepClass.ONCE, check=True))
    fleet.step(job, N, Ending.LOST)
    assert fleet.owed(job, N) == f"{STEP}/2"


def test_a_cancelled_job_stops_its_work_and_is_undone() -> None:
    fleet, job = begun(one_step(retries=5))
    fleet.start(job, N)
    assert not fleet.step_due(job, N).stop
    fleet.cancel(job)
    assert fleet.step_due(job, N).stop
    fleet.finish(job, N, Ending.CANCELLED)
    assert fleet.owed(job, N) == "undo.00.app.remove/1"
    assert not fleet.step_due(job, N).stop, "the undo is not cancelled"
    fleet.drive(job)
    assert fleet.task(job, N).state is TaskState.CANCELLED
    assert fleet.node(N).status is Status.DISCOVERED


def test_a_cancelled_job_tries_nothing_again_but_its_undo() -> None:
    fleet, job = begun(one_step(retries=5))
    fleet.start(job, N)
    fleet.cancel(job)
    fleet.finish(job, N, exit_code=1)
    assert fleet.owed(job, N) == "undo.00.app.remove/1"
    fleet.fail(job, N)
    assert fleet.owed(job, N) == "undo.00.app.remove/2"
    fleet.step(job, N)
    assert fleet.node(N).status is Status.DISCOVERED


def test_a_job_that_is_cancelled_before_it_touched_the_node_gives_it_back() -> None:
    fleet, job = begun(one_step())
    fleet.cancel(job)
    fleet.finish(job, N, Ending.CANCELLED)
    assert fleet.node(N).status is Status.DISCOVERED
    assert fleet.task(job, N).state is TaskState.CANCELLED


def test_a_job_that_is_cancelled_while_it_proves_is_undone() -> None:
    fleet, job = begun(one_step())
    fleet.step(job, N)
    fleet.cancel(job)
    assert fleet.step_due(job, N).stop
    fleet.finish(job, N, Ending.CANCELLED)
    assert fleet.owed(job, N) == "undo.00.app.remove/1"


def test_a_job_that_is_cancelled_too_late_has_succeeded() -> None:
    fleet, job = begun(one_step())
    fleet.step(job, N)
    fleet.start(job, N)
    fleet.cancel(job)
    fleet.finish(job, N)
    assert fleet.task(job, N).state is TaskState.SUCCEEDED
    assert fleet.node(N).status is Status.COMMISSIONED


def test_a_job_that_is_cancelled_during_the_undo_goes_on_with_it() -> None:
    fleet, job = begun(one_step())
    fleet.fail(job, N)
    fleet.cancel(job)
    fleet.step(job, N)
    assert fleet.node(N).status is Status.DISCOVERED
    assert fleet.task(job, N).state is TaskState.CANCELLED


def test_a_claim_answers_the_epoch_to_a_repeat_of_the_same_request_too() -> None:
    fleet, job = begun(one_step())
    command = ClaimTask(request_id="again", at=fleet.at, actor="r", job=job, node=N, claimant="r")
    first, second = fleet.apply(command), fleet.apply(command)
    assert isinstance(first, Accepted)
    assert first == second
    assert fleet.node(N).epoch == first.epoch == 2
