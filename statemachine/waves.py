"""How a job walks its nodes: which task may begin now, and when the job stops or ends.

1. Tasks of a wave begin only when every task of the waves before it has ended.
2. When a wave has ended with more failures than `max_failed`, what has not begun is skipped.
3. A task waits for what its role requires; when nothing in the wave can bring that about, it is skipped
   with the reason, so that every job ends.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

from statemachine import inventory, requirements
from statemachine.draft import Draft
from statemachine.model import ERROR_CHARS_MAX, Job, State, Task
from statemachine.plans import role_of
from statemachine.requirements import Census
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


def waits_for(state: State, job: Job, task: Task, present: Callable[[], Census]) -> list[str]:
    """Return what a queued task of the open wave waits for; empty when it may begin.

    Args:
        present: Counts the nodes in service; asked only where a role requires something.
    """
    node = state.nodes.get(task.node)
    if node is None:
        return []
    if job.kind is JobKind.COMMISSION and requirements.needs(state, role_of(job, node), job.bundle):
        return requirements.waits_to_enter(state, present(), role_of(job, node), job.bundle)
    if job.kind is JobKind.DECOMMISSION and requirements.is_needed(state, node):
        return requirements.waits_to_leave(state, present(), node)
    return []


def may_begin(state: State, job: Job, task: Task) -> bool:
    """Return whether a queued task may be claimed now."""
    wave = open_wave(job)
    return wave[0].wave == task.wave and not waits_for(state, job, task, lambda: requirements.census(state))


def startable(state: State, job: Job) -> Iterator[Task]:
    """Yield the queued tasks that may begin now."""
    present = cache(lambda: requirements.census(state))
    for task in open_wave(job):
        if task.state is TaskState.QUEUED and not waits_for(state, job, task, present):
            yield task


def settle(draft: Draft, job_id: JobId) -> None:
    """Skip what can never begin, and end the job when nothing is left; call it when a task may have ended."""
    while True:
        job = draft.jobs[job_id]
        wave = open_wave(job)
        if not wave:
            _end(draft, job)
            return
        if job.kind is JobKind.DISCOVER:
            return
        skipped = _stopped(job, wave) or _cordoned(draft, wave) or _hopeless(draft, job, wave)
        if not skipped:
            return
        for task, reason in skipped:
            end_task(draft, job_id, task, TaskState.SKIPPED, reason)


def end_task(draft: Draft, job_id: JobId, task: Task, state: TaskState, error: str = "") -> None:
    """End a task and free its node; the caller settles the job afterwards."""
    error = error[:ERROR_CHARS_MAX]
    draft.put_task(job_id, replace(task, state=state, error=error, ended_at=draft.at, launched_at=None))
    node = draft.nodes.get(task.node)
    if node is not None and node.job == job_id:
        draft.put_node(replace(node, job=JobId("")))
    draft.event("task.ended", task.node, f"{state}{': ' + error if error else ''}", job=job_id)


def _stopped(job: Job, wave: list[Task]) -> list[tuple[Task, str]]:
    """Return all that has not begun, when the waves before had too many failures."""
    if job.max_failed is None:
        return []
    begun = any(
        task.wave == wave[0].wave and task.state is not TaskState.QUEUED for task in job.tasks.values()
    )
    failed = [task.node for task in job.tasks.values() if task.state is TaskState.FAILED]
    if begun or len(failed) <= job.max_failed:
        return []
    reason = f"the job stopped after {len(failed)} failed: {', '.join(failed[:5])}"
    return [(task, reason) for task in job.tasks.values() if task.state is TaskState.QUEUED]


def _cordoned(draft: Draft, wave: list[Task]) -> list[tuple[Task, str]]:
    found = []
    for task in wave:
        node = draft.nodes.get(task.node)
        if task.state is TaskState.QUEUED and node is not None and inventory.in_maintenance(node, draft.at):
            reason = node.maintenance.reason if node.maintenance else ""
            found.append((task, f"in maintenance: {reason}"))
    return found


def _hopeless(draft: Draft, job: Job, wave: list[Task]) -> list[tuple[Task, str]]:
    """Return the tasks of the wave, when all of them wait and nothing is at work that they could wait for."""
    if any(task.state is not TaskState.QUEUED for task in wave):
        return []
    state = draft.view
    present = cache(lambda: requirements.census(state))
    reasons = [(task, waits_for(state, job, task, present)) for task in wave]
    if not all(reason for _, reason in reasons):
        return []
    return [(task, "; ".join(reason)) for task, reason in reasons]


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
    draft.end_job(replace(job, state=result, ended_at=draft.at, error=error))
