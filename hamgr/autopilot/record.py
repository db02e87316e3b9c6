"""How replicas behaved: since when each is well, and how often it fell.

1. A new leader does not know since when a standby is well, and lets it wait for the whole time.
2. How often each fell, former leaders have told in events: it takes that over once in its term. What nobody
   could be told of, or what is older than the events that are kept, is forgotten: a shorter wait, no harm.
"""

from collections.abc import Iterable

from hamgr.raft.core.shrinking import RollCall
from hamgr.raft.protocol.membership import ReplicaId
from statemachine.model import Event

LAG_ENTRIES_MAX = 1_024
"""Of a replica that is well: at work, a good part of this is always on its way."""
FALLS_KEPT_S = 3600.0
"""A fall that is longer ago is forgiven."""
FELL = "let-go"
"""What is told of a fall: the kind of a `ReportReplica`."""


class Record:
    """By replica; moments are those of the roll calls."""

    def __init__(self) -> None:
        self._well_since: dict[ReplicaId, float] = {}
        self._falls: dict[ReplicaId, list[float]] = {}
        self._term = self._recalled_in = -1

    def note(self, roll: RollCall) -> None:
        """Take over what a roll call tells."""
        if roll.term != self._term:
            self._term = roll.term
            self._well_since.clear()
        for replica in roll.configuration.ids:
            lag = roll.lag.get(replica)
            if replica in roll.alive and lag is not None and lag <= LAG_ENTRIES_MAX:
                self._well_since.setdefault(replica, roll.at)
            else:
                self._well_since.pop(replica, None)

    def fell(self, replica: ReplicaId, at: float) -> None:
        """Note that a voter was found dead."""
        self._falls.setdefault(replica, []).append(at)

    def recall(self, roll: RollCall, events: Iterable[Event], now: float) -> None:
        """Take over what was told of falls, once in a term, as soon as this replica has the whole log.

        Args:
            now: Unix seconds, as the events have them.
        """
        if self._recalled_in == roll.term or not roll.settled:
            return
        self._recalled_in = roll.term
        ids = {member.name: member.id for member in roll.configuration.members}
        told: dict[ReplicaId, list[float]] = {}
        for event in events:
            if event.kind == f"replica.{FELL}" and event.subject in ids:
                told.setdefault(ids[event.subject], []).append(roll.at - max(0.0, now - event.at))
        for replica, moments in told.items():
            # Those of our own former terms are in both: the longer list lacks less.
            self._falls[replica] = max(moments, self._falls.get(replica, []), key=len)

    def well_s(self, replica: ReplicaId, now: float) -> float:
        """Return for how long a replica has been well."""
        return now - self._well_since.get(replica, now)

    def falls(self, replica: ReplicaId, now: float) -> int:
        """Return how often it fell lately."""
        kept = [at for at in self._falls.get(replica, ()) if now - at < FALLS_KEPT_S]
        if kept:
            self._falls[replica] = kept
        else:
            self._falls.pop(replica, None)
        return len(kept)

    def forget(self, members: Iterable[ReplicaId]) -> None:
        """Keep nothing of whom is no member."""
        known = set(members)
        for gone in self._falls.keys() - known:
            del self._falls[gone]
