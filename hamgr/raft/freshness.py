"""How old a replica's state is: everything that was committed before some moment is known to be in it.

1. A leader knows it from its majority: whoever follows us at a moment has let nobody else commit before it.
2. A follower asks its leader what a linearizable read that begins now would have to see (`protocol.reads`).
   Once that is applied, the state has all that was committed when it asked. How long a message was on its
   way, or a process stood still, is in the age: the moment of asking counts, and never that of an answer.
3. Moments are of this replica's own clock; nobody's clock is compared with another's. It does not count while
   the machine is suspended (CLOCK_MONOTONIC, clock_gettime(2)): until the next answer, neither does the age.
4. A question costs the leader a round, so it is put seldom as long as nobody wants to know the age.
"""

from collections.abc import Callable
from typing import Protocol

from hamgr.raft.protocol.raft import Log

ASK_S = 2.0
"""A follower's state is known to be about as fresh as this, when all is well and nobody looks."""
ASK_WANTED_S = 0.2
WANTED_S = 5.0
"""Who has wanted to know the age will want to know it again, for so long."""


class Core(Protocol):
    """What has to be known of a replica."""

    @property
    def log(self) -> Log: ...
    @property
    def term(self) -> int: ...
    @property
    def leads(self) -> bool: ...
    @property
    def commit(self) -> int: ...
    @property
    def applied(self) -> int: ...

    def quorum_age_s(self) -> float | None:
        """Return for how long nothing has confirmed who leads."""

    def read_index(self, answer: Callable[[int | None], None]) -> None:
        """Find the index that a linearizable read which begins now has to wait for."""


class Freshness:
    """Watches one replica; written by its thread, read by any.

    Attributes:
        at: Everything that was committed before this moment is in the state; None when nothing is known.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.at: float | None = None
        self._clock = clock
        self._wanted_at = float("-inf")
        self._asked_at: float | None = None
        self._ask_at = float("-inf")
        self._awaited: tuple[int, float] | None = None
        self._applied = 0

    @property
    def age_s(self) -> float | None:
        """How old the state may be."""
        now = self._wanted_at = self._clock()
        return None if self.at is None else max(0.0, now - self.at)

    def look(self, core: Core) -> None:
        """Draw the consequences, after everything that could be was applied; ask again when it is time."""
        if core.applied < self._applied:  # a snapshot took the place of a state that had gone wrong
            self.at = None
        self._applied = core.applied
        if core.leads:
            now = self._clock()  # before the age: a process that stands still between them makes us older
            age_s = core.quorum_age_s()
            settled = core.log.term_at(core.commit) == core.term and core.applied == core.commit
            if age_s is not None and settled:
                self._reach(now - age_s)
            return
        self._take(core.applied)
        now = self._clock()
        if self._asked_at is None and self._awaited is None and now >= self._ask_at:
            self._ask_at = now + (ASK_WANTED_S if now - self._wanted_at < WANTED_S else ASK_S)
            self._asked_at = now
            core.read_index(self._answered)

    def _answered(self, index: int | None) -> None:
        """Take what a read that began when we asked has to see; None: nobody confirmed it."""
        asked_at, self._asked_at = self._asked_at, None
        if index is not None and asked_at is not None:
            self._awaited = index, asked_at

    def _take(self, applied: int) -> None:
        if self._awaited is not None and applied >= self._awaited[0]:
            self._reach(self._awaited[1])
            self._awaited = None

    def _reach(self, moment: float) -> None:
        self.at = moment if self.at is None else max(self.at, moment)
