"""pysyncobj's SyncObj behind a typed class: the one place that touches its private parts.

1. One kind of entry reaches us, as bytes; `obey` gets each committed one once, in the order of the log.
   Entries of any other kind are passed over. The library retries an entry that raises for ever and
   applies nothing after it, so nothing here raises.
2. While a snapshot is being received the commit index stays where it is. (The library would commit, and
   answer as done, whatever a deposed leader still had in its log.)
3. Nothing is applied, and no promise leaves (see `outbox`), before the journal has been synced. It is synced
   when somebody waits for that, or before we wait for others: many entries share one sync.
4. An entry that we have already is not taken back because it is sent again. (The library cuts its log at
   whatever a message begins with, and so forgets what it has acknowledged.)
5. News leave at once, but never while a follower still owes an answer, since overlapping messages make
   the library's follower cut its log back. Waiting for the period instead costs 60 ms a command;
   `appendEntriesUseBatch=False` sends at once and overlaps.

What we override or read of the library is named `_SyncObj__...` below; a test pins the files by hash.
"""

import os
import secrets
import threading
from collections.abc import Callable
from typing import Any

from pysyncobj import SyncObj, SyncObjConf
from pysyncobj import syncobj as library
from pysyncobj.poller import POLL_EVENT_TYPE
from pysyncobj.transport import TCPTransport
from pysyncobj.version import VERSION

from hamgr.raft.exchange import Exchange
from hamgr.raft.outbox import Outbox
from hamgr.raft.protocol.overlap import spare_known_entries
from hamgr.raft.settings import StockSettings
from hamgr.raft.store.folder import Folder, Snapshot
from hamgr.raft.store.journal import Journal
from statemachine.codec import COMMAND_BYTES_MAX
from statemachine.model import State

LIBRARY_VERSION = "0.3.17"
if VERSION != LIBRARY_VERSION:
    raise ImportError(
        f"pysyncobj {VERSION} is installed, but hamgr was tested with {LIBRARY_VERSION} only; "
        f"install pysyncobj=={LIBRARY_VERSION}"
    )

QUEUE_MAX = 10_000
"""Proposals waiting for the next tick."""
NEVER = 2**62
_REGULAR = 0
_LOST_QUEUE_FULL, _LOST_NO_LEADER, _LOST_NOT_LEADER, _LOST_DENIED = 1, 2, 4, 6
NOT_TAKEN = frozenset({_LOST_QUEUE_FULL, _LOST_NO_LEADER, _LOST_NOT_LEADER, _LOST_DENIED})
"""The library's answers that say for certain: this one submission never reached a log."""


MakeTransport = Callable[[Any, Any, Any], Any]
"""Returns the library's kind of transport for a core, its own node and the others."""

library.createJournal = lambda journal: journal
"""The library would open its own journal at a path; we hand it ours, open."""


class Core(SyncObj):  # type: ignore[misc]  # the library ships no types
    """A pysyncobj node that is ticked by its owner's thread; only `submit` may come from another."""

    def __init__(
        self,
        settings: StockSettings,
        *,
        folder: Folder,
        journal: Journal,
        obey: Callable[[bytes], None],
        restore: Callable[[State], None],
        make_transport: MakeTransport = TCPTransport,
    ) -> None:
        """Bind the port; raises what the library raises.

        Args:
            folder, journal: Settled; the journal belongs to the core from now on.
            obey: Called with each committed entry, in order.
            restore: Called with a state that takes the place of what was obeyed so far.
        """
        self._journal = journal
        self._exchange = Exchange(folder, applied=lambda: self.raftLastApplied)
        self._obey = obey
        self._restore = restore
        self._wait_s = 0.0
        self._queued = False
        self._answered = False
        self._astray = False
        self._told_index = 0
        self._told_commit = 0
        self._wake_lock = threading.Lock()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            super().__init__(
                settings.address,
                [address for address, _ in settings.peers.values()],
                conf=self._make_conf(settings, journal, str(folder.snapshot_path)),
                transportClass=self._make_outbox(make_transport),
            )
        except BaseException:
            os.close(self._wake_fd)
            journal.close()
            raise
        self._SyncObj__serializer = self._exchange
        self.addOnTickCallback(self._before_waiting)
        self._poller.subscribe(self._wake_fd, self._woken, POLL_EVENT_TYPE.READ)
        # Forwarded commands are numbered; an answer meant for our predecessor must not hit one of ours.
        self._SyncObj__commandsLocalCounter = secrets.randbits(48)

    def _make_outbox(self, make_transport: MakeTransport) -> Callable[[Any, Any, Any], Outbox]:
        def made(core: Any, own: Any, others: Any) -> Outbox:
            self._outbox = Outbox(make_transport(core, own, others))
            return self._outbox

        return made

    def _make_conf(self, settings: StockSettings, journal: Journal, snapshot_path: str) -> Any:
        return SyncObjConf(
            password=settings.password,
            bindAddress=settings.address,
            maxBindRetries=1,
            autoTick=False,
            commandsQueueSize=QUEUE_MAX,
            commandsWaitLeader=False,
            raftMinTimeout=settings.election_s_min,
            raftMaxTimeout=settings.election_s_max,
            appendEntriesPeriod=settings.heartbeat_s,
            appendEntriesUseBatch=True,
            # An entry as large as a batch takes another way through the library, which is broken.
            appendEntriesBatchSizeBytes=COMMAND_BYTES_MAX + 64 * 1024,
            connectionTimeout=settings.link_silent_s_max,
            connectionRetryTime=settings.reconnect_s,
            leaderFallbackTimeout=settings.quorum_lost_s,
            journalFile=journal,
            fullDumpFile=snapshot_path,
            logCompactionMinEntries=NEVER,
            logCompactionMinTime=NEVER,
            sendBufferSize=1 << 18,
            recvBufferSize=1 << 18,
        )

    def submit(self, entry: bytes, answer: Callable[[object, int], None]) -> None:
        """Hand `entry` to whoever leads; `answer(_, reason)` may come from this call, the tick, or never."""
        self._applyCommand(entry, answer, _REGULAR)

    def wake(self) -> None:
        """End the tick that is waiting; from any thread."""
        with self._wake_lock:
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    def tick(self, wait_s: float) -> None:
        """Do what there is to do; wait for messages for `wait_s` at most, not at all if more is to do.

        Raises:
            DiskFailed, LogBroken: The replica must stop; what it promised in this tick was not sent.
        """
        if self._queued:
            self._queued, wait_s = False, 0.0
        elif self._isLeader() and self._has_news():
            wait_s = 0.0
        self._wait_s = wait_s
        self.doTick(wait_s)
        if self._outbox.waiting:
            self._keep_promises()

    def conclude(self) -> None:
        """Write down how far is committed, so that the next start need not wait for a leader to see it."""
        self._journal.onOneSecondTimer()
        self._keep_promises()

    def close(self) -> None:
        """Close all sockets and files; what was not synced is as good as never received."""
        self._poller.unsubscribe(self._wake_fd)
        self.destroy()
        with self._wake_lock:
            os.close(self._wake_fd)
            self._wake_fd = -1

    def leader_address(self) -> str:
        """Return the address of the leader as far as known here, or an empty string."""
        leader = self._getLeader()
        return "" if leader is None else str(leader.address)

    def leads(self) -> bool:
        return bool(self._isLeader())

    def term(self) -> int:
        return int(self.raftCurrentTerm)

    def connected_addresses(self) -> frozenset[str]:
        """Return the peers to which there is a working link."""
        return frozenset(str(node.address) for node in self.otherNodes if self.isNodeConnected(node))

    def give_leadership_away(self) -> bool:
        """Ask a follower to stand for election now; False when none has the whole log yet."""
        answers: list[int] = []
        self.transferLeadership(callback=lambda _result, reason: answers.append(reason))
        return answers == [0]

    def snapshot(self, state: State, index: int) -> Snapshot | None:
        """Return `state`, reached by the entry at `index`, with its place in the log. None: too early."""
        log = self._SyncObj__raftLog
        at = index - log[0][1]
        if at < 1:
            return None
        return Snapshot(state=state, last=log[at], before_last=log[at - 1])

    def snapshot_taken(self, snapshot: Snapshot) -> None:
        """Forget the log up to `snapshot`, which is the current one on disk now."""
        for node in self.otherNodes | self.readonlyNodes:
            self._exchange.cancelTransmisstion(node)
        self._SyncObj__deleteEntriesTo(snapshot.before_last[1])

    def _has_news(self) -> bool:
        """Say whether the leader should act now; lets the next tick send if so."""
        last, commit = self._SyncObj__raftLog[-1][1], self.raftCommitIndex
        others = [node for node in self.otherNodes if self.isNodeConnected(node)]
        if not self.otherNodes:
            return bool(last > commit)
        told = (self._told_index, self._told_commit) == (last, commit)
        if self._astray or (not told and all(map(self._owes_nothing, others))):
            self._astray, self._told_index, self._told_commit = False, last, commit
            self._SyncObj__newAppendEntriesTime = 0
            return True
        answered, self._answered = self._answered, False
        return bool(answered and last > commit)

    def _owes_nothing(self, node: Any) -> bool:
        return bool(self._SyncObj__raftMatchIndex.get(node) == self._SyncObj__raftNextIndex.get(node, 0) - 1)

    def _woken(self, _descriptor: int, _event: int) -> None:
        os.eventfd_read(self._wake_fd)

    def _before_waiting(self) -> None:
        if self._wait_s > 0 or self._outbox.waiting:
            self._keep_promises()

    def _keep_promises(self) -> None:
        self._journal.sync()
        self._outbox.release()

    # Called by the library.

    def _applyCommand(self, *args: Any) -> None:  # noqa: N802 - the library's name
        super()._applyCommand(*args)
        if not self._queued:
            self._queued = True
            self.wake()

    def _SyncObj__doApplyCommand(self, entry: bytes) -> None:  # noqa: N802 - the library's name
        if entry[:1] == bytes([_REGULAR]):
            self._obey(entry[1:])

    def _SyncObj__applyLogEntries(self) -> Any:  # noqa: N802 - the library's name
        if self.raftCommitIndex > self.raftLastApplied:
            self._journal.sync()
        return super()._SyncObj__applyLogEntries()

    def _SyncObj__onMessageReceived(self, node: Any, message: dict[str, Any]) -> None:  # noqa: N802 - the library's name
        if message["type"] == "append_entries":
            if "serialized" in message:
                message["commit_index"] = self.raftCommitIndex
            else:
                self._outbox.acknowledge_below = spare_known_entries(message, self._journal)
        try:
            super()._SyncObj__onMessageReceived(node, message)
        finally:
            self._outbox.acknowledge_below = None
        if message["type"] == "next_node_idx":
            self._answered = True
            self._astray = self._astray or bool(message["reset"])

    def _SyncObj__loadDumpFile(self, clearJournal: bool) -> None:  # noqa: N802, N803 - the library's names
        """Take over the snapshot in force (the library's own way swallows every error)."""
        snapshot, log = self._exchange.take(), self._journal
        index, term = snapshot.last[1:]
        place = index - log[0][1]
        if 0 < place < len(log) and log[place][2] == term:
            if place > 1:
                log.deleteEntriesTo(place - 1)
        else:
            log.clear()
            log.add(*snapshot.before_last)
            log.add(*snapshot.last)
        self._restore(snapshot.state)
        self._SyncObj__raftLastApplied = index
        self._SyncObj__raftCommitIndex = max(self.raftCommitIndex, index)
        log.setRaftCommitIndex(self.raftCommitIndex)
        if clearJournal:  # it was received just now, and will be acknowledged
            self._outbox.acknowledge_below = index + 1
