"""When a replica may stand for election: PreVote, stickiness, and a short way when the leader is dead.

1. A replica asks whether it could win before it raises its term (Ongaro's dissertation, section 9.6). One
   that was cut off and comes back, or was removed, therefore disturbs nobody.
2. Who has heard a leader within the least election time-out grants nothing (section 4.2.3), unless the
   leader itself asked for the election.
3. When a leader's host says that nobody listens there any more, silence need not be waited for. It is a hint
   that costs an inquiry when it is wrong, never an election.

All waits are random, so that two that wait for the same thing rarely ask at the same time.
"""

import random
from typing import Protocol

from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.protocol.messages import Message
from hamgr.raft.protocol.raft import Raft


class Timers(Protocol):
    """All in seconds."""

    @property
    def heartbeat_s(self) -> float: ...
    @property
    def election_s_min(self) -> float: ...
    @property
    def election_s_max(self) -> float: ...


class Election:
    """The waits and the inquiry of one replica; whoever owns it passes the clock's seconds in."""

    def __init__(self, timers: Timers, randomness: random.Random, now: float) -> None:
        self._timers = timers
        self._random = randomness
        self._heard_at = now
        """A replica that has just started may have promised something to a leader: it waits like the rest."""
        self._since = now
        self._patience_s = self._draw(timers.election_s_min, timers.election_s_max)
        self._round = randomness.getrandbits(48)
        self._asked_in_term = -1
        self._granted: set[ReplicaId] = set()
        self._may_stand_in: int | None = None
        self.for_transfer = False
        """The leader itself asked for the election that we were last allowed to stand in."""
        self._has_made_way = False

    def heard(self, now: float) -> None:
        """Note a sign of life from the leader of the current term."""
        self._heard_at = now
        self._asked_in_term = -1
        self._has_made_way = False
        if not self.for_transfer:
            self._may_stand_in = None
        self._wait_from(now)

    def lost(self, now: float) -> None:
        """Note that the leader's host refuses connections: its process is dead."""
        self._heard_at = float("-inf")
        self._since = now
        self._patience_s = self._draw(0.0, self._timers.heartbeat_s)

    def deferred(self, now: float) -> None:
        """Note that another one stands for election: it goes first."""
        self._wait_from(now)

    def made_way(self, now: float) -> None:
        """Note that another one was told that it may win, and let it go first, but once in each silence.

        It may be unable to win, and would keep us from standing if we made way every time.
        """
        if not self._has_made_way:
            self._has_made_way = True
            self._wait_from(now)

    def excuse(self, now: float) -> None:
        """Hear once more before doubting the leader: nobody was here to listen.

        Of a leader whose process is known to be dead nothing more will be heard.
        """
        patience_s = self._draw(self._timers.heartbeat_s, self._timers.election_s_min)
        if self._heard_at > float("-inf") and now + patience_s > self.due_at():
            self._since, self._patience_s = now, patience_s

    def leader_is_alive(self, now: float) -> bool:
        return self.is_recent(self._heard_at, now)

    def is_recent(self, moment: float, now: float) -> bool:
        """Say whether what was known at `moment` may still hold."""
        return now - moment < self._timers.election_s_min

    def silence_s(self, now: float) -> float:
        """Return how long no leader was heard."""
        return now - self._heard_at

    def due_at(self) -> float:
        """Return when to ask, if nothing is heard until then."""
        return self._since + self._patience_s

    def ask(self, me: ReplicaId, term: int, now: float) -> int:
        """Begin an inquiry; return its number, which the answers have to bear."""
        self._round += 1
        self._asked_in_term = term
        self._granted = {me}
        self._since = now
        self._patience_s = self._draw(self._timers.heartbeat_s, self._timers.election_s_min)
        return self._round

    def question(self, raft: Raft) -> Message:
        """Begin an inquiry; return what to ask the other voters."""
        return {
            "type": "pre_vote",
            "term": raft.term + 1,
            "round": self.ask(raft.me, raft.term, raft.now()),
            "last_log_index": raft.log.last,
            "last_log_term": raft.log.last_term,
        }

    def granted(self, sender: ReplicaId, number: int, term: int) -> int:
        """Count an answer once; return how many would vote for us in this inquiry."""
        if number != self._round or term != self._asked_in_term:
            return 0
        self._granted.add(sender)
        return len(self._granted)

    def allow(self, term: int, now: float, *, transfer: bool = False) -> None:
        """Allow to stand, as long as the term is `term`, and until a leader is heard.

        Args:
            transfer: The leader itself asked for it; that it is heard until then means nothing.
        """
        self._may_stand_in, self.for_transfer = term, transfer
        self._asked_in_term = -1
        self._wait_from(now)

    def may_stand(self, term: int) -> bool:
        return self._may_stand_in == term

    def _wait_from(self, now: float) -> None:
        self._since = now
        self._patience_s = self._draw(self._timers.election_s_min, self._timers.election_s_max)

    def _draw(self, low: float, high: float) -> float:
        return low + (high - low) * self._random.random()
