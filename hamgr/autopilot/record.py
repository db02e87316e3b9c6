"""How replicas behaved as long as this one led: since when each is well, and how often it fell.

A new leader knows nothing of that and begins anew: it lets a standby wait for the whole time.
"""

from collections.abc import Iterable

from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.shrinking import RollCall

LAG_ENTRIES_MAX = 1_024
"""Of a replica that is well: at work, a good part of this is always on its way."""
FALLS_KEPT_S = 3600.0
"""A fall that is longer ago is forgiven."""


class Record:
    """By replica; moments are those of the roll calls."""

    def __init__(self) -> None:
        self._well_since: dict[ReplicaId, float] = {}
        self._falls: dict[ReplicaId, list[float]] = {}
        self._term = -1

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
