"""Why a job is where it is: what holds it, what runs, what waits for what, what failed.

At most `LOOKED_AT_MAX` waiting tasks are looked at, so that an answer costs milliseconds on any fleet.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from statemachine.jobs import work
from statemachine.model import Job, State, Task
from statemachine.rollout import OnFailure
from statemachine.rollouts import blocking, gates, waves
from statemachine.rollouts.blocking import Counts
from statemachine.why.reasons import (
    LISTED_MAX,
    Cause,
    CauseKind,
    a,
    at_work,
    came_from,
    names,
    of_failure,
    of_hold,
)
from statemachine.words import JobId, JobKind, JobState, NodeName, TaskState

LOOKED_AT_MAX = 500
READY = "nothing is in the way, and the leader has not begun yet"
OVERDUE = "a moment of its windows, start or deadline has come, and the leader looks at that first"


def why_job(state: State, job: Job, now: float) -> list[Cause]:
    """Return why `job` is where it is, the most telling first.

    Args:
        now: Unix seconds.
    """
    return [
        _headline(job),
        *(of_hold(job, hold) for hold in job.holds),
        *_stopped(job),
        *(_underway(state, job, now) if job.state is JobState.RUNNING else ()),
        *_failed(job),
        *_again(state, job, now),
        *_untouched(job, TaskState.SKIPPED, CauseKind.SKIPPED),
        *_untouched(job, TaskState.CANCELLED, CauseKind.CANCELLED),
        *came_from(state, job.id),
    ]


def _headline(job: Job) -> Cause:
    counts = Counter(task.state for task in job.tasks.values())
    told = ", ".join(f"{counts[one]} {one}" for one in TaskState if counts[one]) or "nothing to do"
    size = f"{len(job.tasks)} {'address' if job.kind is JobKind.DISCOVER else 'node'}"
    size += "" if len(job.tasks) == 1 else "es" if job.kind is JobKind.DISCOVER else "s"
    lost = ""
    if job.max_failed is not None and job.state is JobState.RUNNING:
        lost = f"; {counts[TaskState.FAILED] - job.forgiven} of {job.max_failed} allowed failures"
    return Cause(
        kind=CauseKind.STATE,
        message=f"{job.id}, {job.kind} of {size}, "
        f"{'is running' if job.state is JobState.RUNNING else f'ended: {job.state}'}: {told}{lost}",
        since=job.submitted_at if job.state is JobState.RUNNING else job.ended_at,
    )


def _stopped(job: Job) -> Iterator[Cause]:
    if job.failing and job.rollout.on_failure is not OnFailure.PAUSE:
        back = ", and what had changed is brought back" if job.rollout.on_failure is OnFailure.REVERT else ""
        yield Cause(
            kind=CauseKind.STOPPED,
            message=f"it stopped early, for {job.failing}: nothing more was begun{back}",
        )


def _underway(state: State, job: Job, now: float) -> Iterator[Cause]:
    wave = waves.open_wave(job)
    if job.kind is JobKind.DISCOVER:
        if wave:
            yield Cause(
                kind=CauseKind.QUEUE,
                message=f"{len(wave)} have not answered yet; {job.max_parallel} are probed at once",
            )
        return
    yield from _running(state, job, [task for task in wave if task.state is TaskState.RUNNING], now)
    queued = [task for task in wave if task.state is TaskState.QUEUED]
    if job.holds or job.failing:
        waiting = sum(task.state is TaskState.QUEUED for task in job.tasks.values())
        if waiting:
            yield Cause(kind=CauseKind.QUEUE, message=f"{waiting} wait for that")
        return
    if queued and gates.overdue(job, now):
        yield Cause(kind=CauseKind.READY, message=OVERDUE, way_out="hamgr status, if it stays so")
    else:
        yield from _waiting(state, job, queued, now)
    queued = [task for task in job.tasks.values() if task.state is TaskState.QUEUED]
    if wave and (later := sum(task.wave > wave[0].wave for task in queued)):
        last = max(task.wave for task in job.tasks.values())
        yield Cause(
            kind=CauseKind.QUEUE,
            message=f"{later} wait for later waves; wave {wave[0].wave + 1} of {last + 1} has to end first",
        )


def _running(state: State, job: Job, tasks: list[Task], now: float) -> Iterator[Cause]:
    causes = [at_work(state, job, task, now) for task in tasks[:LOOKED_AT_MAX]]
    causes.sort(key=lambda cause: cause.since or now)
    yield from causes[:LISTED_MAX]
    if len(tasks) > LISTED_MAX:
        yield Cause(kind=CauseKind.RUNNING, message=f"{len(tasks) - LISTED_MAX} more are at work")


def _waiting(state: State, job: Job, tasks: list[Task], now: float) -> Iterator[Cause]:
    """Yield what the queued tasks of the open wave wait for, those that wait for the same together."""
    counts = Counts(state)
    locks: dict[JobId, tuple[str, list[NodeName]]] = {}
    needs: dict[str, list[NodeName]] = {}
    ready: list[NodeName] = []
    for task in tasks[:LOOKED_AT_MAX]:
        waits = blocking.waits_for(state, job, task, counts)
        for wait in waits:
            if wait.job:
                own = state.nodes[task.node].job == wait.job
                said = f"locked by {a(state.jobs[wait.job])}" if own else wait.message
                locks.setdefault(wait.job, (said, []))[1].append(task.node)
            else:
                needs.setdefault(wait.message, []).append(task.node)
        if not waits:
            ready.append(task.node)
    for other, (said, nodes) in islice(locks.items(), LISTED_MAX):
        yield _locked(state, state.jobs[other], said, nodes, now)
    for message, nodes in islice(needs.items(), LISTED_MAX):
        yield Cause(kind=CauseKind.REQUIREMENT, message=f"{names(nodes)}: waits, for {message}")
    yield from _ready(state, job, ready)
    if len(tasks) > LOOKED_AT_MAX:
        more = len(tasks) - LOOKED_AT_MAX
        yield Cause(kind=CauseKind.QUEUE, message=f"{more} more were not looked at")


def _locked(state: State, holder: Job, said: str, nodes: list[NodeName], now: float) -> Cause:
    task = holder.tasks.get(nodes[0])
    doing = at_work(state, holder, task, now) if task and task.state is TaskState.RUNNING else None
    there = f"; there {doing.message}" if doing is not None else ""
    return Cause(
        kind=CauseKind.LOCK,
        message=f"{names(nodes)}: {said}{there}",
        since=doing.since if doing is not None else None,
        way_out=f"hamgr why {holder.id}",
    )


def _ready(state: State, job: Job, nodes: list[NodeName]) -> Iterator[Cause]:
    """Yield what of these, for which nothing is in the way, goes to a job that is asked first."""
    left = dict.fromkeys(nodes)
    for other_id in work.by_priority(state):
        if other_id == job.id or not left:
            break
        other = state.jobs[other_id]
        first = [] if other.kind is JobKind.DISCOVER else [t.node for t in waves.startable(state, other)]
        taken = [name for name in first if name in left]
        if taken:
            yield Cause(
                kind=CauseKind.QUEUE,
                message=f"{names(taken)}: {a(other)}, goes first (priority {other.priority})",
                way_out=f"hamgr why {other_id}",
            )
        for name in taken:
            del left[name]
    if left:
        yield Cause(
            kind=CauseKind.READY,
            message=f"{names(list(left))}: {READY}",
            way_out="hamgr status, if it stays so",
        )


def _failed(job: Job) -> Iterator[Cause]:
    failed = [task for task in job.tasks.values() if task.state is TaskState.FAILED]
    yield from (of_failure(job, task) for task in failed[:LISTED_MAX])
    if len(failed) > LISTED_MAX:
        yield Cause(kind=CauseKind.FAILED, message=f"{len(failed) - LISTED_MAX} more failed")


def _again(state: State, job: Job, now: float) -> Iterator[Cause]:
    """Yield how many of the failed nodes of an ended job could be tried again as they are now."""
    if job.state is JobState.RUNNING or job.kind is JobKind.DISCOVER:
        return
    tasks = [task for task in job.tasks.values() if task.node in state.nodes]
    failed = [task for task in tasks if task.state is TaskState.FAILED]
    unfit = {task.node for task in failed if blocking.unfit(state, job, task, now)}
    if failed and not unfit:
        yield Cause(
            kind=CauseKind.FAILED,
            message=f"{'all' if len(failed) > 1 else 'it'} can be tried again",
            way_out=f"hamgr job retry {job.id}",
        )
    elif unfit:
        first = next(task for task in failed if task.node in unfit)
        yield Cause(
            kind=CauseKind.FAILED,
            message=f"{first.node} cannot be tried again now: {blocking.unfit(state, job, first, now)}",
            way_out=f"hamgr why {first.node}",
        )


def _untouched(job: Job, state: TaskState, kind: CauseKind) -> Iterator[Cause]:
    """Yield why tasks were not done, those with the same reason together."""
    groups: dict[str, list[NodeName]] = {}
    for task in job.tasks.values():
        if task.state is state:
            groups.setdefault(task.error, []).append(task.node)
    for error, nodes in islice(groups.items(), LISTED_MAX):
        why = f": {error}" if error else ""
        was = "was" if len(nodes) == 1 else "were"
        yield Cause(kind=kind, message=f"{names(nodes)} {was} {state}{why}")


def why_queued(state: State, job: Job, task: Task, counts: Counts, now: float) -> str:
    """Return in a few words what is in the way of a queued task; empty when nothing is."""
    if job.holds:
        return of_hold(job, job.holds[0]).message
    if gates.overdue(job, now):
        return OVERDUE
    wave = waves.open_wave(job)
    if wave and wave[0].wave != task.wave:
        return f"its wave, {task.wave + 1}, comes after wave {wave[0].wave + 1}"
    return "; ".join(wait.message for wait in blocking.waits_for(state, job, task, counts))
