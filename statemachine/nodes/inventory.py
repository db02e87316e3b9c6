"""Rules for nodes that are known: adding, editing, presence, forgetting.

1. What an operator says of a node (labels, variables, role) never changes what it is configured with.
2. A forgotten machine leaves a tombstone, which `sightings` looks at.
"""

from statemachine import words
from statemachine.commands import AddNode, EditNode, ForgetNode, ReportPresence
from statemachine.copying import replace
from statemachine.draft import Draft
from statemachine.lifecycle import COUNTED, FORGETTABLE, UNDERWAY
from statemachine.model import (
    ERROR_CHARS_MAX,
    LABELS_MAX,
    NODES_MAX,
    Node,
    Transition,
)
from statemachine.nodes import requirements, takeover
from statemachine.nodes.variables import merged
from statemachine.outcomes import Accepted, Outcome, Reason, Rejected
from statemachine.words import Health, Presence, Status


def no_such_node(*names: str) -> Rejected:
    """Return the refusal that names all unknown nodes."""
    return Rejected(
        reason=Reason.NO_SUCH_NODE,
        message=f"no such node: {', '.join(names)}",
        offenders=names,
        hint="list the nodes with `hamgr node ls`, or find new ones with `hamgr discover`",
    )


def invalid(message: str, *offenders: str, hint: str = "") -> Rejected:
    """Return the refusal of a value that no state could accept."""
    return Rejected(reason=Reason.INVALID, message=message, offenders=offenders, hint=hint)


def in_maintenance(node: Node, at: float) -> bool:
    """Return whether the cordon of `node` holds at the time `at`."""
    return node.maintenance is not None and (node.maintenance.until is None or at < node.maintenance.until)


def bad_name(name: str) -> Rejected | None:
    if words.NODE_NAME.match(name):
        return None
    return invalid(
        f"{name!r} cannot be a node's name",
        name,
        hint="use lower-case letters, digits, '-' and '.', 63 characters at most",
    )


def bad_labels(labels: dict[str, str]) -> Rejected | None:
    bad = sorted(
        f"{key}={value}"
        for key, value in labels.items()
        if not words.LABEL_KEY.match(key) or not words.LABEL_VALUE.match(value)
    )
    if bad:
        return invalid(
            f"not a label: {', '.join(map(repr, bad))}", *bad, hint="write KEY=VALUE without spaces"
        )
    if len(labels) > LABELS_MAX:
        return invalid(f"{len(labels)} labels are more than the {LABELS_MAX} that a node may have")
    return None


def _bad_role(draft: Draft, role: str) -> Rejected | None:
    bundle = draft.before.bundles.get(draft.before.current_bundle)
    if not role or (bundle and role in bundle.manifest.roles):
        return None
    known = ", ".join(sorted(bundle.manifest.roles)) if bundle else "none: push a bundle first"
    return Rejected(
        reason=Reason.NO_SUCH_ROLE,
        message=f"no such role: {role}",
        offenders=(role,),
        hint=f"the current bundle has: {known}",
    )


def busy(node: Node) -> Rejected:
    """Return the refusal of what cannot be done while a job holds `node`."""
    return Rejected(
        reason=Reason.BUSY,
        message=f"node {node.name} is held by job {node.job}",
        offenders=(node.name,),
        hint=f"wait for it, or cancel it: `hamgr job cancel {node.job}`",
    )


def changed_since(node: Node, if_index: int | None) -> Rejected | None:
    """Return the refusal of a write whose caller saw an older version of `node`."""
    if if_index is None or if_index == node.index:
        return None
    return Rejected(
        reason=Reason.CHANGED,
        message=f"node {node.name} is at index {node.index}, not {if_index}",
        offenders=(node.name,),
        hint="read it again and decide anew",
    )


def add_node(draft: Draft, command: AddNode) -> Outcome:
    if (
        refusal := bad_name(command.node)
        or bad_labels(dict(command.labels))
        or _bad_role(draft, command.role)
    ):
        return refusal
    if command.node in draft.nodes:
        return Rejected(
            reason=Reason.IDENTITY,
            message=f"node {command.node} exists already",
            offenders=(command.node,),
            hint=f"change it with `hamgr node edit {command.node}`",
        )
    if len(draft.nodes) >= NODES_MAX:
        return Rejected(reason=Reason.LIMIT, message=f"the inventory is full: {NODES_MAX} nodes")
    line = Transition(index=draft.index, at=draft.at, status=Status.NEW, trigger="added", actor=draft.actor)
    draft.put_node(
        Node(
            name=command.node,
            status=Status.NEW,
            endpoint=command.endpoint,
            presence=Presence.SUSPECT,
            presence_reason="nobody has seen it yet",
            labels={key: value for key, value in command.labels.items() if value},
            variables=merged({}, command.variables),
            role=command.role,
            history=(line,),
        )
    )
    draft.event("node.added", command.node, f"added at {command.endpoint}")
    return Accepted(index=draft.index, ref=command.node)


def edit_node(draft: Draft, command: EditNode) -> Outcome:
    node = draft.nodes.get(command.node)
    if node is None:
        return no_such_node(command.node)
    if refusal := changed_since(node, command.if_index):
        return refusal
    labels = {**node.labels, **(command.labels or {})}
    labels = {key: value for key, value in labels.items() if value}
    if refusal := bad_labels(labels):
        return refusal
    role = node.role if command.role is None else command.role
    if role != node.role:
        if node.job:
            return busy(node)
        if node.status in COUNTED | UNDERWAY or node.bundle:
            return Rejected(
                reason=Reason.WRONG_STATUS,
                message=f"node {node.name} is {node.status} as {node.role}; its role cannot be changed now",
                offenders=(node.name,),
                hint=f"decommission it first: `hamgr node decommission {node.name}`",
            )
        if refusal := _bad_role(draft, role):
            return refusal
    variables = merged(node.variables, command.variables or {})
    draft.put_node(replace(node, labels=labels, variables=variables, role=role))
    draft.event("node.edited", node.name, "labels, variables or role changed")
    return Accepted(index=draft.index, ref=node.name)


def forget_node(draft: Draft, command: ForgetNode) -> Outcome:
    node = draft.nodes.get(command.node)
    if node is None:
        return no_such_node(command.node)
    if refusal := changed_since(node, command.if_index):
        return refusal
    if node.job:
        return busy(node)
    if keeper := takeover.reserved(draft.before).get(node.name):
        return busy(replace(node, job=keeper))
    if node.status not in FORGETTABLE and not command.force:
        return Rejected(
            reason=Reason.WRONG_STATUS,
            message=f"node {node.name} is {node.status}",
            offenders=(node.name,),
            hint=f"decommission it first, or strike it as it is: `hamgr node forget {node.name} --force`",
        )
    if broken := requirements.refusal_of_removal(draft.before, [node.name]):
        return Rejected(reason=Reason.REQUIREMENT, message="; ".join(broken), offenders=(node.name,))
    takeover.bury(draft, node)
    draft.event("node.forgotten", node.name, f"forgotten while {node.status}")
    return Accepted(index=draft.index, ref=node.name)


def report_presence(draft: Draft, command: ReportPresence) -> Outcome:
    node = draft.nodes.get(command.node)
    if node is None:
        return no_such_node(command.node)
    set_presence(draft, node, command.presence, command.reason)
    return Accepted(index=draft.index, ref=node.name)


def set_presence(draft: Draft, node: Node, presence: Presence, reason: str, *, tell: bool = True) -> Node:
    """Store what is known of a node's presence; a node that cannot be reached has no known health."""
    if tell and node.presence is not presence:
        draft.event(
            "node.presence", node.name, f"{node.presence} -> {presence}{': ' + reason if reason else ''}"
        )
    health = Health.UNKNOWN if presence is Presence.UNREACHABLE else node.health
    seen_at = draft.at if presence is Presence.REACHABLE else node.seen_at
    return draft.put_node(
        replace(
            node,
            presence=presence,
            presence_reason=reason[:ERROR_CHARS_MAX],
            presence_at=node.presence_at if presence is node.presence else draft.at,
            health=health,
            seen_at=seen_at,
        )
    )
