"""Changes of who belongs to the cluster, as the leader's replica offers them; one at a time.

A replica is added as a learner, gets the log, and is promoted when it has nearly all of it, so that a
majority never waits for one that is still empty (Ongaro's dissertation, section 4.2.1). It is removed in one
step; a leader hands leadership over first and leaves the rest to its successor.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from hamgr.raft.core.core import Core
from hamgr.raft.core.pair import Watch
from hamgr.raft.core.shrinking import Evidence, RollCall
from hamgr.raft.engine import Engine
from hamgr.raft.port import LAG_ENTRIES_MAX, NotCommitted, OutcomeUnknown
from hamgr.raft.protocol.membership import ChangeRefused, Configuration, Member, ReplicaId

T = TypeVar("T")

POLL_S = 0.02


class Members:
    """The members, and how to change them; event loop only."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._consensus = engine.consensus

    @property
    def configuration(self) -> Configuration:
        """What is in force here, committed or not."""
        core = self._consensus.core
        return self._consensus.settings.initial if core is None else core.configuration

    @property
    def settled(self) -> bool:
        """`configuration` is committed, as far as this replica knows."""
        core = self._consensus.core
        return core is not None and core.configuration_index <= core.commit

    async def add_learner(self, member: Member, *, timeout_s: float) -> None:
        """Have `member` get the log; it counts for nothing yet.

        Raises:
            ChangeRefused: Nothing changed; the message says why and what to do.
            OutcomeUnknown: After `timeout_s`; look at the members.
        """
        await self._change(lambda before: before.with_learner(member), time.monotonic() + timeout_s)

    async def promote(self, replica: ReplicaId, *, timeout_s: float) -> None:
        """Make a learner a voter, as soon as it has nearly all of the log; errors as `add_learner`.

        It is one, whoever made it one meanwhile.

        Raises:
            NotCommitted: It has not caught up within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        await self._disarm(timeout_s)
        while True:
            core = self._leading()
            lag = core.lag(replica)
            if core.configuration.member(replica) is None or (lag is not None and lag <= LAG_ENTRIES_MAX):
                break
            if time.monotonic() > deadline:
                heard = "was not heard of" if lag is None else f"still lacks {lag} entries"
                raise NotCommitted(
                    f"replica {replica} {heard} after {timeout_s:g} s; see whether it runs, and try again"
                )
            await asyncio.sleep(POLL_S)
        await self._change(
            lambda before: before if replica in before.voter_ids else before.promoted(replica), deadline
        )

    async def demote(self, replica: ReplicaId, *, timeout_s: float) -> None:
        """Make a voter a learner; errors, and what becomes of a leader, as `remove`."""
        deadline = time.monotonic() + timeout_s
        await self._not_ourselves(replica, timeout_s)
        await self._disarm(timeout_s)
        await self._change(
            lambda before: before if replica in _learner_ids(before) else before.demoted(replica), deadline
        )

    async def remove(self, replica: ReplicaId, *, timeout_s: float) -> None:
        """Remove a member; errors as `add_learner`.

        A leader that is to be removed hands leadership over, and refuses, naming who can remove it now.
        """
        deadline = time.monotonic() + timeout_s
        await self._not_ourselves(replica, timeout_s)
        if replica in self.configuration.voter_ids:
            await self._disarm(timeout_s)
        await self._change(lambda before: before.without(replica), deadline)

    async def let_go(self, evidence: Evidence, *, timeout_s: float) -> None:
        """Make a dead voter a learner, also as a leader that has lost its majority; see `shrinking`.

        Raises:
            ChangeRefused: Nothing changed; the message says why.
            OutcomeUnknown: After `timeout_s`; look at the members.
        """
        deadline = time.monotonic() + timeout_s
        refusal = await self._ask(lambda core: core.shrinking.let_go(evidence), deadline)
        if refusal:
            raise ChangeRefused(refusal)
        while not self.settled:
            if time.monotonic() > deadline:
                raise OutcomeUnknown("the change was not committed in time; look at the members")
            await asyncio.sleep(POLL_S)

    async def arm(self, armed: bool, *, timeout_s: float) -> None:
        """Arm fencing for the two voters, or disarm it; errors as `add_learner`.

        Raises:
            ChangeRefused: One of them does not live, and could not agree.
        """
        deadline = time.monotonic() + timeout_s
        if self.configuration.armed == armed:
            return
        roll = await self.roll_call(timeout_s=timeout_s)
        missing = [
            voter.name for voter in self.configuration.voters if roll is None or voter.id not in roll.alive
        ]
        if missing:
            raise ChangeRefused(
                f"fencing is armed or disarmed by both voters, and {' and '.join(missing)} did not answer; "
                "try again when they do"
            )
        await self._change(lambda before: before.with_fencing(armed), deadline)

    async def may_fence(self, ready: bool, *, timeout_s: float) -> None:
        """Note that this replica has a fencing command, and whether that has passed its last test."""

        def note(core: Core) -> None:
            core.pair.can_fence, core.pair.ready = True, ready

        await self._ask(note, time.monotonic() + timeout_s)

    async def watch(self, *, timeout_s: float) -> Watch | None:
        """Return how the leader of two is, as its follower sees it; None when we are not that."""
        return await self._ask(lambda core: core.pair.watch(), time.monotonic() + timeout_s)

    async def take_over(self, evidence: Evidence, *, timeout_s: float) -> None:
        """Go on without the leader of two, which was fenced; see `pair`.

        Raises:
            ChangeRefused: Nothing changed; the message says why.
            OutcomeUnknown: After `timeout_s`; look at the members.
        """
        refusal = await self._ask(lambda core: core.pair.take_over(evidence), time.monotonic() + timeout_s)
        if refusal:
            raise ChangeRefused(refusal)

    async def roll_call(self, *, timeout_s: float) -> RollCall | None:
        """Return who is here; None when this replica neither leads nor may lead on."""
        return await self._ask(lambda core: core.shrinking.roll_call(), time.monotonic() + timeout_s)

    async def transfer(self, to: ReplicaId | None, *, timeout_s: float) -> None:
        """Hand leadership to `to`, by default to whoever has most of the log; returns when it is gone.

        Raises:
            ChangeRefused: This replica does not lead.
            NotCommitted: Nobody took over within `timeout_s`; this replica leads on.
        """
        deadline = time.monotonic() + timeout_s
        term = self._leading().term
        while True:
            leadership = self._consensus.leadership
            if leadership.term != term and (leadership.leader or not leadership.leads):
                return
            if time.monotonic() > deadline:
                whom = "no voter" if to is None else f"replica {to}"
                raise NotCommitted(f"{whom} could take over within {timeout_s:g} s; see whether it runs")
            self._engine.ask(lambda core: _ask_away(core, to))
            await asyncio.sleep(POLL_S)

    async def _disarm(self, timeout_s: float) -> None:
        """Disarm fencing before a voter comes or goes."""
        if self._leading().configuration.armed:
            await self.arm(False, timeout_s=timeout_s)

    def _leading(self) -> Core:
        core, leadership = self._consensus.core, self._consensus.leadership
        if core is None or not leadership.leads:
            raise ChangeRefused(f"this replica does not lead; ask {leadership.leader or 'the leader'}")
        return core

    async def _not_ourselves(self, replica: ReplicaId, timeout_s: float) -> None:
        if replica == self._consensus.settings.me and len(self._leading().configuration.voters) > 1:
            await self.transfer(None, timeout_s=timeout_s)
            raise ChangeRefused(
                f"a leader cannot remove itself, so {self._consensus.settings.name} handed leadership over; "
                f"ask {self._consensus.leadership.leader or 'the next leader'} to remove it"
            )

    async def _ask(self, question: Callable[[Core], T], deadline: float) -> T:
        """Return what `question` answers on the thread of consensus."""
        answer: Future[T] = _future()

        def request(core: Core) -> None:
            try:
                answer.set_result(question(core))
            except (ChangeRefused, ValueError) as error:
                answer.set_exception(ChangeRefused(str(error)))

        self._engine.ask(request)
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await asyncio.wrap_future(answer)
        except TimeoutError:
            raise OutcomeUnknown("the consensus did not answer in time; look at the members") from None

    async def _change(self, change: Callable[[Configuration], Configuration], deadline: float) -> None:
        while (refusal := await self._try_to(change, deadline)) is None:
            if time.monotonic() > deadline:
                raise NotCommitted("another change of the members is under way; try again when it is done")
            await asyncio.sleep(POLL_S)
        if refusal:
            raise ChangeRefused(refusal)

    async def _try_to(self, change: Callable[[Configuration], Configuration], deadline: float) -> str | None:
        """Return why a change was refused, "" when it is committed, None when the leader is not ready yet."""
        self._leading()
        answer: Future[str | None] = _future()
        taken = False

        def request(core: Core) -> None:
            nonlocal taken
            elected_now = core.leads and core.log.term_at(core.commit) != core.term
            if elected_now or core.configuration_index > core.commit:
                answer.set_result(None)
                return
            try:
                after = change(core.configuration)
                if after == core.configuration:
                    answer.set_result("")
                    return
                core.change(after, answer.set_result)
                taken = not answer.done()
            except (ChangeRefused, ValueError) as error:
                answer.set_result(str(error))

        self._engine.ask(request)
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                refusal = await asyncio.wrap_future(answer)
        except TimeoutError:
            raise OutcomeUnknown("the change was not committed in time; look at the members") from None
        if refusal and taken:  # it is in the log, and who leads now decides what becomes of it
            raise OutcomeUnknown(refusal)
        return refusal


def _learner_ids(configuration: Configuration) -> frozenset[ReplicaId]:
    return configuration.ids - configuration.voter_ids


def _future() -> Future[Any]:
    """Return a future that whoever waits for it cannot cancel: its answer may come after they gave up."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def _ask_away(core: Core, to: ReplicaId | None) -> None:
    core.transfer(to)
