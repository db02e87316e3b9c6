"""pysyncobj's SyncObj behind a typed class: the one place that names its private members (listed in `pin`).

What is left to the library: terms, votes and who wins an election, the rule of when an entry is committed,
the checks of a follower on what it is sent, and that a leader without a majority steps down. What is taken
from it: when to stand (`election`), how entries get to the followers (`replication`), what is applied and
when, snapshots, and every byte on the wire or the disk.
"""

from collections.abc import Callable, Iterable
from typing import Any

from hamgr.raft.core.pin import Node, SyncObj, SyncObjConf, Transport, library
from hamgr.raft.protocol.election import Timers
from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.protocol.messages import Message
from hamgr.raft.protocol.raft import LogEntry
from hamgr.raft.store.journal import Journal

REGULAR, NO_OP = b"\x00", b"\x01"
APPLY_MAX = 512
"""Entries that are applied in one turn: a replica that catches up must still answer its leader."""
NEVER = 2**62
_FOLLOWER, _LEADER = 0, 2


class _Wire(Transport):  # type: ignore[misc]  # the library ships no types
    """Where the library puts what it wants to say."""

    def __init__(self, put: Callable[[ReplicaId, Message], None]) -> None:
        super().__init__(None, None, None)
        self._put = put

    def send(self, node: Any, message: Message) -> bool:
        self._put(node.id, message)
        return True

    def destroy(self) -> None:
        """There is nothing to close."""


class _NoPoller:
    """Where the library would wait for its own sockets, which it has not."""

    def poll(self, _wait_s: float) -> None:
        """Return at once: even an empty poll(2) would hand the interpreter to other threads."""


class Library(SyncObj):  # type: ignore[misc]  # the library ships no types
    """A node of the library that is driven by hand and touches neither sockets nor files."""

    def __init__(
        self,
        *,
        me: ReplicaId,
        journal: Journal,
        timers: Timers,
        quorum_lost_s: float,
        put: Callable[[ReplicaId, Message], None],
        apply: Callable[[LogEntry], bool],
        may_stand: Callable[[], bool],
        on_leads: Callable[[bool], None],
    ) -> None:
        """Take over the journal.

        Args:
            put: Gets what the library wants to send.
            apply: Gets each committed entry once, in order, when it is on the disk. False: it cannot be
                applied, nor anything after it.
            may_stand: Asked in each turn whether to stand for election.
            on_leads: Called when this node begins and ceases to lead, in the middle of what causes it.
        """
        self._journal = journal
        self._apply = apply
        self._may_stand = may_stand
        self._on_leads = on_leads
        self.blocked = False
        self._own = Node(me)
        conf = SyncObjConf(
            autoTick=False,
            journalFile=journal,
            commandsWaitLeader=False,
            # Our own rules say when to send; this must merely not be in their way.
            appendEntriesPeriod=timers.heartbeat_s / 1000,
            leaderFallbackTimeout=quorum_lost_s,
            logCompactionMinEntries=NEVER,
            logCompactionMinTime=NEVER,
            onStateChanged=self._on_state,
        )
        super().__init__(self._own, [], conf=conf, transport=_Wire(put))
        self._poller = _NoPoller()

    @property
    def term(self) -> int:
        return int(self.raftCurrentTerm)

    @property
    def commit(self) -> int:
        return int(self.raftCommitIndex)

    @property
    def applied(self) -> int:
        return int(self.raftLastApplied)

    @property
    def leads(self) -> bool:
        return bool(self._isLeader())

    @property
    def leader(self) -> ReplicaId | None:
        node = self._getLeader()
        return None if node is None else ReplicaId(node.id)

    def turn(self) -> None:
        """Stand for election, commit and apply, as far as there is reason to; the journal must be synced."""
        self.doTick(0.0)

    def feed(self, sender: ReplicaId, message: Message) -> None:
        """Act on a message."""
        self._SyncObj__onMessageReceived(Node(sender), message)

    def heard_from(self, peer: ReplicaId) -> None:
        """Count `peer` among those who follow; the library goes by acknowledgements of entries alone."""
        self._SyncObj__lastResponseTime[Node(peer)] = library.monotonicTime()

    def excuse(self, absence_s: float) -> None:
        """Do not count a time as silence of the others: nobody listened to them."""
        now, heard = library.monotonicTime(), self._SyncObj__lastResponseTime
        for node, at in heard.items():
            heard[node] = min(at + absence_s, now)

    def append(self, command: bytes) -> int:
        """Add an entry to the log of a leader; return its index."""
        index = self._journal.last + 1
        self._journal.add(command, index, self.term)
        return index

    def step_down(self) -> None:
        """Cease to lead; somebody else will be elected."""
        self._SyncObj__setState(_FOLLOWER)
        self._SyncObj__raftLeader = None

    def lead_on(self) -> None:
        """Lead again in the present term, in which this node led; nothing is believed of the others' logs.

        Whoever calls knows that this node has followed nobody since.
        """
        for node in self._SyncObj__otherNodes | self._SyncObj__readonlyNodes:
            self._SyncObj__raftMatchIndex[node] = 0
            self._SyncObj__lastResponseTime[node] = library.monotonicTime()
        self._SyncObj__raftLeader = self._own
        self._SyncObj__setState(_LEADER)

    def lead_next(self, command: bytes) -> int:
        """Begin the next term as its leader, by this node's own vote, with `command` as its first entry.

        Whoever calls knows that nobody else can win that term, and syncs the journal before anything is
        sent. Nothing is believed of the others' logs. Returns the entry's index.
        """
        self._SyncObj__setCurrentTerm(self.term + 1, self._own.id)
        index = self.append(command)
        self.lead_on()
        return index

    def set_members(self, voters: Iterable[ReplicaId], learners: Iterable[ReplicaId]) -> None:
        """Count these voters from now on, and send to these learners; this replica is not among them."""
        others, readonly = {Node(voter) for voter in voters}, {Node(learner) for learner in learners}
        self._SyncObj__otherNodes, self._SyncObj__readonlyNodes = others, readonly
        for node in others | readonly:
            self._SyncObj__raftMatchIndex.setdefault(node, 0)
            self._SyncObj__raftNextIndex.setdefault(node, self._journal.last + 1)
            self._SyncObj__lastResponseTime.setdefault(node, library.monotonicTime())
        for of_node in (
            self._SyncObj__raftMatchIndex,
            self._SyncObj__raftNextIndex,
            self._SyncObj__lastResponseTime,
        ):
            for gone in of_node.keys() - (others | readonly):
                del of_node[gone]

    def installed(self, index: int) -> None:
        """Note that a snapshot took the place of all entries up to `index`."""
        self._SyncObj__raftLastApplied = index
        self._SyncObj__raftCommitIndex = max(self.commit, index)
        self._journal.setRaftCommitIndex(self.commit)
        self.blocked = False

    def cut(self, index: int) -> None:
        """Forget the log before `index`; a durable snapshot holds it."""
        self._SyncObj__deleteEntriesTo(index)

    def _on_state(self, old: int, new: int) -> None:
        if (old == _LEADER) != (new == _LEADER):
            self._on_leads(new == _LEADER)

    # In the place of the library's own.

    def _SyncObj__connectedToAnyone(self) -> bool:  # noqa: N802 - the library's name
        return self._may_stand()

    def _SyncObj__generateRaftTimeout(self) -> float:  # noqa: N802 - the library's name
        """Return a time that is over already: `may_stand` alone says when to stand."""
        return -1.0

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802 - the library's name
        """Nothing: `replication` sends, when its turn comes."""

    def _SyncObj__tryLogCompaction(self) -> None:  # noqa: N802 - the library's name
        """Nothing: `compaction` does it."""

    def _SyncObj__loadDumpFile(self, clearJournal: bool) -> None:  # noqa: N802, N803 - the library's
        """Nothing: whoever owns the folder has loaded the snapshot."""

    def _SyncObj__applyLogEntries(self) -> bool:  # noqa: N802 - the library's name
        if self.commit > self.applied and not self.blocked:
            self._journal.sync()  # becoming the leader of one adds an entry and commits it in the same turn
            for entry in self._journal.entries_from(self.applied + 1, NEVER, APPLY_MAX):
                if entry[1] > self.commit:
                    break
                if not self._apply(entry):
                    self.blocked = True
                    break
                self._SyncObj__raftLastApplied = entry[1]
        return False
