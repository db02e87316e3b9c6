"""Why a queued task does not begin: what it waits for, and what makes it never begin.

1. A task waits for the lock of its node, and for what roles require of each other.
2. A task that waits while nothing is at work that could help is skipped, so that every job ends.
3. What was true when a job was submitted is looked at again when a task is to begin.
"""

from dataclasses import dataclass
from functools import cached_property

from statemachine import lifecycle
from statemachine.lifecycle import Trigger
from statemachine.model import Job, Node, State, Task
from statemachine.nodes import inventory, requirements, takeover
from statemachine.nodes.requirements import Census
from statemachine.phases import kind_of, role_of, wanted_bundle
from statemachine.rollouts import debts
from statemachine.words import JobId, JobKind, NodeName, Status, TaskState

ALLOWED: dict[JobKind, tuple[Status, ...]] = {
    JobKind.COMMISSION: lifecycle.allowed_from(Trigger.COMMISSION),
    JobKind.UPGRADE: lifecycle.allowed_from(Trigger.UPGRADE),
    JobKind.DECOMMISSION: lifecycle.allowed_from(Trigger.DECOMMISSION),
    JobKind.VERIFY: tuple(status for status in Status if status in lifecycle.IN_SERVICE),
    JobKind.DRAIN: tuple(status for status in Status if status in lifecycle.IN_SERVICE),
    JobKind.UNDRAIN: tuple(status for status in Status if status in lifecycle.IN_SERVICE),
}
"""In which statuses a node may be when a task begins on it."""
PASS_CORDONS = frozenset({JobKind.DRAIN, JobKind.UNDRAIN})
"""Jobs that may begin on a node in maintenance."""
STOP_NODES = frozenset({JobKind.UPGRADE, JobKind.DRAIN})
"""Jobs that take a node out of its work without taking it out of service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What a queued task waits for.

    Attributes:
        job: The job that has the node's lock; empty when it is something else.
    """

    message: str
    job: JobId = JobId("")


class Counts:
    """The nodes of a state, counted once, and only when a requirement asks."""

    def __init__(self, state: State) -> None:
        self._state = state

    @cached_property
    def present(self) -> Census:
        return requirements.census(self._state)

    @cached_property
    def working(self) -> Census:
        return requirements.at_work(self._state)

    @cached_property
    def reserved(self) -> dict[NodeName, JobId]:
        return takeover.reserved(self._state)


def waits_for(state: State, job: Job, task: Task, counts: Counts) -> list[Wait]:
    """Return what a queued task of the open wave waits for; empty when it may begin."""
    node = state.nodes.get(task.node)
    if node is None:
        return []
    if node.job and node.job != job.id:
        holder = state.jobs[node.job]
        return [Wait(message=f"{node.name} is locked by {holder.id}, a {holder.kind}", job=holder.id)]
    if wait := _reserved(state, job, node, counts):
        return [wait]
    return [Wait(message=message) for message in _requirements(state, job, node, counts)]


def _reserved(state: State, job: Job, node: Node, counts: Counts) -> Wait | None:
    """Return what a task waits for because two nodes are about to change places."""
    keeper = counts.reserved.get(node.name, job.id)
    if keeper != job.id:
        return Wait(message=f"{node.name} is kept for {keeper}, a {JobKind.REPLACE}", job=keeper)
    other = state.nodes.get(job.replaces) if job.replaces else None
    if other is not None and other.job not in ("", job.id):
        return Wait(message=f"{other.name} is locked by {other.job}", job=other.job)
    return None


def _requirements(state: State, job: Job, node: Node, counts: Counts) -> list[str]:
    kind = kind_of(job, node.name)
    if kind is JobKind.COMMISSION:
        role, bundle = role_of(job, node), wanted_bundle(job, job.tasks.get(node.name))
        if requirements.needs(state, role, bundle):
            return requirements.waits_to_enter(state, counts.present, role, bundle)
    elif kind is JobKind.DECOMMISSION:
        if requirements.is_needed(state, node):
            return requirements.waits_to_leave(state, counts.present, node)
    elif kind in STOP_NODES and not job.rollout.below_minimum and requirements.is_needed(state, node):
        return requirements.waits_to_stop(state, counts.working, node)
    return []


def unfit(state: State, job: Job, task: Task, at: float) -> str:
    """Return why a queued task can never begin as its node is now; empty when it may, or may wait."""
    node = state.nodes.get(task.node)
    if node is None:
        return "it was forgotten meanwhile"
    if node.job:
        return ""  # whoever has the lock may change all of this
    kind = kind_of(job, node.name)
    if node.status not in ALLOWED[kind]:
        return f"it is {node.status} meanwhile"
    if job.replaces and (why := takeover.unfit(state, job, node)):
        return why
    if kind not in PASS_CORDONS and node.name != job.replaces and inventory.in_maintenance(node, at):
        return f"in maintenance: {node.maintenance.reason if node.maintenance else ''}"
    if kind in (JobKind.COMMISSION, JobKind.UPGRADE):
        bundle = state.bundles.get(wanted_bundle(job, task))
        if bundle is None or role_of(job, node) not in bundle.manifest.roles:
            return f"the bundle has no role {role_of(job, node) or '(none)'}"
    if job.owes and debts.is_offline(node):
        return f"{debts.SKIPPED}: {node.presence_reason or 'it cannot be reached'}"
    return ""


def helped_by_others(state: State, job: Job) -> bool:
    """Return whether another job is at work on nodes, so that what a task waits for may still come true."""
    return any(
        task.state is TaskState.RUNNING
        for other in state.running
        if other != job.id and state.jobs[other].kind not in (JobKind.VERIFY, JobKind.DISCOVER)
        for task in state.jobs[other].tasks.values()
    )
