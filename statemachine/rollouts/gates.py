"""What holds a job: its budget of failures, its canaries, its windows and deadlines, and its operators.

1. When one node more has failed than the job may lose, no further task begins: the running wave is all that
   can go beyond the budget. A canary that fails is always one too many.
2. A hold is set once for each reason and lifted by what it names: an operator, or the clock.
3. The clock comes in with `ReviewJob` alone; `review_due` says when the leader has to look. Where clocks are
   set or leaders' clocks differ, the newest look decides, and no job counts as stalled for that.
"""

from statemachine.commands import ReviewJob
from statemachine.copying import replace
from statemachine.draft import Draft
from statemachine.model import Job, Task
from statemachine.rollout import REASON_CHARS_MAX, Hold, HoldKind, OnFailure, Promotion, Window
from statemachine.words import TASK_ENDED, JobId, TaskState

LIFTED_BY_RESUME = frozenset({HoldKind.PAUSED, HoldKind.FAILURES, HoldKind.STALLED, HoldKind.REBORN})


def holds_at_first(windows: tuple[Window, ...], start_at: float, at: float) -> tuple[Hold, ...]:
    """Return what holds a job that was submitted at `at`; windows are looked at by the first review."""
    found = []
    if start_at > at:
        found.append(Hold(kind=HoldKind.SCHEDULED, since=at, reason="it is to begin later", until=start_at))
    if windows:
        found.append(Hold(kind=HoldKind.WINDOW, since=at, reason="no change window is open yet", until=at))
    return tuple(found)


def held(job: Job, kind: HoldKind) -> bool:
    return any(hold.kind is kind for hold in job.holds)


def frozen(job: Job, task: Task) -> bool:
    """Return whether not even a task that has begun may go on; one that was cancelled may, to its end."""
    return held(job, HoldKind.REBORN) and not task.cancel


def hold(draft: Draft, job_id: JobId, kind: HoldKind, reason: str, *, until: float | None = None) -> None:
    """Hold a job for one more reason; a hold of the same kind is replaced, and keeps its beginning."""
    job = draft.jobs[job_id]
    old = next((one for one in job.holds if one.kind is kind), None)
    new = Hold(
        kind=kind,
        since=old.since if old else draft.at,
        reason=reason[:REASON_CHARS_MAX],
        actor=draft.actor,
        until=until,
    )
    draft.put_job(replace(job, holds=(*(one for one in job.holds if one.kind is not kind), new)))
    if old is None:
        draft.event("job.held", job_id, f"{kind}: {reason}", job=job_id)


def lift(draft: Draft, job_id: JobId, *kinds: HoldKind) -> None:
    """End the holds of these kinds, as far as there are any; the progress deadline counts anew."""
    job = draft.jobs[job_id]
    rest = tuple(one for one in job.holds if one.kind not in kinds)
    if rest != job.holds:
        draft.put_job(replace(job, holds=rest, progressed_at=0.0))
        if not rest:
            draft.event("job.released", job_id, "it goes on", job=job_id)


def canaries(job: Job) -> list[Task]:
    """Return the tasks that go first and are judged alone."""
    return list(job.tasks.values())[: job.rollout.canary]


def judge(draft: Draft, job_id: JobId) -> None:
    """Draw the conclusions from how tasks ended: too many failures, or canaries that are done."""
    job = draft.jobs[job_id]
    if not job.failing and (why := over_budget(job)):
        fail(draft, job_id, HoldKind.FAILURES, why)
        job = draft.jobs[job_id]
    if job.rollout.canary and not job.promoted and not job.failing:
        _judge_canaries(draft, job)


def over_budget(job: Job) -> str:
    """Return why the job has to stop; empty while it is within its budget.

    It is asked whenever a task may have ended: a job that no failure stops has none of its tasks looked at.
    """
    if job.max_failed is None and (job.promoted or not job.rollout.canary):
        return ""
    failed = [task.node for task in job.tasks.values() if task.state is TaskState.FAILED]
    if len(failed) <= job.forgiven:
        return ""
    listed = ", ".join(failed[:5]) + (f" and {len(failed) - 5} more" if len(failed) > 5 else "")
    if job.max_failed is not None and len(failed) - job.forgiven > job.max_failed:
        return f"{len(failed)} failed: {listed}"
    if not job.promoted and (lost := [t.node for t in canaries(job) if t.state is TaskState.FAILED]):
        return f"canary {', '.join(lost)} failed"
    return ""


def fail(draft: Draft, job_id: JobId, kind: HoldKind, why: str) -> None:
    """Do what the strategy says when a job may not go on as it is."""
    job = draft.jobs[job_id]
    if not any(task.state is TaskState.QUEUED for task in job.tasks.values()) and (
        job.rollout.on_failure is not OnFailure.REVERT
    ):
        return  # nothing is left that could be held or skipped
    draft.put_job(replace(job, failing=why[:REASON_CHARS_MAX]))
    if job.rollout.on_failure is OnFailure.PAUSE:
        hold(draft, job_id, kind, why)


def _judge_canaries(draft: Draft, job: Job) -> None:
    first = canaries(job)
    if any(task.state not in TASK_ENDED for task in first):
        return
    well = any(task.state is TaskState.SUCCEEDED for task in first)
    if job.rollout.promotion is Promotion.AUTOMATIC and well:
        draft.put_job(replace(job, promoted=True))
        draft.event("job.promoted", job.id, f"{_counted(first)} well", job=job.id)
    elif not held(job, HoldKind.CANARY) and len(first) < len(job.tasks):
        says = "done, waiting for promotion" if well else "through, and not one of them is well"
        hold(draft, job.id, HoldKind.CANARY, f"{_counted(first)} {says}")


def _counted(first: list[Task]) -> str:
    return "the canary is" if len(first) == 1 else f"{len(first)} canaries are"


def review_due(job: Job) -> float | None:
    """Return when the leader has to look at the clock for a live job; None when there is nothing to see."""
    if job.failing and job.rollout.on_failure is not OnFailure.PAUSE:
        return None  # nothing further begins, whatever the clock says
    moments = [one.until for one in job.holds if one.until is not None]
    if job.rollout.windows and not held(job, HoldKind.WINDOW):
        moments.append(job.window_until)
    if job.rollout.progress_deadline_s and not job.holds:
        moments.append(job.progressed_at and job.progressed_at + job.rollout.progress_deadline_s)
    return min(moments, default=None)


def overdue(job: Job, at: float) -> bool:
    """Return whether the clock has decided something at `at` that no review has told the job yet."""
    due = review_due(job)
    return due is not None and due <= at


def worth_a_review(job: Job, command: ReviewJob) -> bool:
    """Return whether a leader's look at the clock decides anything: something is due, or its clock says so.

    A clock that was set, or another leader's, may contradict what the last look found.
    """
    if review_due(job) is None:
        return False
    if overdue(job, command.at) or _stalled(job, command):
        return True
    if not job.rollout.windows:
        return False
    shut = next((one for one in job.holds if one.kind is HoldKind.WINDOW), None)
    if shut is not None:
        return command.open_until is not None or shut.until != command.opens_at
    return command.open_until != job.window_until


def review(draft: Draft, command: ReviewJob) -> None:
    """Take the clock, which is `draft.at`, and the windows as the leader worked them out, into account."""
    job = draft.jobs[command.job]
    if held(job, HoldKind.SCHEDULED) and draft.at >= job.rollout.start_at:
        lift(draft, job.id, HoldKind.SCHEDULED)
    if job.rollout.windows:
        _review_windows(draft, job.id, open_until=command.open_until, opens_at=command.opens_at)
    if not draft.jobs[job.id].holds:
        _review_progress(draft, command)


def _stalled(job: Job, command: ReviewJob) -> bool:
    """Return whether nothing has ended for too long, by the leader's own count where it tells that."""
    deadline_s = job.rollout.progress_deadline_s
    if not deadline_s or not job.progressed_at or job.holds:
        return False
    if command.quiet_s is not None:
        return command.quiet_s >= deadline_s
    return command.at >= job.progressed_at + deadline_s


def _review_progress(draft: Draft, command: ReviewJob) -> None:
    """Fail a job in which nothing ends for too long; no stamp of another clock ever decides that alone.

    The clock of whoever submitted or resumed the job may be hours away from the leader's, and the leader's
    own may be set: then the job is stamped anew.
    """
    job = draft.jobs[command.job]
    if not job.rollout.progress_deadline_s:
        return
    stalled = _stalled(job, command)
    if stalled and not job.failing:
        why = f"no task ended within {job.rollout.progress_deadline_s:g} s"
        fail(draft, job.id, HoldKind.STALLED, why)
    if stalled or overdue(job, draft.at):
        quiet_s = 0.0 if stalled else command.quiet_s or 0.0
        draft.put_job(replace(draft.jobs[job.id], progressed_at=draft.at - quiet_s))


def _review_windows(draft: Draft, job_id: JobId, *, open_until: float | None, opens_at: float | None) -> None:
    if open_until is not None and draft.at < open_until:
        draft.put_job(replace(draft.jobs[job_id], window_until=open_until))
        lift(draft, job_id, HoldKind.WINDOW)
    else:
        draft.put_job(replace(draft.jobs[job_id], window_until=opens_at or 0.0))
        reason = "no change window is open" if opens_at else "no change window will ever open again"
        hold(draft, job_id, HoldKind.WINDOW, reason, until=opens_at)
