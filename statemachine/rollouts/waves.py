"""How a job walks its nodes: in which waves, which task may begin now, and when the job ends.

1. Tasks of a wave begin only when every task of the waves before it has ended.
2. A job that is held begins nothing; one that may lose no more nodes begins nothing ever again.
3. A moment of the clock that has come, and that nobody has looked at, lets nothing begin.
4. A task that can never begin is skipped with the reason, so that every job ends.
"""

from collections.abc import Iterator

from statemachine.copying import replace
from statemachine.draft import Draft
from statemachine.model import ERROR_CHARS_MAX, Job, Node, State, Task
from statemachine.nodes import takeover
from statemachine.outcomes import Accepted
from statemachine.rollout import OnFailure
from statemachine.rollouts import blocking, debts, gates, reverts
from statemachine.rollouts.blocking import Counts
from statemachine.words import TASK_ENDED, JobId, JobKind, JobState, TaskState


def open_wave(job: Job) -> list[Task]:
    """Return the unfinished tasks of the first wave that has any; empty when the job's work is over."""
    found: list[Task] = []
    for task in job.tasks.values():
        if task.state in TASK_ENDED:
            continue
        if found and task.wave != found[0].wave:
            break
        found.append(task)
    return found


def may_begin(state: State, job: Job, task: Task, at: float) -> bool:
    """Return whether a queued task may be claimed at `at`."""
    wave = open_wave(job)
    return (
        not job.holds
        and not gates.overdue(job, at)
        and not job.failing
        and wave[0].wave == task.wave
        and not blocking.waits_for(state, job, task, Counts(state))
    )


def startable(state: State, job: Job) -> Iterator[Task]:
    """Yield the queued tasks that may begin now."""
    if job.holds or job.failing:
        return
    counts = Counts(state)
    for task in open_wave(job):
        if task.state is TaskState.QUEUED and not blocking.waits_for(state, job, task, counts):
            yield task


def take_up(draft: Draft, job: Job) -> Accepted:
    """Add a new job to those that run."""
    if job.revert_of:
        debts.void(draft, job.revert_of, f"{job.revert_of} is reverted")
    draft.put_job(job)
    draft.running = (*draft.running, job.id)
    draft.event("job.submitted", job.id, f"{job.kind} of {len(job.tasks)}", job=job.id)
    settle(draft, job.id)
    return Accepted(index=draft.index, ref=job.id)


def settle(draft: Draft, job_id: JobId) -> None:
    """Skip what can never begin, and end the job when nothing is left; call it when a task may have ended."""
    while True:
        job = draft.jobs[job_id]
        if job.state is not JobState.RUNNING:
            return
        gates.judge(draft, job_id)
        job = draft.jobs[job_id]
        wave = open_wave(job)
        if not wave:
            _end(draft, job)
            return
        skipped = _stopped(job)
        owes = job.owes and not skipped
        if not skipped and job.kind is not JobKind.DISCOVER:
            skipped = _unfit(draft, job, wave) or _hopeless(draft, job, wave)
        if not skipped:
            return
        for task, reason in skipped:
            if owes and (node := draft.nodes.get(task.node)) and debts.is_offline(node):
                debts.owe(draft, node.name, job)
            end_task(draft, job_id, task, TaskState.SKIPPED, reason)


def end_task(draft: Draft, job_id: JobId, task: Task, state: TaskState, error: str = "") -> None:
    """End a task and free its node; the caller settles the job afterwards."""
    error = error[:ERROR_CHARS_MAX]
    ended = replace(task, state=state, error=error, ended_at=draft.at, launched_at=None, notified=())
    job = draft.put_task(job_id, ended)
    if job.rollout.progress_deadline_s:
        draft.put_job(replace(job, progressed_at=draft.at))
    node = draft.nodes.get(task.node)
    if node is not None and (node.job == job_id or debts.pays(node, job_id)):
        draft.put_node(replace(debts.ended(node, job_id, state, error), job=_freed(node, job_id)))
    draft.event("task.ended", task.node, f"{state}{': ' + error if error else ''}", job=job_id)


def _freed(node: Node, job_id: JobId) -> JobId:
    """Return the lock of `node` without that of `job_id`."""
    return JobId("") if node.job == job_id else node.job


def _stopped(job: Job) -> list[tuple[Task, str]]:
    """Return all that has not begun, when the job stopped early."""
    if not job.failing or job.rollout.on_failure is OnFailure.PAUSE:
        return []
    reason = f"the job stopped after {job.failing}"
    return [(task, reason) for task in job.tasks.values() if task.state is TaskState.QUEUED]


def _unfit(draft: Draft, job: Job, wave: list[Task]) -> list[tuple[Task, str]]:
    state = draft.view
    reasons = [
        (task, blocking.unfit(state, job, task, draft.at)) for task in wave if task.state is TaskState.QUEUED
    ]
    return [(task, reason) for task, reason in reasons if reason]


def _hopeless(draft: Draft, job: Job, wave: list[Task]) -> list[tuple[Task, str]]:
    """Return the tasks of the wave, when all of them wait and nothing is at work that they could wait for."""
    if any(task.state is not TaskState.QUEUED for task in wave):
        return []
    state = draft.view
    counts = Counts(state)
    reasons = [(task, blocking.waits_for(state, job, task, counts)) for task in wave]
    if not all(waits and not any(wait.job for wait in waits) for _, waits in reasons):
        return []
    if blocking.helped_by_others(state, job):
        return []
    return [(task, "; ".join(wait.message for wait in waits)) for task, waits in reasons]


def _end(draft: Draft, job: Job) -> None:
    states = [task.state for task in job.tasks.values()]
    good = states.count(TaskState.SUCCEEDED)
    if TaskState.CANCELLED in states:
        result = JobState.CANCELLED
    elif good == len(states):
        result = JobState.SUCCEEDED
    else:
        result = JobState.PARTLY if good else JobState.FAILED
    bad = [f"{task.node}: {task.error}" for task in job.tasks.values() if task.error]
    error = "; ".join(bad[:3]) + (f"; and {len(bad) - 3} more" if len(bad) > 3 else "")
    if job.replaces and takeover.take_over(draft, job) and TaskState.SKIPPED in states:
        result = JobState.SUCCEEDED  # what was asked for is so; nobody could reach the old machine
    draft.end_job(replace(job, state=result, ended_at=draft.at, error=error, holds=()))
    if job.owes and (job.failing or gates.over_budget(job) or result is JobState.CANCELLED):
        debts.void(draft, job.id, f"{job.id} went no further")
    cancelled = any(task.cancel or task.state is TaskState.CANCELLED for task in job.tasks.values())
    if job.failing and job.rollout.on_failure is OnFailure.REVERT and not cancelled:
        back = reverts.revert_of(draft, job, reason=f"reverts {job.id} after {job.failing}")
        if isinstance(back, str):
            draft.event("job.reverted", job.id, back, job=job.id)
        else:
            draft.event("job.reverted", job.id, f"{back.id} brings {len(back.tasks)} back", job=job.id)
            take_up(draft, back)
