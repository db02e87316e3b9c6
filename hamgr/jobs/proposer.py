"""Commands of the replica itself: made with an id and a time, and repeated until their outcome is known."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from hamgr.clock import Clock
from hamgr.raft.port import NotCommitted, OutcomeUnknown, Replica
from statemachine.commands import Command
from statemachine.outcomes import Outcome
from statemachine.words import RequestId

PROPOSAL_TIMEOUT_S = 10.0
PAUSE_S = 0.1

C = TypeVar("C")


class NotInCharge(Exception):
    """This replica does not lead any more; whoever does goes on with the work."""


class Proposer:
    """Proposes in the name of one replica."""

    def __init__(self, *, replica: Replica, clock: Clock, new_id: Callable[[], str]) -> None:
        self._replica = replica
        self._clock = clock
        self._new_id = new_id

    def by(self, clock: Clock) -> "Proposer":
        """Return one that stamps by another clock."""
        return Proposer(replica=self._replica, clock=clock, new_id=self._new_id)

    def make(self, command: Callable[..., C], **fields: Any) -> C:
        """Return a new command of the type `command`, stamped with id, time and actor."""
        return command(
            request_id=RequestId(self._new_id()),
            at=self._clock.now(),
            actor=f"replica {self._replica.name}",
            **fields,
        )

    async def settle(self, command: Command) -> Outcome:
        """Propose `command`, the same one again and again, until its outcome is known.

        Raises:
            NotInCharge: This replica lost the lead before it knew. The command may have been committed;
                the next leader sees that in the state.
        """
        while True:
            if not self._replica.leadership.leads:
                raise NotInCharge
            try:
                return await self._replica.propose(command, timeout_s=PROPOSAL_TIMEOUT_S)
            except (OutcomeUnknown, NotCommitted):
                await asyncio.sleep(PAUSE_S)
