"""What the leader owes now: a pure function of the state (STYLE 5).

1. A leader that took over a second ago gets the same answer as the one that died; recovery is this loop, run
   by somebody else.
2. Of two jobs that want a node, the one of the higher priority gets it, then the older one.
3. A running job for which nothing is due waits for an operator (its holds say so) or for another job's lock.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

from statemachine import phases
from statemachine.model import Endpoint, State
from statemachine.phases import PlannedStep
from statemachine.rollouts import gates, waves
from statemachine.words import TASK_ENDED, JobId, JobKind, NodeName, Phase, TaskState


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeDue:
    """An address of a discover job that nobody has reported on."""

    job: JobId
    task: NodeName
    endpoint: Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDue:
    """A task that is to be claimed, or goes on under a claim.

    Attributes:
        epoch: Of the last claim; 0 before the first.
    """

    job: JobId
    node: NodeName
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewDue:
    """A job for which the clock decides something at `at`, in Unix seconds."""

    job: JobId
    at: float


Due: TypeAlias = ProbeDue | TaskDue | ReviewDue


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDue:
    """The attempt that a claimed task owes.

    Attributes:
        key: The attempt's name on the node and in its result.
        checking: It is the check of a lost attempt, not the step itself.
        launched_at: When it was announced; None when nobody may have launched it.
        not_before: Launch no earlier than this, in Unix seconds.
        stop: An operator cancelled the job: kill it if it runs, and record that.
        deadline_at: When the task's time is over, in Unix seconds; it is killed then, whatever it may take.
    """

    step: PlannedStep
    key: str
    attempt: int
    checking: bool
    launched_at: float | None
    not_before: float
    stop: bool
    deadline_at: float | None = None


def pending(state: State) -> tuple[Due, ...]:
    """Return what can be done now, in the order of the jobs and of their waves."""
    return tuple(_pending(state))


def _pending(state: State) -> Iterator[Due]:
    wanted: set[NodeName] = set()
    for job_id in by_priority(state):
        job = state.jobs[job_id]
        if (at := gates.review_due(job)) is not None:
            yield ReviewDue(job=job_id, at=at)
        if job.kind is JobKind.DISCOVER:
            open_tasks = (name for name, task in job.tasks.items() if task.state not in TASK_ENDED)
            for name in islice(open_tasks, job.max_parallel):
                yield ProbeDue(job=job_id, task=name, endpoint=job.endpoints[name])
            continue
        for task in waves.open_wave(job):
            if task.state is TaskState.RUNNING and not gates.frozen(job, task):
                yield TaskDue(job=job_id, node=task.node, epoch=task.epoch)
        for task in waves.startable(state, job):
            if task.node not in wanted:
                wanted.add(task.node)
                yield TaskDue(job=job_id, node=task.node, epoch=task.epoch)


def by_priority(state: State) -> list[JobId]:
    """Return the running jobs in the order in which they get nodes."""
    return sorted(state.running, key=lambda job_id: -state.jobs[job_id].priority)


def step_due(state: State, job_id: JobId, name: NodeName, epoch: int) -> StepDue | None:
    """Return the attempt that a task owes under the claim `epoch`; None when it ended or is claimed anew."""
    job = state.jobs.get(job_id)
    task = job.tasks.get(name) if job else None
    if job is None or task is None or task.state is not TaskState.RUNNING or task.epoch != epoch:
        return None
    step = phases.owed_step(state, job, task)
    if step is None:
        return None
    undoing = task.phase in (Phase.UNDO, Phase.REVERIFY)
    return StepDue(
        step=step,
        key=phases.result_key(step, task),
        attempt=task.attempt,
        checking=task.checking,
        launched_at=task.launched_at,
        not_before=task.not_before,
        stop=task.cancel and not undoing,
        deadline_at=task.started_at + job.task_deadline_s if job.task_deadline_s and not undoing else None,
    )
