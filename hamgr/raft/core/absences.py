"""A replica that stood still must not take its own absence for the silence of the others.

Its process was frozen, its machine paused, or its disk did not answer for longer than an election takes.
What the others said meanwhile waits in its sockets, or is on its way: with the machines of one computer, or
with one storage behind all of them, all stand still at once, and nobody has failed.

1. A follower that was away hears once more before it doubts its leader.
2. A leader that was away does not count the time as silence of its followers; it steps down as soon as it
   has been without a majority for `quorum_lost_s` of its own presence.
3. Nothing else changes: reads, writes and the virtual address need answers to what was asked afterwards, and
   whoever was present may elect another leader meanwhile.
"""

from collections.abc import Callable

from hamgr.raft.core.whole import Whole
from hamgr.raft.protocol.election import Timers


class Absences:
    """What one replica knows of its own."""

    def __init__(self, core: Whole, timers: Timers) -> None:
        self._core = core
        self._bearable_s = timers.election_s_min / 2

    def look(self) -> None:
        """Find out, at the beginning of a turn, whether it is late."""
        self._were(self._core.now() - self._core.next_at())

    def during(self, work: Callable[[], object]) -> None:
        """Do something that can take long."""
        began = self._core.now()
        work()
        self._were(self._core.now() - began)

    def _were(self, absence_s: float) -> None:
        if absence_s > self._bearable_s:
            self._core.counters["absences"] += 1
            self._core.library.excuse(absence_s)
            self._core.election.excuse(self._core.now())
