"""Rules for asking that one machine takes another one's place; `takeover` has how that goes.

1. The new machine is put to work first, and only then the old one is taken out of it: no role is ever short.
2. Where the old machine cannot be reached, nothing is tried on it.
"""

from statemachine import lifecycle
from statemachine.commands import ReplaceNode
from statemachine.draft import Draft
from statemachine.jobs import admission
from statemachine.lifecycle import IN_SERVICE, Trigger
from statemachine.model import Job, Node, Task
from statemachine.nodes import inventory, requirements, takeover
from statemachine.outcomes import Outcome, Reason, Rejected
from statemachine.rollouts import waves
from statemachine.words import Digest, JobKind, NodeName, Presence, Status

REPLACEABLE = IN_SERVICE | {Status.QUARANTINED}


def replace_node(draft: Draft, command: ReplaceNode) -> Outcome:
    if refusal := admission.bad_numbers(draft, 0, None, command.priority):
        return refusal
    pair = (command.old, command.new)
    if unknown := [name for name in pair if name not in draft.nodes]:
        return inventory.no_such_node(*unknown)
    old, new = (draft.nodes[name] for name in pair)
    if refusal := _not_free(draft, old, new) or _bad_old(old) or _bad_new(draft, old, new):
        return refusal
    bundle = _bundle(draft, old)
    if isinstance(bundle, Rejected):
        return bundle
    if new.status not in IN_SERVICE and (
        broken := requirements.refusal_of_addition(draft.before, {new.name: old.role}, bundle)
    ):
        return Rejected(reason=Reason.REQUIREMENT, message="; ".join(broken), offenders=(new.name,))
    job = Job(
        id=draft.next_job_id(),
        kind=JobKind.REPLACE,
        actor=command.actor,
        reason=command.reason or f"{new.name} for {old.name}",
        bundle=bundle,
        role=old.role,
        max_parallel=1,
        max_failed=0,
        priority=command.priority,
        tasks=_tasks(old, new),
        submitted_at=command.at,
        replaces=old.name,
    )
    return waves.take_up(draft, job)


def _tasks(old: Node, new: Node) -> dict[NodeName, Task]:
    kind = JobKind.UPGRADE if new.status in IN_SERVICE else JobKind.COMMISSION
    tasks = {new.name: Task(node=new.name, kind=kind)}
    if old.presence is not Presence.UNREACHABLE:
        tasks[old.name] = Task(node=old.name, wave=1, kind=JobKind.DECOMMISSION)
    return tasks


def _not_free(draft: Draft, old: Node, new: Node) -> Rejected | None:
    if old.name == new.name:
        return inventory.invalid(f"{old.name} cannot come in its own place", old.name)
    for node in (old, new):
        if node.job:
            return inventory.busy(node)
    for job_id in draft.running:
        job = draft.jobs[job_id]
        taken = {takeover.successor(job), job.replaces} if job.replaces else set()
        if both := [node.name for node in (old, new) if node.name in taken]:
            return Rejected(
                reason=Reason.BUSY,
                message=f"{', '.join(both)} changes places already, by job {job.id}",
                offenders=tuple(both),
                hint=f"wait for it, or cancel it: `hamgr job cancel {job.id}`",
            )
    return None


def _bad_old(old: Node) -> Rejected | None:
    if old.status in REPLACEABLE and old.role:
        return None
    return Rejected(
        reason=Reason.WRONG_STATUS,
        message=f"node {old.name} is {old.status}; only one that serves, or that did, has a place to take",
        offenders=(old.name,),
        hint="commission the other one instead",
    )


def _bad_new(draft: Draft, old: Node, new: Node) -> Rejected | None:
    spare = new.status in IN_SERVICE and new.role == old.role
    if not spare and new.status not in lifecycle.allowed_from(Trigger.COMMISSION):
        return Rejected(
            reason=Reason.WRONG_STATUS,
            message=f"node {new.name} is {new.status}{' as ' + new.role if new.role else ''}",
            offenders=(new.name,),
            hint=f"take one that is discovered, or that serves as {old.role} already",
        )
    if inventory.in_maintenance(new, draft.at):
        return Rejected(
            reason=Reason.IN_MAINTENANCE,
            message=f"node {new.name} is in maintenance",
            offenders=(new.name,),
            hint=f"end it first: `hamgr node maintenance off {new.name}`",
        )
    if new.presence is Presence.UNREACHABLE:
        return Rejected(
            reason=Reason.UNREACHABLE,
            message=f"node {new.name} is unreachable: {new.presence_reason}",
            offenders=(new.name,),
            hint="bring it up and run `hamgr discover ADDRESS`",
        )
    return None


def _bundle(draft: Draft, old: Node) -> Digest | Rejected:
    """Return what the new machine is configured with: what the old one was, else the current bundle."""
    for digest in (old.last_good, draft.before.current_bundle):
        stored = draft.before.bundles.get(digest)
        if stored is not None and old.role in stored.manifest.roles:
            return digest
    return Rejected(
        reason=Reason.NO_SUCH_ROLE,
        message=f"no bundle has the role {old.role}",
        offenders=(old.role,),
        hint="push one: `hamgr config push DIR`",
    )
