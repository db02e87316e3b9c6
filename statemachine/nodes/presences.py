"""Rules for what presence concludes of many nodes at once.

1. A change counts only where the log still says what it was judged from; the others are left out.
2. Up to `EACH_MAX` nodes that change alike are an event each. More of them are one event, which names the
   labels that those nodes, and no others, have: a rack, a switch.
"""

from collections import Counter

from statemachine.draft import Draft
from statemachine.model import NODES_MAX
from statemachine.nodes.inventory import invalid, set_presence
from statemachine.outcomes import Accepted, Outcome
from statemachine.presence_commands import PresenceChange, ReportPresences
from statemachine.words import Presence

EACH_MAX = 5
NAMED_MAX = 3


def report_presences(draft: Draft, command: ReportPresences) -> Outcome:
    if not command.changes:
        return invalid("no node's presence has changed, so there is nothing to report")
    if len(command.changes) > NODES_MAX:
        return invalid(f"{len(command.changes)} changes are more than there can be nodes")
    alike: dict[Presence, list[PresenceChange]] = {}
    for change in command.changes:
        node = draft.nodes.get(change.node)
        if node is None or node.presence is not change.was:
            continue
        set_presence(draft, node, change.presence, change.reason, tell=False)
        if change.presence is not change.was:
            alike.setdefault(change.presence, []).append(change)
    for presence, changes in alike.items():
        _tell(draft, presence, changes)
    return Accepted(index=draft.index)


def _tell(draft: Draft, presence: Presence, changes: list[PresenceChange]) -> None:
    if len(changes) <= EACH_MAX:
        for change in changes:
            why = f": {change.reason}" if change.reason else ""
            draft.event("node.presence", change.node, f"{change.was} -> {presence}{why}")
        return
    names = [change.node for change in changes]
    shown = ", ".join(names[:NAMED_MAX])
    shared = _shared_labels(draft, changes)
    where = f", all of {' and '.join(shared)}," if shared else ""
    why = f"; the first: {changes[0].reason}" if changes[0].reason else ""
    draft.event(
        "fleet.presence",
        f"{len(names)} nodes",
        f"{len(names)} of {len(draft.nodes)} nodes{where} became {presence} at once: {shown} and "
        f"{len(names) - NAMED_MAX} more{why}",
    )


def _shared_labels(draft: Draft, changes: list[PresenceChange]) -> list[str]:
    """Return the labels that all these nodes have and no other one has."""
    first = draft.nodes[changes[0].node].labels
    shared = set(first.items())
    for change in changes:
        shared &= draft.nodes[change.node].labels.items()
    counts = Counter(item for node in draft.nodes.values() for item in node.labels.items() if item in shared)
    return sorted(f"{key}={value}" for (key, value), count in counts.items() if count == len(changes))
