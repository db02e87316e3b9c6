"""Rules for cordons: nodes that an operator set aside, for a while or until they say otherwise, or drained.

1. No job touches a node in maintenance, but for the one that drains or undrains it.
2. A cordon with an end is lifted by the log when that has come (`ExpireMaintenance`), never by a glance at
   a clock: what a node counts for changes at one index, on every replica alike.
3. A drained node has no load: only an undrain, which gives it back and proves it, lifts that cordon.
"""

from statemachine.commands import ExpireMaintenance, SetMaintenance
from statemachine.copying import replace
from statemachine.draft import Draft
from statemachine.lifecycle import IN_SERVICE
from statemachine.model import ERROR_CHARS_MAX, Job, Maintenance, Node
from statemachine.nodes import inventory
from statemachine.outcomes import Accepted, Outcome, Reason, Rejected
from statemachine.words import JobId, JobKind


def set_maintenance(draft: Draft, command: SetMaintenance) -> Outcome:
    node = draft.nodes.get(command.node)
    if node is None:
        return inventory.no_such_node(command.node)
    if node.job and draft.jobs[node.job].kind in (JobKind.DRAIN, JobKind.UNDRAIN):
        return inventory.busy(node)
    drain = node.maintenance.drain if node.maintenance else JobId("")
    if drain and (not command.on or command.until is not None):
        return Rejected(
            reason=Reason.WRONG_STATUS,
            message=f"node {node.name} was drained by {drain}, so it has no load until it is undrained",
            offenders=(node.name,),
            hint=f"give it back and lift the cordon: `hamgr node undrain {node.name}`",
        )
    if not command.on:
        lift(draft, node, "an operator lifted it")
        return Accepted(index=draft.index, ref=node.name)
    if refusal := _bad_cordon(draft, node, command):
        return refusal
    cordon = Maintenance(
        reason=command.reason, owner=command.actor, since=command.at, until=command.until, drain=drain
    )
    draft.put_node(replace(node, maintenance=cordon))
    draft.event("node.maintenance", node.name, f"maintenance: {command.reason}")
    return Accepted(index=draft.index, ref=node.name)


def _bad_cordon(draft: Draft, node: Node, command: SetMaintenance) -> Rejected | None:
    if node.status not in IN_SERVICE:
        return Rejected(
            reason=Reason.WRONG_STATUS,
            message=f"node {node.name} is {node.status}; only a node in service can be put into maintenance",
            offenders=(node.name,),
        )
    if not command.reason:
        return inventory.invalid("maintenance needs a reason", node.name, hint="say why: --reason TEXT")
    if command.until is not None and command.until <= draft.at:
        return inventory.invalid(
            f"the maintenance of {node.name} would be over before it begins",
            node.name,
            hint="give a time to come, or none",
        )
    return None


def expire_maintenance(draft: Draft, command: ExpireMaintenance) -> Outcome:
    node = draft.nodes.get(command.node)
    if node is None:
        return inventory.no_such_node(command.node)
    until = node.maintenance.until if node.maintenance else None
    if until is None or command.at < until:
        return Rejected(
            reason=Reason.STALE_CLAIM,
            message=f"the clock ends no maintenance of {node.name} now",
            offenders=(node.name,),
        )
    lift(draft, node, "its time is over")
    return Accepted(index=draft.index, ref=node.name)


def lift(draft: Draft, node: Node, why: str) -> Node:
    """End the maintenance of `node`, if it is in any."""
    if node.maintenance is None:
        return node
    draft.event("node.maintenance", node.name, f"maintenance ended: {why}")
    return draft.put_node(replace(node, maintenance=None))


def begin_drain(draft: Draft, node: Node, job: Job) -> Node:
    """Cordon a node whose drain begins; one that is set aside already keeps its cordon."""
    if node.maintenance is not None and inventory.in_maintenance(node, draft.at):
        return node
    cordon = Maintenance(reason=_why("draining", job), owner=job.actor, since=draft.at, drain=job.id)
    draft.event("node.maintenance", node.name, f"maintenance: {cordon.reason}", job=job.id)
    return draft.put_node(replace(node, maintenance=cordon))


def end_drain(draft: Draft, node: Node, job: Job) -> Node:
    """Keep the cordon of a node that is drained, until it is undrained."""
    old = node.maintenance
    reason = _why("drained", job)
    if old is not None and old.drain != job.id:
        reason = f"{old.reason} ({reason})"[:ERROR_CHARS_MAX]
    cordon = Maintenance(
        reason=reason,
        owner=old.owner if old else job.actor,
        since=old.since if old else draft.at,
        drain=job.id,
    )
    draft.event("node.maintenance", node.name, f"maintenance: {reason}", job=job.id)
    return draft.put_node(replace(node, maintenance=cordon))


def give_up_drain(draft: Draft, node: Node, job: Job) -> Node:
    """Lift the cordon that a failed drain has set; one that was there before stays."""
    if node.maintenance is None or node.maintenance.drain != job.id:
        return node
    return lift(draft, node, "it could not be drained")


def _why(word: str, job: Job) -> str:
    return f"{word}{': ' + job.reason if job.reason else ' by ' + job.id}"[:ERROR_CHARS_MAX]
