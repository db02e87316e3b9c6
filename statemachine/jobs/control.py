"""Rules for steering: pausing, resuming, promoting, retrying and reverting jobs, and the leader's reviews."""

from statemachine.commands import PauseJob, PromoteJob, ResumeJob, RetryJob, RevertJob, ReviewJob
from statemachine.copying import replace
from statemachine.draft import Draft
from statemachine.jobs import admission, submission
from statemachine.model import Job
from statemachine.outcomes import Accepted, Outcome, Reason, Rejected
from statemachine.rollout import HoldKind, OnFailure
from statemachine.rollouts import gates, reverts, waves
from statemachine.words import JobId, JobKind, JobState, TaskState


def obey(
    draft: Draft, command: PauseJob | ResumeJob | PromoteJob | RetryJob | RevertJob | ReviewJob
) -> Outcome:
    match command:
        case PauseJob():
            return pause_job(draft, command)
        case ResumeJob():
            return resume_job(draft, command)
        case PromoteJob():
            return promote_job(draft, command)
        case RetryJob():
            return retry_job(draft, command)
        case RevertJob():
            return revert_job(draft, command)
        case ReviewJob():
            return review_job(draft, command)


def _refused(job: Job, message: str, hint: str = "") -> Rejected:
    return Rejected(reason=Reason.WRONG_STATUS, message=message, offenders=(job.id,), hint=hint)


def _live(draft: Draft, job_id: JobId) -> Job | Rejected:
    job = draft.jobs.get(job_id)
    if job is None:
        return submission.no_such_job(job_id)
    if job.state is not JobState.RUNNING:
        return _refused(job, f"job {job.id} has ended already: {job.state}")
    return job


def _ended(draft: Draft, job_id: JobId) -> Job | Rejected:
    job = draft.jobs.get(job_id)
    if job is None:
        return submission.no_such_job(job_id)
    if job.state is JobState.RUNNING:
        hint = f"wait for its end, or cancel it: `hamgr job cancel {job.id}`"
        return _refused(job, f"job {job.id} is still running", hint)
    return job


def pause_job(draft: Draft, command: PauseJob) -> Outcome:
    job = _live(draft, command.job)
    if isinstance(job, Rejected):
        return job
    if gates.held(job, HoldKind.PAUSED):
        return _refused(job, f"job {job.id} is paused already", f"let it go on: `hamgr job resume {job.id}`")
    gates.hold(draft, job.id, HoldKind.PAUSED, command.reason or "an operator paused it")
    return Accepted(index=draft.index, ref=job.id)


def resume_job(draft: Draft, command: ResumeJob) -> Outcome:
    job = _live(draft, command.job)
    if isinstance(job, Rejected):
        return job
    if not any(hold.kind in gates.LIFTED_BY_RESUME for hold in job.holds):
        others = ", ".join(hold.kind for hold in job.holds) or "nothing"
        hint = f"promote its canaries: `hamgr job promote {job.id}`" if "canary" in others else ""
        return _refused(job, f"job {job.id} is not paused; what holds it is: {others}", hint)
    if job.failing and job.rollout.on_failure is OnFailure.PAUSE:
        failed = sum(task.state is TaskState.FAILED for task in job.tasks.values())
        draft.put_job(replace(job, forgiven=failed, failing=""))
    gates.lift(draft, job.id, *gates.LIFTED_BY_RESUME)
    draft.event("job.resumed", job.id, command.reason or "an operator let it go on", job=job.id)
    waves.settle(draft, job.id)
    return Accepted(index=draft.index, ref=job.id)


def promote_job(draft: Draft, command: PromoteJob) -> Outcome:
    job = _live(draft, command.job)
    if isinstance(job, Rejected):
        return job
    if not gates.held(job, HoldKind.CANARY):
        state = "are promoted already" if job.promoted else "are not done yet"
        says = f"its canaries {state}" if job.rollout.canary else "it has no canaries"
        return _refused(job, f"job {job.id} does not wait for a promotion: {says}")
    draft.put_job(replace(job, promoted=True))
    draft.event("job.promoted", job.id, command.reason or "an operator promoted the canaries", job=job.id)
    gates.lift(draft, job.id, HoldKind.CANARY)
    waves.settle(draft, job.id)
    return Accepted(index=draft.index, ref=job.id)


def retry_job(draft: Draft, command: RetryJob) -> Outcome:
    job = _ended(draft, command.job)
    if isinstance(job, Rejected):
        return job
    if job.kind is JobKind.DISCOVER:
        return _refused(job, f"job {job.id} discovers; run `hamgr discover` again instead")
    if job.kind is JobKind.REPLACE:
        again_by = f"ask for it anew: `hamgr node replace {job.replaces} {next(iter(job.tasks))}`"
        return _refused(job, f"job {job.id} replaces a node", again_by)
    again = reverts.retry_of(draft, job, unfinished=command.unfinished, reason=command.reason)
    if isinstance(again, str):
        return _refused(job, again)
    return _taken_up(draft, again)


def revert_job(draft: Draft, command: RevertJob) -> Outcome:
    job = _ended(draft, command.job)
    if isinstance(job, Rejected):
        return job
    back = reverts.revert_of(draft, job, reason=command.reason or f"reverts {job.id}")
    return _refused(job, back) if isinstance(back, str) else _taken_up(draft, back)


def _taken_up(draft: Draft, job: Job) -> Outcome:
    refusal = admission.bad_numbers(draft, 0, None, 0) or admission.still_possible(draft, job)
    return refusal or waves.take_up(draft, job)


def review_job(draft: Draft, command: ReviewJob) -> Outcome:
    job = _live(draft, command.job)
    if isinstance(job, Rejected):
        return job
    if not gates.worth_a_review(job, command):
        return Rejected(
            reason=Reason.STALE_CLAIM,
            message=f"there is nothing about job {job.id} that the clock decides now",
            offenders=(job.id,),
        )
    gates.review(draft, command)
    waves.settle(draft, job.id)
    return Accepted(index=draft.index, ref=job.id)
