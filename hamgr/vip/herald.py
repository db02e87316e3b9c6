"""Tells watchers of moves of the address, as events of the cluster.

1. It runs beside the holder, and only reads what that has noted: nothing waits for it, least of all a drop.
2. The replica that took the address tells of the move. One that let it go tells only if it still leads and
   does not have it back within `SETTLE_S`. So a move is one event.
3. At most one event every `EVERY_S`: an address that comes and goes must not fill the log. What was skipped
   is counted in the next one. What nobody could be told of is not repeated.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from hamgr.jobs.proposer import NotInCharge
from hamgr.raft.port import ConsensusError, Replica
from hamgr.vip.moves import Move

LOOK_S = 0.5
SETTLE_S = 3.0
EVERY_S = 10.0
TAKEN, DROPPED = "vip-taken", "vip-dropped"
"""Kinds of `ReportReplica`."""

log = logging.getLogger(__name__)


class Holding(Protocol):
    """What is read of the holder."""

    @property
    def move(self) -> Move | None: ...


class Herald:
    """One replica's word on its address."""

    def __init__(
        self,
        holder: Holding,
        replica: Replica,
        *,
        what: str,
        tell: Callable[[str, str], Awaitable[object]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare only.

        Args:
            what: The addresses and their interface, in words.
            tell: Makes an event of a kind and a message.
            now: The clock of `Move.at`, in seconds.
        """
        self._holder, self._replica, self._what = holder, replica, what
        self._tell, self._now = tell, now
        self._told = 0
        self._not_before = float("-inf")

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Tell of the newest move, if that is due."""
        move, now = self._holder.move, self._now()
        if move is None or move.number == self._told:
            return
        if not self._replica.leadership.leads:
            if not move.held:
                self._told = move.number  # whoever takes it tells
            return
        if now < self._not_before or (not move.held and now < move.at + SETTLE_S):
            return
        skipped, self._told = move.number - self._told - 1, move.number
        self._not_before = now + EVERY_S
        kind, message = self._words(move, skipped)
        try:
            await self._tell(kind, message)
        except (NotInCharge, ConsensusError) as error:
            log.info("nobody could be told that %s: %s", message, error)

    def _words(self, move: Move, skipped: int) -> tuple[str, str]:
        name = self._replica.name
        if move.held:
            former = self._former()
            before = f"; before, {former} had it" if former not in ("", name) else ""
            kind, message = TAKEN, f"{name} has {self._what}: {move.why}{before}"
        else:
            kind, message = DROPPED, f"{name} let {self._what} go: {move.why}"
        # A taking and the letting go before it are one move.
        more = (
            f"; it was taken and let go {skipped // 2} times more since the last word" if skipped > 1 else ""
        )
        return kind, message + more

    def _former(self) -> str:
        """Return who was the last to tell that it has the address; empty when nobody did lately."""
        kind = f"replica.{TAKEN}"
        events = reversed(self._replica.state.events)
        return next((event.subject for event in events if event.kind == kind), "")
