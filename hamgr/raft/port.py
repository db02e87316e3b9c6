"""The replica as the rest of hamgr sees it: propose, read, state, changed, leadership.

1. `propose` answers the outcome of a command that is committed, whichever replica is asked. Sent again
   with the same request id, a command takes effect once and is answered alike.
2. When it cannot answer it says what is known: `NotCommitted` (it will never take effect) or
   `OutcomeUnknown` (it may have, or may still: send it again, unchanged).
3. `read` is linearizable: it sees every command that was acknowledged before the call. `state` is what
   this replica has applied so far, and may lag behind.
4. `leadership` is a hint and may be wrong for a moment; safety rests on claims and epochs alone.
"""

from dataclasses import dataclass
from typing import Protocol

from hamgr.raft.figures import Figures
from hamgr.raft.protocol.membership import Configuration, Member, ReplicaId
from statemachine.commands import Command
from statemachine.model import State
from statemachine.outcomes import Outcome

LAG_ENTRIES_MAX = 64
"""A learner that lacks no more than this has caught up: it gets the rest while it is promoted."""


class ConsensusError(Exception):
    """The cluster could not give an outcome; the message is one sentence with the way out."""


class NotCommitted(ConsensusError):
    """The command was not taken into the log and never will be; nothing changed."""


class OutcomeUnknown(ConsensusError):
    """The command may or may not have been committed; send it again with the same request id."""


class NoLeader(ConsensusError):
    """A read could not be confirmed: no leader with a quorum was found in time."""


class CannotStart(Exception):
    """The replica did not start and changed nothing; the message names the obstacle and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leadership:
    """Who leads, as far as this replica knows.

    Attributes:
        term: Raft's term, rising; a replica that leads twice leads in different terms, unless it only lost
            its majority, and leads on when the dead count no more (see `shrinking`).
        leader: Name of the leading replica; empty when none is known.
        leads: This replica is the leader.
    """

    term: int
    leader: str
    leads: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A replica of the cluster as this one sees it.

    Attributes:
        api: Base URL of its HTTP API.
        connected: This replica has a working link to it.
    """

    name: str
    api: str
    connected: bool


class Replica(Protocol):
    """One replica of the state."""

    @property
    def name(self) -> str: ...

    @property
    def state(self) -> State:
        """What this replica has applied so far."""

    @property
    def version(self) -> int:
        """Rises with every applied command and every change of leadership; this process only."""

    @property
    def leadership(self) -> Leadership: ...

    @property
    def peers(self) -> tuple[Peer, ...]:
        """The other replicas."""

    @property
    def staleness_s(self) -> float | None:
        """How old `state` may be: all that was committed so many seconds ago is in it; None: unknown."""

    @property
    def figures(self) -> Figures:
        """What there is to measure, as of now."""

    async def propose(self, command: Command, *, timeout_s: float) -> Outcome:
        """Commit `command` and answer its outcome.

        Raises:
            NotCommitted, OutcomeUnknown: After at most `timeout_s`.
        """

    async def read(self, *, timeout_s: float) -> State:
        """Return a state that contains everything acknowledged before this call.

        Raises:
            NoLeader: After at most `timeout_s`.
        """

    async def changed(self, version: int) -> int:
        """Wait until `version` is no longer current; return the new one."""

    async def start(self) -> None:
        """Join the cluster; returns before a leader is known.

        Raises:
            CannotStart: Stored state, folder or port cannot be used.
        """

    async def stop(self) -> None:
        """Leave the cluster's work to the others; pending proposals end in `OutcomeUnknown`."""


class Membership(Protocol):
    """Who belongs to the cluster, and how to change it; only the leader's replica can, one change at a time.

    Each method may be called again after each error, and raises, after at most `timeout_s`:
        ChangeRefused: Nothing changed; the message says why. Or another replica leads now.
        NotCommitted: Nothing changed; it may be possible later.
        OutcomeUnknown: Look at `configuration`.
    """

    @property
    def configuration(self) -> Configuration:
        """What is in force here, committed or not."""

    @property
    def settled(self) -> bool:
        """`configuration` is committed, as far as this replica knows."""

    async def add_learner(self, member: Member, *, timeout_s: float) -> None:
        """Have `member` get the log; it counts for nothing yet."""

    async def promote(self, replica: ReplicaId, *, timeout_s: float) -> None:
        """Make a learner a voter, as soon as it has nearly all of the log."""

    async def demote(self, replica: ReplicaId, *, timeout_s: float) -> None:
        """Make a voter other than the leader a learner."""

    async def remove(self, replica: ReplicaId, *, timeout_s: float) -> None:
        """Remove a member other than the leader."""

    async def transfer(self, to: ReplicaId | None, *, timeout_s: float) -> None:
        """Hand leadership to `to`, by default to whoever has most of the log; returns when it is gone."""
