"""Linearizable reads without an entry in the log: ReadIndex (Ongaro's dissertation, section 6.4).

1. The index that a read has to wait for is the leader's commit index at a moment after the read began, and
   is given only when a majority has said, after that moment, that it knows of no later term.
2. It is not given before the leader has committed an entry of its own term: its commit index may lag.
3. Readers that come while a round is under way share the next one. At most one is under way.
4. No clock is trusted: a leader that was frozen answers nothing until a majority has confirmed it again.
"""

from collections.abc import Callable

from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.protocol.raft import Raft

Answer = Callable[[int | None], None]

ROUND_S_MAX = 0.5
"""Answers that take longer than this mean that the majority is gone."""
READS_MAX = 10_000
"""Readers that wait; who comes then has to ask again."""


class ReadRounds:
    """The rounds of a leader; on a follower there are none."""

    def __init__(self, raft: Raft) -> None:
        self._raft = raft
        self._waiting: list[Answer] = []
        self._waiting_since = 0.0
        self._round = 0
        self._term = -1
        self._index = 0
        self._begun_at = 0.0
        self._served: list[Answer] = []
        self._confirmed_by: set[ReplicaId] = set()

    @property
    def waiting(self) -> int:
        """How many readers wait."""
        return len(self._waiting) + len(self._served)

    def ask(self, answer: Answer) -> None:
        """Have `answer` called with an index, or with None when leadership could not be confirmed."""
        if not self._raft.leads or len(self._waiting) >= READS_MAX:
            answer(None)
            return
        if not self._waiting:
            self._waiting_since = self._raft.now()
        self._waiting.append(answer)
        self._begin()

    def advance(self) -> None:
        """Give up what cannot be confirmed any more, and begin what has become possible."""
        raft = self._raft
        if self._served and (
            not raft.leads or raft.term != self._term or raft.now() - self._begun_at > ROUND_S_MAX
        ):
            self._end(None)
        if self._waiting and (not raft.leads or raft.now() - self._waiting_since > 2 * ROUND_S_MAX):
            waiting, self._waiting = self._waiting, []
            for answer in waiting:
                answer(None)
        self._begin()

    def confirmed(self, sender: ReplicaId, term: int, number: int) -> None:
        """Count a voter that knows of no later term than `term`."""
        if self._served and number == self._round and term == self._term and self._raft.leads:
            self._confirmed_by.add(sender)
            self._conclude()

    def _begin(self) -> None:
        raft = self._raft
        if self._served or not self._waiting or raft.log.term_at(raft.commit) != raft.term:
            return
        self._served, self._waiting = self._waiting, []
        self._round += 1
        self._term, self._index, self._begun_at = raft.term, raft.commit, raft.now()
        self._confirmed_by = {raft.me}
        message = {"type": "confirm", "term": self._term, "round": self._round}
        for voter in raft.configuration.voters:
            if voter.id != raft.me:
                raft.send(voter.id, message)
        self._conclude()

    def _conclude(self) -> None:
        configuration = self._raft.configuration
        if len(self._confirmed_by & configuration.voter_ids) >= configuration.quorum:
            self._end(self._index if self._raft.term == self._term else None)
            self._begin()

    def _end(self, index: int | None) -> None:
        served, self._served = self._served, []
        for answer in served:
            answer(index)
