"""How old a replica's state is: everything that was committed before some moment is known to be in it.

1. A leader knows it from its majority: whoever follows us at a moment has let nobody else commit before it.
2. A follower knows it from its leader, whose majority may have been gone for `quorum_lost_s` when it spoke.
3. Both only after an entry of the present term is committed: until then a leader does not know what those
   before it have committed (Raft, section 8).
4. Moments are of this replica's own clock; nobody's clock is compared with another's.
"""

from collections.abc import Callable
from typing import Protocol

from hamgr.raft.protocol.raft import Log


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


class Freshness:
    """Watches one replica; written by its thread, read by any.

    Attributes:
        at: Everything that was committed before this moment is in the state; None when nothing is known.
    """

    def __init__(self, clock: Callable[[], float], quorum_lost_s: float) -> None:
        self.at: float | None = None
        self._clock = clock
        self._quorum_lost_s = quorum_lost_s
        self._said: tuple[int, float] | None = None

    @property
    def age_s(self) -> float | None:
        """How old the state may be."""
        return None if self.at is None else max(0.0, self._clock() - self.at)

    def leader_said(self, commit: int) -> None:
        """Note how far the leader of this term has committed, as it says just now."""
        self._said = commit, self._clock()

    def look(self, core: Core) -> None:
        """Draw the consequences, after everything that could be was applied."""
        if core.log.term_at(core.commit) != core.term:
            return
        if core.leads:
            age_s = core.quorum_age_s()
            if age_s is not None and core.applied == core.commit:
                self._reach(self._clock() - age_s)
        elif self._said is not None and core.applied >= self._said[0]:
            self._reach(self._said[1] - self._quorum_lost_s)

    def _reach(self, moment: float) -> None:
        self.at = moment if self.at is None else max(self.at, moment)
