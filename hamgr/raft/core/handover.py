"""How a leader gives leadership away: to a follower that has the whole log, or by stepping down."""

from hamgr.raft.core.whole import Whole
from hamgr.raft.protocol.election import Timers
from hamgr.raft.protocol.membership import ReplicaId


class Handover:
    """The ways out of leadership of one replica (Ongaro's dissertation, section 3.10)."""

    def __init__(self, core: Whole, timers: Timers) -> None:
        self._core = core
        self._timers = timers
        self._asked_at = float("-inf")
        self._renounced_at = 0.0

    def ask(self, to: ReplicaId | None) -> bool:
        """Ask `to`, or the follower that has most, to stand at once; False when it could not win."""
        core = self._core
        candidates = [
            (progress.match, peer)
            for peer, progress in core.replicator.followers.items()
            if core.is_up(peer) and peer in core.configuration.voter_ids and to in (None, peer)
        ]
        if not core.leads or not candidates or max(candidates)[0] != core.log.last:
            return False
        core.send(max(candidates)[1], {"type": "timeout_now", "term": core.term})
        return True

    def renounce(self, reason: str) -> None:
        """Begin to give leadership away, now and whenever it should come."""
        if not self._core.renounced:
            self._core.renounced, self._renounced_at = reason, self._core.now()

    def advance(self) -> None:
        """Go on with it; the core leads."""
        core = self._core
        if not core.renounced:
            return
        now = core.now()
        if now - self._renounced_at > self._timers.election_s_max:
            core.library.step_down()
        elif now - self._asked_at > self._timers.heartbeat_s and self.ask(None):
            self._asked_at = now
