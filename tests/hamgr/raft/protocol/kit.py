"""What the tests of the protocol share: a clock that is set, a replica that only remembers, and a real core.

The real core stands on a real data folder, with a network that writes down what it is given.
"""

import contextlib
import random
import uuid
from collections import Counter
from dataclasses import dataclass

from hamgr.raft.core.core import Core
from hamgr.raft.core.library import REGULAR
from hamgr.raft.core.pin import library
from hamgr.raft.protocol.membership import Configuration, Member, ReplicaId
from hamgr.raft.store.folder import Folder, encode_snapshot
from hamgr.raft.store.snapshot import Snapshot
from statemachine.model import State

HEARTBEAT_S, ELECTION_S_MIN, ELECTION_S_MAX, QUORUM_LOST_S = 0.05, 0.2, 0.4, 0.4


@dataclass(frozen=True)
class Times:
    """The timers of all replicas here."""

    heartbeat_s: float = HEARTBEAT_S
    election_s_min: float = ELECTION_S_MIN
    election_s_max: float = ELECTION_S_MAX


def member(name, port=7000, api=""):
    """Return the member whose id follows from its name."""
    identity = ReplicaId(str(uuid.uuid5(uuid.NAMESPACE_OID, name)))
    return Member(id=identity, name=name, raft=f"127.0.0.1:{port + ord(name[-1])}", api=api)


A, B, C, D, E = (member(name) for name in "abcde")
THREE = Configuration((A, B, C))


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now

    def pass_s(self, seconds):
        self.now += seconds


class FakeLog:
    """A log in memory."""

    def __init__(self, *terms, first=1):
        """Have one entry for each term."""
        self.entries = [(REGULAR + b"%d" % at, at, term) for at, term in enumerate(terms, start=first)]

    @property
    def first(self):
        return self.entries[0][1]

    @property
    def last(self):
        return self.entries[-1][1]

    @property
    def last_term(self):
        return self.entries[-1][2]

    def term_at(self, index):
        return self.entries[index - self.first][2] if self.first <= index <= self.last else None

    def entries_from(self, index, bytes_max, count_max):
        assert index >= self.first, "the entry was forgotten"
        found = []
        for entry in self.entries[index - self.first :][:count_max]:
            bytes_max -= len(entry[0])
            if found and bytes_max < 0:
                break
            found.append(entry)
        return found

    def add(self, count, term=None, size=1):
        for _ in range(count):
            self.entries.append((REGULAR + bytes(size), self.last + 1, term or self.last_term))

    def forget_before(self, index):
        self.entries = [entry for entry in self.entries if entry[1] >= index]


class FakeRaft:
    """A replica that is whatever the test sets, and notes what it is given to send."""

    def __init__(self, configuration=THREE, log=None):
        self.me = A.id
        self.term, self.leads, self.leader = 3, True, A.id
        self.log = log or FakeLog(1, 2, 3)
        self.commit = self.log.last
        self.configuration = configuration
        self.counters = Counter()
        self.clock = Clock()
        self.up = set(configuration.ids)
        self.sent = []

    def now(self):
        return self.clock.now

    def is_up(self, peer):
        return peer in self.up

    def send(self, to, message):
        self.sent.append((to, message))

    def take(self, to=None, kind=None):
        """Return what was sent since the last time, or what of it is for `to` and of this kind."""
        found = [(peer, m) for peer, m in self.sent if to in (None, peer) and kind in (None, m["type"])]
        self.sent = []
        return [m for _peer, m in found] if to else found


class Recorder:
    """A network and a machine that write down."""

    def __init__(self):
        self.sent, self.linked = [], {}
        self.obeyed, self.restored, self.digests = [], [], []
        self.refuses = b"\xff"

    def send(self, to, message):
        self.sent.append((to, message))

    def reconcile(self, members):
        self.linked = dict(members)

    def obey(self, index, entry):
        if entry == self.refuses:
            return False
        self.obeyed.append((index, entry))
        return True

    def passed(self, index):
        self.obeyed.append((index, None))

    def restore(self, state, index):
        self.restored.append(index)
        self.obeyed = [(at, entry) for at, entry in self.obeyed if at <= index]

    def take_digest(self, sender, index, digest):
        self.digests.append((sender, index, digest))


class Replica:
    """A real core, and the hands that drive it."""

    def __init__(self, path, clock, initial=THREE, me=A, seed=1):
        self.path, self.clock, self.initial, self.me, self.seed = path, clock, initial, me.id, seed
        self.start()

    def start(self):
        self.recorder = Recorder()
        self.folder = Folder(self.path)
        self.core = Core(
            me=self.me,
            timers=Times(),
            quorum_lost_s=QUORUM_LOST_S,
            journal=self.folder.settle(),
            folder=self.folder,
            initial=self.initial,
            network=self.recorder,
            machine=self.recorder,
            clock=self.clock,
            randomness=random.Random(self.seed),
            trailing_entries=2,
        )
        for peer in self.initial.ids - {self.me}:
            self.core.peer_up(peer)

    def stop(self):
        if self.core is not None:
            self.core.close()
            self.folder.close()
            self.core = None

    def restart(self):
        self.stop()
        self.start()

    def turn(self):
        self.core.advance()
        while self.core.settle():
            pass

    def take(self, kind=None, to=None):
        """Return what was sent since the last time; of it, what is of this kind and for `to`."""
        found = [
            message
            for peer, message in self.recorder.sent
            if kind in (None, message["type"]) and to in (None, peer)
        ]
        self.recorder.sent = []
        return found

    def hear(self, sender, kind, **fields):
        """Receive a message from a member, and turn."""
        self.core.receive(sender.id, {"type": kind, **fields})
        self.turn()

    def follow(self, sender, term, *entries, previous=None, commit=0, sent_at=1.0):
        """Receive entries from a leader: `(command, index, term)`; `previous` is index and term."""
        log = self.core.log
        before = previous or (log.last, log.last_term)
        self.hear(
            sender,
            "append_entries",
            term=term,
            commit_index=commit,
            prevLogIdx=before[0],
            prevLogTerm=before[1],
            entries=[list(entry) for entry in entries],
            sent_at=sent_at,
        )

    def acknowledge(self, sender, index=None, term=None, sent_at=None):
        """Receive `sender`'s acknowledgement of all up to `index`, which is the whole log by default."""
        self.hear(
            sender,
            "next_node_idx",
            term=self.core.term if term is None else term,
            next_node_idx=(self.core.log.last if index is None else index) + 1,
            reset=False,
            success=True,
            sent_at=self.clock.now if sent_at is None else sent_at,
        )

    def doubt(self):
        """Have nobody be heard until it asks whether it may lead, and not be late itself."""
        self.clock.pass_s(max(0.0, self.core.election.due_at() - self.clock.now))
        self.turn()

    def lose_followers(self):
        """Have nobody answer a leader for so long that it steps down, while it is present."""
        for _ in range(int(QUORUM_LOST_S / HEARTBEAT_S) + 2):
            self.clock.pass_s(HEARTBEAT_S)
            self.turn()
        assert not self.core.leads

    def lead(self, *voters):
        """Be elected, and have the first entry of the term committed."""
        self.doubt()
        others = voters or [one for one in self.core.configuration.voters if one.id != self.me]
        for question in self.take("pre_vote")[: 1 if others else 0]:
            for voter in others:
                self.hear(
                    voter, "pre_vote_answer", term=self.core.term, round=question["round"], granted=True
                )
                if self.core.term == question["term"]:
                    break
        for voter in others:
            if not self.core.leads:
                self.hear(voter, "response_vote", term=self.core.term)
        assert self.core.leads, "it was not elected"
        for voter in others:
            self.acknowledge(voter)
        assert self.core.log.term_at(self.core.commit) == self.core.term
        self.take()
        return self

    def commit_entry(self, entry, *voters):
        """Lead one command to its commit."""
        self.core.submit(entry, lambda _taken: None)
        self.turn()
        for voter in voters:
            self.acknowledge(voter)

    def compact(self):
        """Take a snapshot of what is applied, and put it in force."""
        snapshot = self.core.snapshot(State(), self.core.applied)
        self.folder.put_in_force(self.folder.stage(encode_snapshot(snapshot), "new"))
        self.core.snapshot_taken(snapshot)
        return snapshot

    def take_snapshot_from(self, sender, snapshot, *, term, pieces=3, transfer=1):
        """Receive a snapshot; return the answers."""
        data = snapshot if isinstance(snapshot, bytes) else encode_snapshot(snapshot)
        size = -(-len(data) // pieces)
        self.take()
        answers = []
        for offset in range(0, len(data), size):
            self.hear(
                sender,
                "snapshot_piece",
                term=term,
                transfer=transfer,
                offset=offset,
                data=data[offset : offset + size],
                last=offset + size >= len(data),
                sent_at=1.0,
            )
            answers += self.take("snapshot_taken")
        return answers


def snapshot_at(index, term, configuration=b"", before=None):
    """Return an empty state's snapshot at `index`."""
    return Snapshot(
        state=State(),
        last=(REGULAR + b"s", index, term),
        before_last=(REGULAR + b"s", index - 1, before or term),
        configuration=configuration,
    )


@contextlib.contextmanager
def library_clock(clock):
    """Let the library live by `clock`."""
    before = library.monotonicTime
    library.monotonicTime = clock
    try:
        yield
    finally:
        library.monotonicTime = before


def stands(replica):
    """Return what must not change when a message is refused."""
    core = replica.core
    return core.term, core.leader, core.leads, core.commit, core.log[:], core.log.getVotedForNodeId()
