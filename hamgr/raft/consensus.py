"""One replica's consensus on one event loop: the turns of its core, its links, and what others may see of it.

A turn has two halves. First the core says what needs no sync (entries to followers), and the loop turns once
so that they are on the wire while our disk works; then it syncs, keeps its promises, commits and applies.
Whatever arrives meanwhile shares the next sync.

1. Between two turns nothing runs: the next one is due when something comes or the core has something to do.
2. What others may see is exchanged as a whole, and after it has changed `on_news` is called, once a turn.
3. After an error of the disk, or one that nobody thought of, memory and disk may disagree. `failure` says
   why, there are no more turns, and nothing that was not promised before leaves any more.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Container, Mapping
from typing import Any

from hamgr.raft.applier import Applier
from hamgr.raft.contact import Contact, contact_of
from hamgr.raft.core.core import Core
from hamgr.raft.figures import Histogram
from hamgr.raft.freshness import Freshness
from hamgr.raft.keeping import Keeper
from hamgr.raft.opening import FATAL, core_of, hello_of
from hamgr.raft.port import Leadership
from hamgr.raft.protocol.membership import Member, ReplicaId
from hamgr.raft.protocol.messages import BadMessage, Message
from hamgr.raft.roster import Roster
from hamgr.raft.settings import RaftSettings
from hamgr.raft.stalls import Meter
from hamgr.raft.store import identity
from hamgr.raft.store.folder import Folder
from hamgr.raft.wire.links import Links
from statemachine.model import State

logger = logging.getLogger(__name__)

NOBODY = Leadership(term=0, leader="", leads=False)
HANDOVER_S_MAX = 0.3
RECEIVING_S = 1.0
"""A snapshot of which no piece came for so long is not coming any more."""
FOLLOWER_RESTS = 4
"""Heartbeats for which a follower need not get up by itself; those that come get it up."""
DELAY_S_MIN = 0.001
"""What the loop's timers can tell apart."""


class Consensus:
    """Owns the data folder, the core, the links and the state, from `open` to `close`.

    Attributes:
        leadership, failure: As in `port`.
        version: Rises with everything that others may see.
        reads: Numbers of reads, and whether they may be answered from the state now; for whoever asked.
        refusals: What was given to `refuse`; for whoever gave it.
        requests: Called with the core, in order, before the next turn.
    """

    def __init__(
        self, settings: RaftSettings, *, watched: Container[bytes], on_news: Callable[[], None]
    ) -> None:
        """Prepare only.

        Args:
            watched: Entries whose outcomes somebody waits for; they appear in `applier.outcomes`.
        """
        self.settings = settings
        self.leadership = NOBODY
        self.failure = ""
        self.contact: Contact | None = None
        self.version = 0
        self.reads: deque[tuple[int, bool]] = deque()
        self.refusals: deque[Any] = deque()
        self.requests: deque[Callable[[Core], None]] = deque()
        self.freshness = Freshness(time.monotonic)
        self.leader_changes = 0
        self.sync = Histogram()
        self.meter = Meter("consensus", settings.timers.stall_s)
        self.roster = Roster(settings.me, settings.name)
        self.keeper = Keeper(settings, stir=self.stir)
        self.applier = Applier(
            watched=watched,
            counted=self.keeper.count,
            restored=self._restored,
            take_digest=self.keeper.take_digest,
        )
        self.core: Core | None = None
        self.links: Links | None = None
        self.over = asyncio.Event()
        self._folder: Folder | None = None
        self._on_news = on_news
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turning = False
        self._sent = False
        self._changed = False
        self._version_applied = 0
        self._piece_at = float("-inf")
        self._reads_waiting: deque[tuple[int, int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    @property
    def state(self) -> State:
        return self.applier.state

    @property
    def closed(self) -> str:
        """Why nothing is served here; empty when it is."""
        return self.failure or self.applier.blocked or self.keeper.diverged

    @property
    def receiving(self) -> bool:
        """A snapshot is coming in."""
        return time.monotonic() - self._piece_at < RECEIVING_S

    async def open(self) -> None:
        """Lock the folder, take the port, and begin.

        Raises:
            CannotStart: Nothing is held; what is stored was not changed.
        """
        self._loop = asyncio.get_running_loop()
        settings = self.settings
        own = identity.load(settings.data_dir, cluster=settings.cluster, replica=settings.me)
        self._folder = folder = Folder(settings.data_dir)
        try:
            own = identity.begin(settings.data_dir, own)
            self.keeper.open(folder)
            self.links = Links(
                own=hello_of(own, settings.version),
                address=settings.address,
                credentials=settings.credentials,
                receive=self._receive,
                up=self._up,
                down=self._down,
                settings=settings.links,
            )
            await self.links.start()
            self.core = self.keeper.core = core_of(
                settings,
                folder,
                own,
                network=self,
                machine=self.applier,
                observe_sync=self.sync.observe,
            )
        except BaseException:
            await self.close()
            raise
        self._look_at_peers()
        self.turn()

    async def leave(self) -> None:
        """Hand leadership over, and note how far is committed, unless the disk has failed."""
        core = self.core
        if core is None or self.failure:
            return
        try:
            deadline = time.monotonic() + HANDOVER_S_MAX
            core.renounce("it is stopping")  # takes no more commands, and gives leadership away
            while core.leads and len(core.configuration.voters) > 1 and time.monotonic() < deadline:
                self.turn()
                await asyncio.sleep(HANDOVER_S_MAX / 30)
            if not self.failure:
                core.conclude()
        except FATAL as error:
            self._fail(error)

    async def close(self) -> None:
        """Close everything; what was not synced is as good as never received."""
        core, self.core = self.core, None
        if self._timer is not None:
            self._timer.cancel()
        if self.links is not None:
            await self.links.close()
        self.keeper.close()
        if core is not None:
            core.close()
        if self._folder is not None:
            self._folder.close()
        self.leadership = Leadership(term=self.leadership.term, leader="", leads=False)
        self.roster.gone()
        self.version += 1
        self._on_news()

    def _fail(self, error: Exception) -> None:
        """Stop taking part, now."""
        name = self.settings.name
        if isinstance(error, FATAL):
            self.failure = str(error)
            logger.error("replica %s stops: %s", name, error)
        else:
            self.failure = f"consensus failed: {type(error).__name__}"
            logger.error("replica %s stops: its consensus failed", name, exc_info=error)
        self.over.set()

    # Turns.

    def stir(self) -> None:
        """Have a turn soon."""
        if not self._turning and self._loop is not None:
            self._turning = True
            self._loop.call_soon(self.turn)

    def serve(self) -> None:
        """Have a turn now for what is in `requests`, unless one is under way."""
        if not self._turning:
            self.turn()

    def turn(self) -> None:
        """Do what needs no sync, let the loop send it, and then settle."""
        core, loop = self.core, self._loop
        self._turning = False
        if core is None or loop is None or self.failure:
            return
        try:
            while self.requests:
                self.requests.popleft()(core)
            self._sent = False
            core.advance()
        except Exception as error:  # noqa: BLE001 - whatever it is, this replica must stop
            self._fail(error)
            return
        if self._sent:
            self._turning = True
            loop.call_soon(self._settle)
        else:
            self._settle()

    def _settle(self) -> None:
        core = self.core
        self._turning = False
        if core is None or self.failure:
            return
        try:
            more = core.settle()
            self.keeper.advance()
            self._look(core)
            self._arm(core)
        except Exception as error:  # noqa: BLE001 - whatever it is, this replica must stop
            self._fail(error)
            return
        if more or self.requests:
            self.stir()

    def _look(self, core: Core) -> None:
        """Publish what has changed in this turn."""
        before, leader = self.leadership, self.roster.name_of(core.leader)
        if (before.term, before.leader, before.leads) != (core.term, leader, core.leads):
            self.leader_changes += bool(leader) and before.leader != leader
            self.leadership = Leadership(term=core.term, leader=leader, leads=core.leads)
            self._changed = True
        self.freshness.look(core)
        self.contact = contact_of(core, time.monotonic())
        while self._reads_waiting and self._reads_waiting[0][0] <= self.applier.index:
            self.reads.append((self._reads_waiting.popleft()[1], True))
        if self._version_applied != self.applier.version:
            self._version_applied = self.applier.version
            self._changed = True
        if self._changed or self.reads or self.refusals:
            self._changed = False
            self.version += 1
            self._on_news()
        if self.closed and not core.renounced:
            core.renounce(self.closed)
            logger.error("replica %s serves nothing: %s", self.settings.name, self.closed)

    def _arm(self, core: Core) -> None:
        """Have a turn when the core needs one, and a leader each heartbeat: it may have lost its majority."""
        now = time.monotonic()
        longest_s = self.settings.timers.heartbeat_s * (1 if core.leads else FOLLOWER_RESTS)
        due = min(max(core.next_at(), now + DELAY_S_MIN), now + longest_s)
        if self._loop is None or due >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._loop.call_later(due - now, self._ring)

    def _ring(self) -> None:
        self.meter.note(time.monotonic() - self._timer_at)
        self._timer, self._timer_at = None, float("inf")
        self.serve()

    # Requests.

    def refuse(self, what: object) -> None:
        """Leave `what` in `refusals`."""
        self.refusals.append(what)

    def confirmed(self, number: int, index: int | None) -> None:
        """Take the index that read `number` has to wait for; None: nobody confirmed one."""
        if index is None or index <= self.applier.index:
            self.reads.append((number, index is not None))
        else:
            self._reads_waiting.append((index, number))

    # The core's network.

    def send(self, to: ReplicaId, message: Message) -> None:
        """Send to a peer; see `collaborators.Network`."""
        self._sent = True
        if self.links is not None and not self.failure:
            self.links.send(to, message)

    def reconcile(self, members: Mapping[ReplicaId, Member]) -> None:
        """Keep links to these; see `collaborators.Network`."""
        self.roster.adopt(members)
        if self.links is not None:
            self.links.reconcile(members)
        self._look_at_peers()

    # The links.

    def _receive(self, sender: ReplicaId, message: Any) -> None:
        core = self.core
        if core is None or self.failure:
            return
        try:
            refusal = self.roster.answer_to(message)
            if refusal is None:
                core.receive(sender, message)
            else:
                core.send(sender, refusal)
        except BadMessage:
            core.counters["bad_messages"] += 1
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, this replica must stop
            self._fail(error)
            return
        kind = message["type"]
        if kind == "snapshot_piece":
            self._piece_at = time.monotonic()
        elif (
            kind == "next_node_idx" and core.commit == core.applied == core.log.last and not core.lag(sender)
        ):
            return  # a follower that has all says that it is still there: a leader at rest need not get up
        self.stir()

    def _up(self, peer: ReplicaId) -> None:
        if self.core is not None:
            self.core.peer_up(peer)
        self._look_at_peers()
        self.stir()

    def _down(self, peer: ReplicaId, refused: bool) -> None:
        if self.core is not None:
            self.core.peer_down(peer, refused=refused)
        self._look_at_peers()
        self.stir()

    def _look_at_peers(self) -> None:
        core, links = self.core, self.links
        up = () if core is None else [peer for peer in core.configuration.ids if core.is_up(peer)]
        self.roster.look(up, {} if links is None else links.hellos)
        self._changed = True

    # The state.

    def _restored(self) -> None:
        self._piece_at = float("-inf")
        self.keeper.restored(self.applier.index)
        if self.core is not None and self.core.renounced and not self.closed:
            self.core.renounced = ""
            logger.warning("replica %s has the leader's state and serves again", self.settings.name)
