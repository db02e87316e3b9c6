"""Rules for machines that discovery has seen: who they are, and whether they are welcome.

1. A machine is known by its machine id and its host key together. A changed address is followed; a
   machine that shares only one of the two with a node is refused, with both named, and so is one that
   shares both while the node answers elsewhere.
2. A forgotten machine does not come back unless discovery is told to readmit it.
"""

from statemachine.copying import replace
from statemachine.discovery_commands import Sighting
from statemachine.draft import Draft
from statemachine.lifecycle import Trigger
from statemachine.model import EPOCH_MAX, NODES_MAX, Node, Transition
from statemachine.nodes.inventory import bad_labels, bad_name, invalid, set_presence
from statemachine.outcomes import Reason, Rejected
from statemachine.words import JobId, NodeName, Presence, Status


def admit(draft: Draft, sighting: Sighting, *, job: JobId) -> NodeName | Rejected:
    """Take a sighting into the inventory; return the node's name, or why the machine is refused."""
    if refusal := bad_name(sighting.name):
        return refusal
    if not sighting.machine_id or not sighting.host_key:
        return invalid(f"{sighting.endpoint} gave no machine id or no host key", str(sighting.endpoint))
    if not 0 <= sighting.epoch <= EPOCH_MAX:
        return invalid(
            f"{sighting.endpoint} says that it has seen epoch {sighting.epoch}, which nobody can follow",
            str(sighting.endpoint),
            hint="its fence is damaged or forged: reinstall the node, or remove the fence by hand",
        )
    node = _known(draft, sighting)
    if isinstance(node, Rejected):
        return node
    if node is None:
        if refusal := _unwelcome(draft, sighting, readmit=draft.jobs[job].readmit):
            return refusal
        line = Transition(
            index=draft.index, at=draft.at, status=Status.NEW, trigger="found", actor=draft.actor, job=job
        )
        node = Node(
            name=NodeName(sighting.name), status=Status.NEW, endpoint=sighting.endpoint, history=(line,)
        )
        draft.event("node.added", node.name, f"found at {sighting.endpoint}", job=job)
    labels = {**draft.jobs[job].labels, **node.labels}
    if refusal := bad_labels(labels):
        return refusal
    node = replace(
        node,
        endpoint=sighting.endpoint,
        host_key=sighting.host_key,
        machine_id=sighting.machine_id,
        facts=dict(sighting.facts),
        labels=labels,
        epoch=max(node.epoch, sighting.epoch),
    )
    node = set_presence(draft, node, Presence.REACHABLE, "")
    if node.status is Status.NEW:
        draft.move(node.name, Trigger.SIGHTED, job=job, reason=f"seen at {sighting.endpoint}")
    return node.name


def _known(draft: Draft, sighting: Sighting) -> Node | Rejected | None:
    """Return the node that this machine is, None when it is new, or the refusal of a clone."""
    for node in draft.nodes.values():
        same_machine = node.machine_id == sighting.machine_id
        same_key = node.host_key == sighting.host_key
        if same_machine and same_key:
            return node if not sighting.twin else _twins(node, sighting)
        if same_machine or same_key:
            shared, other = ("machine id", "host key") if same_machine else ("host key", "machine id")
            return Rejected(
                reason=Reason.IDENTITY,
                message=f"{sighting.endpoint} ({sighting.name}) has the {shared} of node {node.name} "
                f"and another {other}",
                offenders=(str(sighting.endpoint), node.name),
                hint=f"if it is a clone, give it its own {shared}; if {node.name} was reinstalled, "
                f"forget it first: `hamgr node forget {node.name} --force`",
            )
    return _expected(draft, sighting)


def _twins(node: Node, sighting: Sighting) -> Rejected:
    return Rejected(
        reason=Reason.IDENTITY,
        message=f"{sighting.endpoint} ({sighting.name}) has the machine id and the host key of node "
        f"{node.name}, which answers at {sighting.twin}: one is a copy of the other",
        offenders=(str(sighting.endpoint), node.name),
        hint="give the copy its own identity (`systemd-machine-id-setup`, `ssh-keygen -A` after removing "
        "the old ones), then discover it again",
    )


def _expected(draft: Draft, sighting: Sighting) -> Node | None:
    """Return the node that was added by hand and never seen, if this is it by name or address."""
    for node in draft.nodes.values():
        if not node.machine_id and (node.name == sighting.name or node.endpoint == sighting.endpoint):
            return node
    return None


def _unwelcome(draft: Draft, sighting: Sighting, *, readmit: bool) -> Rejected | None:
    if sighting.name in draft.nodes:
        other = draft.nodes[NodeName(sighting.name)]
        return Rejected(
            reason=Reason.IDENTITY,
            message=f"{sighting.endpoint} calls itself {sighting.name}, "
            f"which is the name of the node at {other.endpoint}",
            offenders=(str(sighting.endpoint), other.name),
            hint="give one of the two machines another host name",
        )
    for stone in draft.before.tombstones:
        if not readmit and (stone.machine_id == sighting.machine_id or stone.host_key == sighting.host_key):
            return Rejected(
                reason=Reason.FORGOTTEN,
                message=f"{sighting.endpoint} is {stone.name}, which {stone.actor} made us forget",
                offenders=(str(sighting.endpoint),),
                hint="to take it back: `hamgr discover --readmit ...`",
            )
    if len(draft.nodes) >= NODES_MAX:
        return Rejected(reason=Reason.LIMIT, message=f"the inventory is full: {NODES_MAX} nodes")
    return None
