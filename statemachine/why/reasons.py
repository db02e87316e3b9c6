"""Why: the words in which it is told what a job or a node waits for, from what the log has recorded.

1. Nothing is guessed: every sentence repeats what some command recorded, or counts it.
2. A cause that an operator can end names the command that ends it.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from statemachine.jobs import work
from statemachine.jobs.tasks import RETRIES_MAX, describe
from statemachine.jobs.work import StepDue
from statemachine.model import Job, Result, State, Task
from statemachine.rollout import Hold, HoldKind, Window
from statemachine.words import JobId, NodeName, Phase, TaskState

LISTED_MAX = 8
"""How many of a kind are told one by one; of the others it is told how many there are."""
NAMES_MAX = 5


class CauseKind(StrEnum):
    """What a cause is about; for programs."""

    STATE = "state"
    """Where it stands; always the first."""
    HOLD = "hold"
    STOPPED = "stopped"
    """The job gave up early."""
    RUNNING = "running"
    LOCK = "lock"
    """Another job is at work on the node."""
    REQUIREMENT = "requirement"
    QUEUE = "queue"
    """Others come first: an earlier wave, or a job of a higher priority."""
    READY = "ready"
    """Nothing is in the way; the leader has yet to begin."""
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    FOLLOWED = "followed"
    """Another job came from it, or it from another."""
    QUARANTINE = "quarantine"
    PRESENCE = "presence"
    MAINTENANCE = "maintenance"
    DEBT = "debt"
    """It missed an upgrade while nobody could reach it."""
    HEALTH = "health"
    BUNDLE = "bundle"
    IDLE = "idle"
    """Nothing is wrong, and nobody wants anything of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason, in plain words.

    Attributes:
        since: When it began, in Unix seconds; None when nobody recorded that.
        until: When it ends by itself; None when it does not, or nobody knows.
        way_out: The command that ends it, or shows more; empty when there is none.
        output: The end of what the step printed that this is about.
    """

    kind: CauseKind
    message: str
    since: float | None = None
    until: float | None = None
    way_out: str = ""
    output: str = ""


def way_out(job: Job, hold: Hold) -> str:
    """Return the command that ends a hold; empty when only time does."""
    if hold.kind is HoldKind.CANARY:
        return f"hamgr job promote {job.id}"
    if hold.kind in (HoldKind.FAILURES, HoldKind.STALLED, HoldKind.REBORN):
        return f"hamgr job resume {job.id} to go on, or hamgr job cancel {job.id}"
    if hold.kind is HoldKind.PAUSED:
        return f"hamgr job resume {job.id}"
    return "" if hold.until else f"hamgr job cancel {job.id}"


def of_hold(job: Job, hold: Hold) -> Cause:
    """Return why a hold holds a job."""
    return Cause(
        kind=CauseKind.HOLD,
        message=_said_of(job, hold),
        since=hold.since,
        until=hold.until if hold.until and hold.until > hold.since else None,
        way_out=way_out(job, hold),
    )


def _said_of(job: Job, hold: Hold) -> str:
    match hold.kind:
        case HoldKind.PAUSED:
            return f"it is paused by {hold.actor or 'nobody named'}: {hold.reason}"
        case HoldKind.CANARY:
            return f"{hold.reason}: somebody has to look at them and say that they are good"
        case HoldKind.FAILURES:
            return f"it waits for an operator, as it is to when it loses too many: {hold.reason}"
        case HoldKind.STALLED | HoldKind.REBORN:
            return f"it waits for an operator: {hold.reason}"
        case HoldKind.WINDOW:
            return f"{hold.reason}; it may begin tasks {_listed_windows(job.rollout.windows)}"
        case HoldKind.SCHEDULED:
            return hold.reason
        case _ as never:
            assert_never(never)


def _listed_windows(windows: tuple[Window, ...]) -> str:
    return " or ".join(f"from '{w.cron}' in {w.zone} for {spell(w.duration_s)}" for w in windows)


def at_work(state: State, job: Job, task: Task, now: float) -> Cause:
    """Return what the running task of a job does on its node."""
    due = work.step_due(state, job.id, task.node, task.epoch)
    if due is None:
        return Cause(kind=CauseKind.RUNNING, message=f"{task.node} is between two steps of {job.id}")
    found = _doing(job, task, due, now)
    back = f"; it is on its way back after: {task.failure}" if _undoes(task) else ""
    stop = "; it is being stopped, for its job was cancelled" if due.stop else ""
    claim = f"; claimed by {task.claimant}" if task.claimant else ""
    return replace(found, message=f"{task.node} {found.message}{stop}{back}{claim}")


def _undoes(task: Task) -> bool:
    return task.phase in (Phase.UNDO, Phase.REVERIFY)


def _doing(job: Job, task: Task, due: StepDue, now: float) -> Cause:
    step = f"{due.step.component}: {due.step.spec.name}"
    attempts = min(due.step.spec.retries, RETRIES_MAX) + 1
    count = f"attempt {due.attempt}" + (f" of {attempts}" if due.attempt <= attempts > 1 else "")
    timeout_s = due.step.spec.timeout_s
    before = _before(task, due)
    output = before.output_tail if before is not None else ""
    after = f"; attempt {before.attempt} {describe(before)}" if before is not None else ""
    if due.launched_at is not None:
        ends_at = due.launched_at + timeout_s
        reboot = ", a restart of the machine" if due.step.spec.reboot else ""
        verb = "is asked whether it finished" if due.checking else "runs"
        over = f"; its {spell(timeout_s)} are over" if now > ends_at else ""
        return Cause(
            kind=CauseKind.RUNNING,
            message=f"{verb} '{step}' ({due.step.phase}){reboot}, {count}{over}{after}",
            since=due.launched_at,
            until=ends_at if now <= ends_at else None,
            output=output,
        )
    if due.not_before > now:
        soaks = task.phase is Phase.SOAK and before is None
        healthy = f"is to stay healthy for {spell(job.rollout.min_healthy_s)} before it is verified once more"
        message = healthy if soaks else f"waits before {count} of '{step}' ({due.step.phase}){after}"
        return Cause(kind=CauseKind.RUNNING, message=message, until=due.not_before, output=output)
    return Cause(
        kind=CauseKind.RUNNING,
        message=f"is to begin '{step}' ({due.step.phase}), {count}{after}",
        since=task.results[-1].ended_at if task.results else task.started_at,
        output=output,
    )


def _before(task: Task, due: StepDue) -> Result | None:
    """Return the attempt before the owed one of the same step, when it did not pass."""
    names = (due.step.key, f"{due.step.key}.check")
    last = task.results[-1] if task.results else None
    return last if last is not None and last.step in names and not last.passed else None


def of_failure(job: Job, task: Task) -> Cause:
    """Return why a task failed, with the end of the output that came first."""
    first = next((result for result in task.results if not result.passed), None)
    return Cause(
        kind=CauseKind.FAILED,
        message=f"{task.node} failed: {task.error or task.failure}",
        since=task.ended_at or None,
        way_out=f"hamgr job log {job.id} --node {task.node}" if task.results else "",
        output=first.output_tail if first else "",
    )


def last_failure(state: State, name: NodeName) -> tuple[Job, Task] | None:
    """Return the newest job that failed on a node, with its task there; None when none that is kept did."""
    found = (
        (job, job.tasks[name])
        for job in state.jobs.values()
        if name in job.tasks and job.tasks[name].state is TaskState.FAILED
    )
    return max(found, key=lambda one: one[1].ended_at, default=None)


def came_from(state: State, job_id: JobId) -> list[Cause]:
    """Return which jobs came from a job, and it from which."""
    job = state.jobs[job_id]
    found = []
    if job.retry_of:
        found.append(f"it does again what failed in {job.retry_of}")
    if job.revert_of:
        found.append(f"it brings back what {job.revert_of} changed")
    for other in state.jobs.values():
        if other.retry_of == job_id:
            found.append(f"{other.id}, {other.state}, does again what failed")
        if other.revert_of == job_id:
            found.append(f"{other.id}, {other.state}, brings back what it changed")
    return [Cause(kind=CauseKind.FOLLOWED, message=message) for message in found[:LISTED_MAX]]


def a(job: Job) -> str:
    """Return a job's name and kind, as `j-3, an upgrade`."""
    return f"{job.id}, {'an' if job.kind[0] in 'aeiou' else 'a'} {job.kind}"


def spell(seconds: float) -> str:
    """Return a duration in at most two units."""
    if seconds < 100:
        return f"{seconds:g} s"
    minutes = round(seconds / 60)
    if minutes < 100 and minutes % 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    days, hours = divmod(hours, 24)
    return f"{days} d" + (f" {hours} h" if hours else "")


def names(nodes: list[NodeName]) -> str:
    """Return some names, and how many more there are."""
    rest = len(nodes) - NAMES_MAX
    return ", ".join(nodes[:NAMES_MAX]) + (f" and {rest} more" if rest > 0 else "")
