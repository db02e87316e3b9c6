"""Which nodes are watched, and what beside probes tells of them."""

from collections.abc import Iterable, Mapping

from hamgr.presence.judge import Subject
from hamgr.raft.port import Peer
from hamgr.raft.protocol.membership import Member
from statemachine.model import Node, State
from statemachine.nodes import inventory
from statemachine.words import JobState, NodeName

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def replicas_at(members: Iterable[Member], peers: Iterable[Peer]) -> dict[str, tuple[str, bool]]:
    """Return the replicas by the address of their machine, each with whether it is connected.

    Where a machine runs several, one that is connected stands for it. Loopback tells nothing of a machine.
    """
    up = {peer.name: peer.connected for peer in peers}
    found: dict[str, tuple[str, bool]] = {}
    for member in members:
        host = member.raft.rpartition(":")[0].strip("[]")
        if host not in LOOPBACK and member.name in up and not found.get(host, ("", False))[1]:
            found[host] = member.name, up[member.name]
    return found


def subjects_of(
    state: State, now: float, replicas: Mapping[str, tuple[str, bool]]
) -> dict[NodeName, Subject]:
    """Return every node that was discovered once; the others have yet to show who they are.

    Args:
        now: Unix seconds.
        replicas: As `replicas_at` answers.
    """
    return {node.name: _subject(state, node, now, replicas) for node in state.nodes.values() if node.host_key}


def _subject(state: State, node: Node, now: float, replicas: Mapping[str, tuple[str, bool]]) -> Subject:
    job = state.jobs.get(node.job) if node.job else None
    name, up = replicas.get(node.endpoint.address, ("", False))
    cordon = node.maintenance if inventory.in_maintenance(node, now) else None
    return Subject(
        presence=node.presence,
        reason=node.presence_reason,
        job=node.job if job is not None and job.state is JobState.RUNNING else "",
        cordon=cordon.reason or "no reason was given" if cordon is not None else "",
        replica=name,
        replica_up=up,
        place=f"{node.machine_id} {node.endpoint}",
    )
