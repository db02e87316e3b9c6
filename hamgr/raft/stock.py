"""`StockReplica`: one replica on pysyncobj as it is shipped, fenced in (see `settings` for its limits).

1. A proposal is answered when its own entry is applied *here*. Until then the same bytes are sent again,
   after silence or a change of leader; apply knows the request id and obeys once.
2. `NotCommitted` is said only when each submission was refused before it reached a log.
3. Reads are barriers in the log, shared by all readers that came before it was sent.
"""

import asyncio
import contextlib
import itertools
import secrets
from collections import deque
from collections.abc import Callable

from hamgr.raft.driver import Driver
from hamgr.raft.figures import Figures, PeerFigures
from hamgr.raft.old_core import NOT_TAKEN
from hamgr.raft.old_proposals import Proposal, Proposals, entry_of
from hamgr.raft.port import Leadership, NoLeader, NotCommitted, OutcomeUnknown, Peer
from hamgr.raft.settings import StockSettings
from hamgr.raft.waiting import Changes, SharedBarrier
from statemachine import codec
from statemachine.commands import Barrier, Command
from statemachine.model import State
from statemachine.outcomes import Outcome
from statemachine.words import RequestId

REFUSED_PAUSE_S = 0.02
"""The wait before a submission that was refused at once is tried again."""


class StockReplica:
    """A `Replica`; made, started and stopped on one event loop."""

    def __init__(self, settings: StockSettings, *, on_failure: Callable[[str], None] | None = None) -> None:
        """Prepare a replica; nothing is opened before `start`.

        Args:
            on_failure: Told once, on the event loop, when the replica had to stop by itself (damaged
                snapshot, failing disk); it takes part in nothing any more.
        """
        self._settings = settings
        self._on_failure = on_failure
        self._changes = Changes()
        self._proposals = Proposals()
        self._refusals: deque[Proposal] = deque()
        self._barrier = SharedBarrier(self._send_barrier)
        self._barrier_ids = (f"read-{secrets.token_hex(8)}-{number}" for number in itertools.count(1))
        self._driver = Driver(settings, watched=self._proposals, on_news=self._on_news)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = False
        self._running = False
        self._seen = self._driver.leadership
        self._failure_told = False

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def state(self) -> State:
        return self._driver.state

    @property
    def version(self) -> int:
        return self._changes.version

    @property
    def leadership(self) -> Leadership:
        return self._driver.leadership

    @property
    def peers(self) -> tuple[Peer, ...]:
        connected = self._driver.connected
        return tuple(
            Peer(name=name, api=api, connected=address in connected)
            for name, (address, api) in self._settings.peers.items()
        )

    @property
    def staleness_s(self) -> float | None:
        """The stock library does not tell."""
        return None

    @property
    def figures(self) -> Figures:
        leadership = self.leadership
        return Figures(
            term=leadership.term,
            leader=leadership.leader,
            leads=leadership.leads,
            voters=tuple(sorted((self.name, *self._settings.peers))),
            peers={peer.name: PeerFigures(connected=peer.connected) for peer in self.peers},
            warning=self._driver.failure,
        )

    async def start(self) -> None:
        """Lock the data folder, take the port and join; see `Replica.start`."""
        self._loop = asyncio.get_running_loop()
        try:
            await asyncio.shield(asyncio.wrap_future(self._driver.start()))
        except asyncio.CancelledError:
            await asyncio.to_thread(self._driver.stop)
            raise
        self._running = True

    async def stop(self) -> None:
        """Hand leadership over if it is here, and close everything."""
        if not self._running:
            return
        self._running = False
        self._proposals.stir()
        await asyncio.to_thread(self._driver.stop)
        self._drain()

    async def propose(self, command: Command, *, timeout_s: float) -> Outcome:
        """Commit `command`; see `Replica.propose`."""
        return await self.propose_entry(entry_of(command), timeout_s=timeout_s)

    async def propose_entry(self, entry: bytes, *, timeout_s: float) -> Outcome:
        """Commit the bytes of a command; as `propose`."""
        with self._proposals.open(entry) as proposal:
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._insist(proposal)
            except TimeoutError:
                raise proposal.unanswered(f"no answer within {timeout_s:g} s") from None

    async def read(self, *, timeout_s: float) -> State:
        """Return a state that holds all that was acknowledged; see `Replica.read`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._barrier.pass_through()
        except TimeoutError:
            raise NoLeader(f"no leader confirmed the read within {timeout_s:g} s; try again") from None
        except (NotCommitted, OutcomeUnknown) as error:
            raise NoLeader(str(error)) from error
        return self.state

    async def changed(self, version: int) -> int:
        """Wait until `version` is no longer current; return the new one."""
        return await self._changes.after(version)

    async def _send_barrier(self) -> None:
        command = Barrier(request_id=RequestId(next(self._barrier_ids)), at=0.0, actor=self.name)
        with self._proposals.open(codec.encode_command(command)) as proposal:
            await self._insist(proposal)

    async def _insist(self, proposal: Proposal) -> Outcome:
        """Submit until there is an outcome; ends only by that, by cancellation, or when we stop."""
        silence_s = self._settings.resend_s
        while proposal.outcome is None:
            if not self._running or self._driver.failure:
                raise proposal.unanswered(self._driver.failure or "the replica is stopped")
            leadership = self.leadership
            if not leadership.leader:
                await proposal.stirred()
                continue
            refused = proposal.submissions_refused
            proposal.submissions += 1
            self._driver.submit(proposal.entry, self._answer_to(proposal))
            while (
                proposal.outcome is None
                and refused == proposal.submissions_refused
                and leadership == self.leadership
                and self._running
            ):
                if not await proposal.stirred_within(silence_s):
                    silence_s = min(silence_s * 2, self._settings.resend_s_max)
                    break
            if refused != proposal.submissions_refused:
                await asyncio.sleep(REFUSED_PAUSE_S)
        return proposal.outcome

    def _answer_to(self, proposal: Proposal) -> Callable[[object, int], None]:
        def answer(_result: object, reason: int) -> None:
            if reason in NOT_TAKEN:
                self._refusals.append(proposal)
                self._on_news()

        return answer

    def _on_news(self) -> None:
        """Have `_drain` called soon; from any thread, cheap when it is under way already."""
        if self._woken or self._loop is None:
            return
        self._woken = True
        with contextlib.suppress(RuntimeError):  # the loop was closed without `stop`: nobody listens
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        """Pass on what the raft thread has left for us."""
        self._woken = False  # before looking, so that what comes from now on calls again
        driver = self._driver
        version, leadership = driver.version, driver.leadership
        while driver.applied:
            entry, outcome = driver.applied.popleft()
            self._proposals.settle(entry, codec.decode_outcome(outcome))
        while self._refusals:
            proposal = self._refusals.popleft()
            proposal.submissions_refused += 1
            proposal.stir()
        if leadership != self._seen or driver.failure:
            self._seen = leadership
            self._proposals.stir()
        self._changes.raise_to(version)
        if driver.failure and not self._failure_told and self._on_failure is not None:
            self._failure_told = True
            self._on_failure(driver.failure)
