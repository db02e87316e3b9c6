"""How a task ends: with proof, undone, or with a node that only an operator can judge.

1. Success is reached only after the verify phase; it gives the node its status, bundle and health.
2. A failure begins the undo of its kind. A task that never touched its node has nothing to undo and
   gives back the status that the node had.
3. Where there is no undo, or it fails too, the node is quarantined and the first error is kept.
"""

from statemachine import phases
from statemachine.copying import replace
from statemachine.draft import Draft
from statemachine.lifecycle import Trigger
from statemachine.model import ERROR_CHARS_MAX, Job, Node, Task
from statemachine.nodes import maintenance, takeover
from statemachine.rollouts import debts, waves
from statemachine.words import Digest, Ending, Health, JobKind, Phase, Status, TaskState

_GIVES_BACK = {
    Status.COMMISSIONED: Trigger.REVERTED_COMMISSIONED,
    Status.UPGRADED: Trigger.REVERTED_UPGRADED,
    Status.QUARANTINED: Trigger.STUCK,
    Status.DISCOVERED: Trigger.CLEANED,
    Status.DECOMMISSIONED: Trigger.CLEANED,
}
"""The trigger that leads back to the status before the task, or as near to it as the lifecycle knows."""

_SAYS_DRIFT = frozenset({Ending.EXITED, Ending.TIMED_OUT})
"""How a check ends that looked at the node; any other end says nothing about the node's health."""


def succeed(draft: Draft, job: Job, task: Task) -> None:
    """End a task whose last phase passed."""
    node = draft.nodes[task.node]
    if phases.kind_of(job, task.node) is JobKind.VERIFY:
        node = _judge(draft, node, Health.VERIFIED, job)
    elif phases.kind_of(job, task.node) is JobKind.DRAIN:
        node = maintenance.end_drain(draft, node, job)
    elif phases.kind_of(job, task.node) is JobKind.UNDRAIN:
        node = _judge(draft, maintenance.lift(draft, node, "its load is back"), Health.VERIFIED, job)
    elif phases.kind_of(job, task.node) is JobKind.DECOMMISSION:
        node = draft.move(node.name, Trigger.REMOVED, job=job.id)
        node = replace(node, bundle=Digest(""), last_good=Digest(""), last_request={})
        node = _judge(draft, node, Health.UNKNOWN, job)
    else:
        node = draft.move(node.name, Trigger.VERIFIED, job=job.id)
        bundle = phases.wanted_bundle(job, task)
        node = replace(
            node,
            role=phases.role_of(job, node),
            bundle=bundle,
            last_good=bundle,
            last_request=phases.request_of(job, node.name),
        )
        node = _judge(draft, node, Health.VERIFIED, job)
    if phases.kind_of(job, task.node) not in phases.KEEP_STATUS and node.name != job.replaces:
        node = debts.paid(draft, node, job)
    draft.put_node(replace(node, error="", returns_to=None))
    waves.end_task(draft, job.id, task, TaskState.SUCCEEDED)


def fail_phase(draft: Draft, job: Job, task: Task, why: str) -> None:
    """Begin the undo, or end the task where there is nothing to undo or no way to."""
    undo_phases = phases.UNDO_PHASES[phases.kind_of(job, task.node)]
    if task.phase is Phase.VERIFY and not undo_phases:
        node = draft.nodes[task.node]
        last = task.results[-1] if task.results else None
        if last and last.ending in _SAYS_DRIFT and not (last.passed or task.cancel):
            node = _judge(draft, node, Health.DRIFTED, job)
        _end(draft, job, task, node, why)
    elif task.phase in undo_phases or (task.touched and not undo_phases):
        quarantine(draft, job, task, why)
    elif not task.touched:
        _give_back(draft, job, task, why)
    else:
        draft.put_task(
            job.id,
            replace(
                task,
                phase=undo_phases[0],
                cursor=0,
                attempt=1,
                checking=False,
                not_before=0.0,
                failure=why[:ERROR_CHARS_MAX],
                notified=(),
            ),
        )
        draft.event("task.undo", task.node, why, job=job.id)


def undone(draft: Draft, job: Job, task: Task) -> None:
    """End a failed task whose undo passed."""
    if phases.kind_of(job, task.node) is JobKind.COMMISSION:
        node = draft.move(task_node(draft, task).name, Trigger.CLEANED, job=job.id, reason=task.failure)
        node = replace(node, bundle=Digest(""), last_good=Digest(""), last_request={})
    elif phases.kind_of(job, task.node) is JobKind.DRAIN:
        node = maintenance.give_up_drain(draft, task_node(draft, task), job)
    else:
        node = task_node(draft, task)
        trigger = _GIVES_BACK[node.returns_to or Status.COMMISSIONED]
        node = draft.move(node.name, trigger, job=job.id, reason=task.failure)
        node = replace(node, bundle=node.last_good)
        node = _judge(draft, node, Health.VERIFIED, job)
    _end(draft, job, task, node, task.failure)


def quarantine(draft: Draft, job: Job, task: Task, why: str) -> None:
    """End a task whose node nobody can vouch for; a job that keeps the status keeps the cordon too."""
    first = f"{task.failure}; then {why}" if task.failure and why != task.failure else why
    node = task_node(draft, task)
    if phases.kind_of(job, task.node) not in phases.KEEP_STATUS:
        node = draft.move(node.name, Trigger.STUCK, job=job.id, reason=first)
        node = _judge(draft, node, Health.UNKNOWN, job)
    _end(draft, job, task, node, first)


def task_node(draft: Draft, task: Task) -> Node:
    """Return the task's node as the draft has it now."""
    return draft.nodes[task.node]


def skip(draft: Draft, job: Job, task: Task, why: str) -> None:
    """End a task whose node was not touched and cannot be reached, and without which the job goes on."""
    node = _returned(draft, job, task, why)
    draft.put_node(replace(node, returns_to=None))
    if job.owes:
        debts.owe(draft, node.name, job)
    said = debts.SKIPPED if job.owes else takeover.LEFT
    waves.end_task(draft, job.id, task, TaskState.SKIPPED, f"{said}: {why}")


def _give_back(draft: Draft, job: Job, task: Task, why: str) -> None:
    _end(draft, job, task, _returned(draft, job, task, why), why)


def _returned(draft: Draft, job: Job, task: Task, why: str) -> Node:
    """Return the node of a task that did nothing, as it was before."""
    node = task_node(draft, task)
    before = node.returns_to or node.status
    if phases.kind_of(job, task.node) is JobKind.DRAIN:
        node = maintenance.give_up_drain(draft, node, job)
    elif phases.kind_of(job, task.node) not in phases.KEEP_STATUS:
        node = draft.move(
            node.name, _GIVES_BACK[before], job=job.id, reason=f"{why}; the node was not touched"
        )
    return node


def _end(draft: Draft, job: Job, task: Task, node: Node, why: str) -> None:
    draft.put_node(replace(node, error=why[:ERROR_CHARS_MAX], returns_to=None))
    state = TaskState.CANCELLED if task.cancel else TaskState.FAILED
    waves.end_task(draft, job.id, task, state, why[:ERROR_CHARS_MAX])


def _judge(draft: Draft, node: Node, health: Health, job: Job) -> Node:
    if node.health is not health:
        draft.event("node.health", node.name, f"{node.health} -> {health}", job=job.id)
    return draft.put_node(replace(node, health=health))
