"""What nodes owe: upgrades that went on without them because nobody could reach them.

1. Only an upgrade is owed, and only by a node in service that was not touched.
2. A node that owes does not count for what roles require, until it has paid or an operator forgives it.
3. Any job that configures the node anew pays: nothing is run for a version that is no more wanted.
4. A job that stopped early, was cancelled or reverted is owed by nobody.
"""

from statemachine.commands import SubmitJob
from statemachine.copying import replace
from statemachine.draft import Draft
from statemachine.lifecycle import IN_SERVICE
from statemachine.model import ERROR_CHARS_MAX, Debt, Job, Node, State
from statemachine.nodes.inventory import invalid
from statemachine.outcomes import Rejected
from statemachine.phases import request_of, wanted_bundle
from statemachine.rollout import Rollout
from statemachine.words import JobId, JobKind, JobState, NodeName, Offline, Presence, TaskState

SKIPPED = "offline; it owes this upgrade"
"""How the reason begins for which a task is skipped."""


def asked(command: SubmitJob) -> bool:
    """Return whether the job is to go on without nodes that cannot be reached."""
    if command.kind is not JobKind.UPGRADE:
        return False
    selected = command.offline is Offline.AUTO and bool(command.selector)
    return selected or command.offline is Offline.OWE


def bad_offline(command: SubmitJob) -> Rejected | None:
    """Refuse a debt that nobody could pay."""
    if command.offline is not Offline.OWE or command.kind is JobKind.UPGRADE:
        return None
    return invalid(f"a {command.kind} cannot be owed", hint="leave the nodes out that cannot be reached")


def is_offline(node: Node) -> bool:
    return node.presence is Presence.UNREACHABLE


def owe(draft: Draft, name: NodeName, job: Job) -> None:
    """Write down that a node missed `job`; one that was about to pay just this keeps its debt as it is."""
    node = draft.nodes.get(name)
    if node is None or node.status not in IN_SERVICE or pays(node, job.id):
        return
    debt = Debt(
        job=job.id,
        bundle=wanted_bundle(job, job.tasks.get(name)),
        since=draft.at,
        variables=request_of(job, name),
        rollout=Rollout(
            min_healthy_s=job.rollout.min_healthy_s,
            healthy_deadline_s=job.rollout.healthy_deadline_s,
            below_minimum=job.rollout.below_minimum,
            windows=job.rollout.windows,
        ),
        priority=job.priority,
        actor=job.actor,
    )
    draft.put_node(replace(node, debt=debt))
    draft.event("node.debt", name, f"owes the upgrade of {job.id}", job=job.id)


def void(draft: Draft, job_id: JobId, why: str) -> None:
    """Strike what is owed to a job that is not to be done any more."""
    owing = [node for node in draft.nodes.values() if node.debt is not None and node.debt.job == job_id]
    for node in owing:
        draft.put_node(replace(node, debt=None))
        draft.event("node.debt", node.name, f"owes nothing any more: {why}", job=job_id)


def paid(draft: Draft, node: Node, job: Job) -> Node:
    """Return a node that `job` has brought to where it was to be, without any debt."""
    if node.debt is None:
        return node
    draft.event("node.debt", node.name, f"paid what it owed to {node.debt.job}", job=job.id)
    return replace(node, debt=None)


def pays(node: Node, job_id: JobId) -> bool:
    """Return whether `job_id` is the job that pays what `node` owes."""
    return node.debt is not None and node.debt.paid_by == job_id


def ended(node: Node, job_id: JobId, state: TaskState, error: str) -> Node:
    """Return `node` after a task on it; a payment that failed is not tried again by itself."""
    if node.debt is None or not pays(node, job_id) or state not in (TaskState.FAILED, TaskState.CANCELLED):
        return node
    return replace(node, debt=replace(node.debt, error=(error or state)[:ERROR_CHARS_MAX]))


def collectable(state: State, node: Node) -> bool:
    """Return whether a node could pay now, if it is within reach and its next try is due."""
    return (
        node.debt is not None
        and not node.debt.error
        and node.status in IN_SERVICE
        and not node.job
        and node.maintenance is None
        and not _runs(state, node.debt.job)
        and not _runs(state, node.debt.paid_by)
    )


def _runs(state: State, job_id: JobId) -> bool:
    job = state.jobs.get(job_id)
    return job is not None and job.state is JobState.RUNNING


def missing(state: State) -> list[NodeName]:
    """Return the nodes that would have to pay, if only they could be reached."""
    return [name for name, node in state.nodes.items() if is_offline(node) and collectable(state, node)]


def payable(state: State, at: float) -> list[NodeName]:
    """Return the nodes that are to pay at `at`, the oldest debt first."""
    due = [
        (node.debt.since, name)
        for name, node in state.nodes.items()
        if node.debt is not None and can_pay(state, node, at)
    ]
    return [name for _, name in sorted(due)]


def can_pay(state: State, node: Node, at: float) -> bool:
    """Return whether `node` owes something, and is to pay it at `at`."""
    return (
        node.debt is not None
        and node.debt.not_before <= at
        and not is_offline(node)
        and collectable(state, node)
    )
