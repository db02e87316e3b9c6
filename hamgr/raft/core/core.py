"""One replica's consensus: the library and our rules around it, without sockets, threads or clocks.

1. Each committed command reaches the machine once, in the order of the log, when it is on the disk here.
2. No promise (acknowledgement, vote) leaves before the journal has it: `settle` syncs, then releases.
3. A leader counts itself like a follower: what it has not synced it does not commit, since `settle` syncs
   before the library counts.
4. `DiskFailed`, `LogBroken` and `SnapshotDamaged` leave every method as they come: the replica must stop, and
   what it did not say by then it never says.

The owner calls `receive` for what came, `advance` when that is done or `next_at` is due, lets the network
send, and calls `settle`.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping

from hamgr.raft.core.absences import Absences
from hamgr.raft.core.clients import Clients
from hamgr.raft.core.collaborators import Machine, Network
from hamgr.raft.core.following import Following
from hamgr.raft.core.handover import Handover
from hamgr.raft.core.library import NO_OP, REGULAR, Library
from hamgr.raft.core.pair import Pair
from hamgr.raft.core.peers import Peers
from hamgr.raft.core.shrinking import Shrinking
from hamgr.raft.protocol import membership, messages
from hamgr.raft.protocol.configurations import KIND
from hamgr.raft.protocol.election import Election, Timers
from hamgr.raft.protocol.guard import Guard
from hamgr.raft.protocol.membership import Configuration, ReplicaId
from hamgr.raft.protocol.messages import Message
from hamgr.raft.protocol.outbox import Outbox
from hamgr.raft.protocol.raft import LogEntry
from hamgr.raft.protocol.reads import ReadRounds
from hamgr.raft.protocol.replication import Replicator
from hamgr.raft.protocol.snapshots import Outgoing
from hamgr.raft.store.folder import Folder
from hamgr.raft.store.journal import Journal, LogBroken
from hamgr.raft.store.snapshot import Snapshot
from statemachine.model import State

TURNS_MAX = 4
"""How often `settle` syncs before it lets others have their turn."""


class Core:
    """The consensus of one replica; everything on one thread."""

    def __init__(
        self,
        *,
        me: ReplicaId,
        timers: Timers,
        quorum_lost_s: float,
        journal: Journal,
        folder: Folder,
        initial: Configuration,
        network: Network,
        machine: Machine,
        clock: Callable[[], float],
        randomness: random.Random,
        trailing_entries: int = 1_024,
    ) -> None:
        """Take over the settled journal, and restore the stored snapshot.

        Args:
            initial: In force as long as neither the snapshot nor the log says otherwise.
            trailing_entries: Kept in the log behind a snapshot, for followers that were away briefly.
        """
        self.me = me
        self.counters: Counter[str] = Counter()
        self.log = journal
        self.now = clock
        self.renounced = ""
        self._machine, self._folder = machine, folder
        self._trailing_entries = trailing_entries
        self.peers = Peers(self, network)
        self._outbox = Outbox(network.send)
        self._following = Following(self, folder, machine)
        self._leader_seen: ReplicaId | None = None
        self._applies_next = False
        self._handover = Handover(self, timers)
        self.shrinking = Shrinking(self, quorum_lost_s)
        self.pair = Pair(self, randomness)
        self.election = Election(timers, randomness, clock())
        self._absences = Absences(self, timers)
        self.library = Library(
            me=me,
            journal=journal,
            timers=timers,
            quorum_lost_s=quorum_lost_s,
            put=self._put,
            apply=self._apply,
            may_stand=self._may_stand,
            on_leads=self._on_leads,
        )
        self.replicator = Replicator(self, timers.heartbeat_s, self._open_snapshot)
        self._reads = ReadRounds(self)
        self._clients = Clients(self, self._reads, self._outbox, randomness.getrandbits(48))
        self._guard = Guard(
            self,
            election=self.election,
            replicator=self.replicator,
            reads=self._reads,
            following=self._following,
            clients=self._clients,
            take_digest=machine.take_digest,
        )
        self.configurations = self._following.start(initial)
        self.adopt_configuration()

    # What it is.

    @property
    def term(self) -> int:
        return self.library.term

    @property
    def leads(self) -> bool:
        return self.library.leads

    @property
    def leader(self) -> ReplicaId | None:
        """Who leads as far as known here; None when nobody does."""
        return self.library.leader

    @property
    def commit(self) -> int:
        return self.library.commit

    @property
    def applied(self) -> int:
        return self.library.applied

    @property
    def configuration(self) -> Configuration:
        return self.configurations.current

    @property
    def configuration_index(self) -> int:
        return self.configurations.index

    @property
    def waiting(self) -> Mapping[str, int]:
        """How many reads and forwarded proposals wait."""
        return {"reads": self._reads.waiting + self._clients.reads, "forwarded": self._clients.forwarded}

    @property
    def behind(self) -> bool:
        """Something that is committed can be applied and is not yet."""
        return self.applied < self.commit and not self.library.blocked

    def quorum_age_s(self) -> float | None:
        """Return for how long nothing has confirmed who leads, us or another; None: nothing has yet."""
        if not self.leads and self.leader is None:
            return None
        age_s = self.election.silence_s(self.now())
        if self.leads:
            age_s = max(0.0, self.now() - self.replicator.quorum_heard_of())
        return age_s if age_s < float("inf") else None

    def is_up(self, peer: ReplicaId) -> bool:
        return peer in self.peers.up

    def lag(self, peer: ReplicaId) -> int | None:
        """Return how many entries `peer` lacks; None when we do not lead or do not know."""
        progress = self.replicator.followers.get(peer)
        return None if progress is None or not progress.match else self.log.last - progress.match

    # Links.

    def peer_up(self, peer: ReplicaId) -> None:
        """Note a new link to `peer`."""
        self.peers.up.add(peer)
        self.shrinking.heard(peer)
        self.replicator.linked(peer)
        self.peers.introduce(peer)

    def peer_down(self, peer: ReplicaId, *, refused: bool = False) -> None:
        """Note that the link is gone; `refused`: the host says that nobody listens there any more."""
        self.peers.up.discard(peer)
        if refused and peer == self.leader and not self.leads:
            self.election.lost(self.now())

    def receive(self, sender: ReplicaId, message: object) -> None:
        """Act on what `sender`, whose identity the link has proved, sent.

        Raises:
            messages.BadMessage: No replica of ours says that; close the link.
        """
        checked = messages.check(message)
        self.shrinking.heard(sender)
        if checked is None:
            self.counters["later_types"] += 1
        else:
            self._guard.receive(sender, checked)
            self._note_leader()

    # Turns.

    def advance(self) -> None:
        """Do what is due and needs no sync: send entries and heartbeats, inquire about an election."""
        self._absences.look()
        self.shrinking.advance()
        self.pair.advance()
        if self.leads:
            self._handover.advance()
            self.replicator.pump()
        elif self._may_ever_stand() and (now := self.now()) >= self.election.due_at():
            self._campaign(now)
        self._clients.advance()

    def settle(self) -> bool:
        """Sync, release promises, elect, commit and apply; True when there is more to do at once.

        What was promised leaves before anything is applied: a leader waits for it. It waits once at most,
        however much comes.
        """
        for _ in range(TURNS_MAX):
            self._absences.during(self.log.sync)
            promised = self._outbox.waiting
            self._outbox.release()
            if promised and self.behind and not self._applies_next:
                self._applies_next = True
                return True
            self._applies_next = False
            self.library.turn()
            self._note_leader()
            if not (self.log.dirty or self._outbox.waiting):
                break
        if self.leads:
            self.replicator.pump()
        self._clients.advance()
        return self.behind or self.log.dirty or self._outbox.waiting

    def next_at(self) -> float:
        """Return the clock's seconds at which `advance` is due, if nothing comes before."""
        if self.leads:
            return self.replicator.next_heartbeat_at()
        return self.election.due_at() if self._may_ever_stand() else float("inf")

    # Clients.

    def submit(self, entry: bytes, answer: Callable[[bool], None]) -> None:
        """Hand a command to whoever leads; see `Clients.submit`."""
        self._clients.submit(entry, answer)

    def read_index(self, answer: Callable[[int | None], None]) -> None:
        """Find the index that a linearizable read has to wait for; see `Clients.read_index`."""
        self._clients.read_index(answer)

    def change(self, after: Configuration, answer: Callable[[str], None], *, fenced: bool = False) -> None:
        """Bring a new configuration about; see `Clients.change`."""
        self._clients.change(after, answer, fenced=fenced)

    def broadcast(self, message: Message) -> None:
        """Send to every other member."""
        for replica in self.configuration.ids - {self.me}:
            self._outbox.put(replica, message)

    def transfer(self, to: ReplicaId | None = None) -> bool:
        """Ask a follower, the one that has most by default, to stand at once; False when none can win."""
        return self._handover.ask(to)

    def renounce(self, reason: str) -> None:
        """Never lead again in this process; what a leader sends is still stored and acknowledged."""
        self._handover.renounce(reason)

    def resynchronise(self) -> None:
        """Have the state replaced by the leader's snapshot, as soon as there is a leader that has one."""
        self._following.want_snapshot()

    # Snapshots.

    def snapshot(self, state: State, index: int) -> Snapshot | None:
        """Return `state`, as it was right after entry `index`, with its place in the log; None: too early."""
        entries = self.log.entries_from(index - 1, 1 << 62, 2) if self.log.first < index else []
        if len(entries) < 2:
            return None
        return Snapshot(
            state=state,
            before_last=entries[0],
            last=entries[1],
            configuration=membership.encode(self.configurations.at(index)),
        )

    def snapshot_taken(self, snapshot: Snapshot) -> None:
        """Forget the log behind `snapshot`, which is in force on the disk, but for some entries."""
        index = min(snapshot.before_last[1], snapshot.last[1] - self._trailing_entries)
        if index > self.log.first:
            self.library.cut(index)

    def conclude(self) -> None:
        """Write down how far is committed, so that the next start need not wait for a leader to see it."""
        self.log.onOneSecondTimer()
        self.log.sync()

    def close(self) -> None:
        """Close the journal; what was not synced is as good as never received."""
        self.replicator.end()
        self._following.close()
        self.library.destroy()

    # For our own parts.

    def send(self, to: ReplicaId, message: Message) -> None:
        self._outbox.put(to, message)

    def adopt_configuration(self) -> None:
        """Act on the configuration that is in force now."""
        now, me = self.configuration, {self.me}
        self.library.set_members(now.voter_ids - me, now.ids - now.voter_ids - me)
        if self.leads:
            self.replicator.adopt()
        self.peers.reconcile()
        for peer in self.peers.up:
            self.peers.introduce(peer)

    def _may_ever_stand(self) -> bool:
        return not self.renounced and self.me in self.configuration.voter_ids

    def _may_stand(self) -> bool:
        """Say whether to stand now; the library does so when it hears yes."""
        stands = self._may_ever_stand() and self.election.may_stand(self.term)
        self.counters["candidacies"] += stands
        return stands

    def _campaign(self, now: float) -> None:
        """Ask the other voters whether we could win; a voter that is alone need not."""
        voters = self.configuration.voter_ids
        if voters == {self.me}:
            self.election.allow(self.term, now)
            return
        self.counters["pre_votes"] += 1
        question = self.election.question(self)
        for voter in voters - {self.me}:
            self.send(voter, question)

    def _put(self, to: ReplicaId, message: Message) -> None:
        """Complete what the library says, and let it out when it may."""
        kind = message["type"]
        if kind == "next_node_idx":
            self._following.complete(message)
        elif kind == "request_vote":
            message["transfer"] = self.election.for_transfer
        elif kind != "response_vote":
            raise LogBroken(f"the consensus library sends {kind}, which is a bug")
        self._outbox.put(to, message)

    def _apply(self, entry: LogEntry) -> bool:
        command, index, _term = entry
        kind = command[:1]
        if kind == REGULAR:
            return self._machine.obey(index, command[1:])
        if kind not in (NO_OP, KIND):
            return False
        self._machine.passed(index)
        if kind == KIND:
            self.peers.reconcile()
            self._clients.applied_change(entry)
        return True

    def _on_leads(self, leads: bool) -> None:
        if leads:
            self.counters["elections_won"] += 1
            self.shrinking.elected()
            self.replicator.begin()
        else:
            self.replicator.end()

    def _note_leader(self) -> None:
        if self.leader != self._leader_seen:
            self._leader_seen = self.leader
            self.counters["leader_changes"] += 1
            self._clients.leader_changed()

    def _open_snapshot(self) -> Outgoing | None:
        return self._folder.open_snapshot() if self._folder.snapshot_path.exists() else None
