"""`RaftReplica`: one replica, as the rest of hamgr sees it (see `port`), on the caller's event loop.

1. A proposal is answered when its own entry is applied *here*. Until then the same bytes are sent again when
   the leader changes, and after a silence; apply knows the request id and obeys once.
2. `NotCommitted` is said only when each submission was refused before it reached a log.
3. A read waits until this replica has applied what the leader had committed when a majority confirmed it
   (ReadIndex; see `protocol.reads`). It puts nothing into the log.
4. Nobody waits for long where there is no leader: who is cut off is told within a second or so.
5. A replica that cannot go on, or whose state cannot be trusted, answers nothing from it.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable

from hamgr.raft import gauges
from hamgr.raft.contact import Contact
from hamgr.raft.engine import Engine
from hamgr.raft.figures import Figures
from hamgr.raft.members import Members
from hamgr.raft.port import Leadership, NoLeader, NotCommitted, Peer
from hamgr.raft.proposals import Proposal, Proposals, entry_of
from hamgr.raft.settings import RaftSettings
from hamgr.raft.stalls import Meter, Watch
from hamgr.raft.waiting import Changes, SharedReads
from hamgr.raft.wire.tls import Credentials
from statemachine.commands import Command
from statemachine.model import State
from statemachine.outcomes import Outcome

REFUSED_PAUSE_S, REFUSED_PAUSE_S_MAX = 0.02, 0.2
"""The wait before a submission that was refused at once is tried again; it grows with each refusal."""
SWEEP_S = 0.1
"""How often the open proposals are looked through for one that is to be sent again."""
READ_AGAIN_S = 0.1
LEADERLESS_S = 1.0
"""An election takes a fraction of this; without a leader for so long, waiting is in vain."""


class RaftReplica:
    """A `Replica`; made, started and stopped on one event loop."""

    def __init__(self, settings: RaftSettings, *, on_failure: Callable[[str], None] | None = None) -> None:
        """Prepare a replica; nothing is opened before `start`.

        Args:
            on_failure: Told once, on the event loop, when the replica had to stop by itself (failing disk,
                broken log); it takes part in nothing any more.
        """
        self._settings = settings
        self._on_failure = on_failure
        self._changes = Changes()
        self._proposals = Proposals()
        self._gathered: list[Proposal] = []
        self._engine = Engine(settings, watched=self._proposals, on_news=self._on_news)
        self._consensus = self._engine.consensus
        self._reads = SharedReads(self._engine.confirm, again_s=READ_AGAIN_S)
        self._meter = Meter("API", settings.timers.stall_s)
        self._watch = Watch(self._meter, 2 * settings.timers.stall_s)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._leaderless: asyncio.TimerHandle | None = None
        self._woken = False
        self._running = False
        self._seen = self._consensus.leadership
        self._failure_told = False
        self.members = Members(self._engine)

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def state(self) -> State:
        return self._consensus.state

    @property
    def version(self) -> int:
        return self._changes.version

    @property
    def leadership(self) -> Leadership:
        return self._consensus.leadership

    @property
    def peers(self) -> tuple[Peer, ...]:
        return self._consensus.roster.peers

    @property
    def staleness_s(self) -> float | None:
        """How old `state` may be; see `Replica.staleness_s`."""
        return self._consensus.freshness.age_s

    @property
    def contact(self) -> Contact | None:
        """This leader's proof that it leads; for any thread."""
        return None if self._closed() else self._consensus.contact

    @property
    def contact_age_s(self) -> float | None:
        """How long ago this leader's majority was heard of; None when it does not lead."""
        contact = self.contact
        return None if contact is None else max(0.0, time.monotonic() - contact.at)

    @property
    def figures(self) -> Figures:
        return gauges.figures_of(
            self._consensus,
            staleness_s=self.staleness_s,
            proposals=len(self._proposals),
            reads=len(self._reads),
            api_stalls=self._meter.stalls,
        )

    async def start(self) -> None:
        """Lock the data folder, take the port and join; see `Replica.start`."""
        self._loop = asyncio.get_running_loop()
        try:
            await asyncio.shield(asyncio.wrap_future(self._engine.start()))
        except asyncio.CancelledError:
            await asyncio.to_thread(self._engine.stop)
            raise
        self._running = True
        self._watch.start()

    async def stop(self) -> None:
        """Hand leadership over if it is here, and close everything."""
        if not self._running:
            return
        self._running = False
        self._watch.stop()
        if self._leaderless is not None:
            self._leaderless.cancel()
        self._close("the replica is stopped")
        await asyncio.to_thread(self._engine.stop)
        self._drain()

    async def propose(self, command: Command, *, timeout_s: float) -> Outcome:
        """Commit `command`; see `Replica.propose`."""
        return await self.propose_entry(entry_of(command), timeout_s=timeout_s)

    async def propose_entry(self, entry: bytes, *, timeout_s: float) -> Outcome:
        """Commit the bytes of a command; as `propose`."""
        refusal = self._consensus.roster.refusal_of(entry)
        if refusal:
            raise NotCommitted(refusal)
        loop = asyncio.get_running_loop()
        proposal = self._proposals.open(entry)
        deadline = loop.call_later(timeout_s, proposal.give_up, f"no answer within {timeout_s:g} s")
        try:
            proposal.pause_s = self._settings.resend_s
            closed = self._closed()
            if closed:
                raise proposal.unanswered(closed)
            if self._sweep is None:
                self._sweep = loop.call_later(SWEEP_S, self._look_through)
            self._send(proposal, loop.time())
            return await proposal.outcome
        finally:
            deadline.cancel()
            self._proposals.close(proposal)

    async def read(self, *, timeout_s: float) -> State:
        """Return a state that holds all that was acknowledged; see `Replica.read`."""
        closed = self._closed()
        if closed:
            raise NoLeader(closed)
        loop = asyncio.get_running_loop()
        reader: asyncio.Future[None] = loop.create_future()
        deadline = loop.call_later(timeout_s, _expire, reader, timeout_s)
        try:
            self._reads.join(reader)
            self._watch_for_leader()
            await reader
        finally:
            deadline.cancel()
        return self._consensus.state

    async def changed(self, version: int) -> int:
        """Wait until `version` is no longer current; return the new one."""
        return await self._changes.after(version)

    def reload(self, credentials: Credentials) -> None:
        """Use other certificates for new links; a bad file is logged and changes nothing."""
        self._engine.reload(credentials)

    def _closed(self) -> str:
        return self._consensus.closed or ("" if self._running else "the replica is stopped")

    def _close(self, why: str) -> None:
        self._proposals.give_up(why)
        self._reads.give_up(lambda: NoLeader(why))

    def _send(self, proposal: Proposal, now: float) -> None:
        if not self._consensus.leadership.leader:
            proposal.due_at = float("inf")  # `_drain` sends it when there is one
            self._watch_for_leader()
            return
        proposal.submissions += 1
        proposal.due_at = now + proposal.pause_s
        proposal.pause_s = min(proposal.pause_s * 2, self._settings.resend_s_max)
        if not self._gathered:  # what else comes in this turn of the loop goes with it: one wake-up for all
            asyncio.get_running_loop().call_soon(self._hand_over)
        self._gathered.append(proposal)

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        self._engine.submit(gathered)

    def _watch_for_leader(self) -> None:
        """See that those who wait without a leader do not wait for long."""
        led = bool(self._consensus.leadership.leader)
        if led and self._leaderless is not None:
            self._leaderless.cancel()
            self._leaderless = None
        elif not led and self._leaderless is None and self._loop is not None:
            self._leaderless = self._loop.call_later(LEADERLESS_S, self._give_up_leaderless)

    def _give_up_leaderless(self) -> None:
        self._leaderless = None
        if self._running and not self._consensus.leadership.leader:
            self._close(f"there was no leader for {LEADERLESS_S:g} s")

    def _look_through(self) -> None:
        """Send again what is due; a leader that is known to have it will bring it about."""
        self._sweep = None
        if not len(self._proposals):
            return
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(SWEEP_S, self._look_through)
        now, term = loop.time(), self._consensus.leadership.term
        for proposal in self._proposals:
            if proposal.due_at <= now and proposal.taken_in_term != term:
                self._send(proposal, now)

    def _retry(self, proposal: Proposal, submissions: int) -> None:
        """Send again what was refused, unless it was sent for another reason since."""
        if not proposal.outcome.done() and proposal.submissions == submissions:
            self._send(proposal, asyncio.get_running_loop().time())

    def _on_news(self) -> None:
        """Have `_drain` called soon; from any thread, cheap when it is under way already."""
        if self._woken or self._loop is None:
            return
        self._woken = True
        with contextlib.suppress(RuntimeError):  # the loop was closed without `stop`: nobody listens
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        """Pass on what the thread of consensus has left for us."""
        self._woken = False  # before looking, so that what comes from now on calls again
        consensus = self._consensus
        version, leadership, closed = consensus.version, consensus.leadership, consensus.closed
        outcomes = consensus.applier.outcomes
        while outcomes:
            self._proposals.settle(*outcomes.popleft())
        while consensus.reads:
            self._reads.answered(*consensus.reads.popleft())
        loop = self._loop
        while consensus.refusals and loop is not None:
            proposal = consensus.refusals.popleft()
            proposal.submissions_refused += 1
            if not proposal.outcome.done():
                pause_s = min(REFUSED_PAUSE_S * proposal.submissions_refused, REFUSED_PAUSE_S_MAX)
                loop.call_later(pause_s, self._retry, proposal, proposal.submissions)
        if closed:
            self._close(closed)
        elif leadership != self._seen and self._running and loop is not None:
            self._reads.stir()
            self._watch_for_leader()
            for proposal in self._proposals:
                self._send(proposal, loop.time())
        self._seen = leadership
        self._changes.raise_to(version)
        if consensus.failure and not self._failure_told and self._on_failure is not None:
            self._failure_told = True
            self._on_failure(consensus.failure)


def _expire(reader: asyncio.Future[None], timeout_s: float) -> None:
    if not reader.done():
        reader.set_exception(NoLeader(f"no leader confirmed the read within {timeout_s:g} s; try again"))
