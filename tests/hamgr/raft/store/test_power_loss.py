"""Power is lost anywhere in the life of a data folder: it comes back as it was at the last sync, or the next.

1. A batch counts whole or not at all: what is found is what was promised last, or what was being written.
2. The snapshot and the log always fit, and lead up to the same entry; the vote is never forgotten.
"""

import random

import pytest

from hamgr.raft.port import CannotStart
from hamgr.raft.store.folder import Folder
from hamgr.raft.store.identity import begin, create, load
from hamgr.raft.store.journal import Journal
from hamgr.raft.store.snapshot import Snapshot, encode_snapshot
from hamgr.raft.store.storage import DiskFailed
from statemachine.model import State
from tests.hamgr.raft.bad_disk import LossyStorage, PowerCut

WHO = {
    "cluster": "c0ffee00-0000-4000-8000-000000000001",
    "replica": "c0ffee00-0000-4000-8000-0000000000aa",
}
SEEDS = range(60)
CUTS = 25


class Life:
    """A folder on a disk that forgets, and what was promised of it.

    Attributes:
        promised: Entries by index, term and vote, as they were when the last sync came back.
        written: The same as they will be when the present one does.
    """

    def __init__(self, tmp_path, seed):
        self.random = random.Random(seed)
        self.storage = LossyStorage(tmp_path / "attic", self.random)
        self.path = tmp_path / "data"
        self.starts = self.cuts = 0
        create(self.path, **WHO, storage=self.storage)
        self.promised = self.written = ({}, 0, None)
        self.folder = self.journal = None

    def start(self):
        identity = load(self.path, **WHO, storage=self.storage)
        assert identity.starts >= self.starts
        self.folder = Folder(self.path, self.storage)
        self.starts = begin(self.path, identity, self.storage).starts
        self.journal = self.folder.settle(identity.folder)
        self.snapshot = self.folder.load() if self.folder.snapshot_path.exists() else None
        if self.snapshot is not None:
            self.put_in_place(self.snapshot)
        self.check()
        self.sync()

    def put_in_place(self, snapshot):
        index, term = snapshot.last[1:]
        if self.journal.term_at(index) != term or self.journal.first == index:
            self.journal.clear()
            self.journal.add(*snapshot.before_last)
            self.journal.add(*snapshot.last)
        self.journal.setRaftCommitIndex(max(self.journal.getRaftCommitIndex(), index))

    def holds(self, what) -> bool:
        """Say whether the folder is as `what` says, from where its log begins."""
        entries, term, vote = what
        journal = self.journal
        reach = 0 if self.snapshot is None else self.snapshot.last[1]
        return (
            (journal.getCurrentTerm(), journal.getVotedForNodeId()) == (term, vote)
            and journal.last == max(entries, default=0)
            and all(entries.get(entry[1]) == entry for entry in journal[:] if entry[1] >= reach - 1)
        )

    def check(self):
        assert self.holds(self.promised) or self.holds(self.written), "something that was promised is gone"
        if self.snapshot is not None:
            assert self.journal.first < self.snapshot.last[1] <= self.journal.last

    def sync(self):
        """Make what is noted a promise."""
        entries = {entry[1]: entry for entry in self.journal[:]}
        self.written = entries, self.journal.getCurrentTerm(), self.journal.getVotedForNodeId()
        self.journal.sync()
        self.promised = self.written

    def live(self):
        """Do one thing that a replica does."""
        match self.random.randrange(8):
            case 0 | 1 | 2 | 3:
                self.append()
            case 4:
                self.take_back()
            case 5:
                self.journal.setCurrentTerm(self.journal.getCurrentTerm() + 1, self.random.choice("abc"))
            case 6:
                self.compact()
            case 7:
                self.receive()
        self.sync()

    def append(self):
        term = max(self.journal.last_term, self.journal.getCurrentTerm())
        for _ in range(self.random.randint(1, 4)):
            command = self.random.randbytes(self.random.choice((3, 200, 3_000)))
            self.journal.add(command, self.journal.last + 1, term)
        self.journal.setRaftCommitIndex(
            self.random.randint(self.journal.getRaftCommitIndex(), self.journal.last)
        )

    def take_back(self):
        place = max(1, self.journal.getRaftCommitIndex() + 1 - self.journal.first)
        self.journal.setCurrentTerm(self.journal.getCurrentTerm() + 1, None)
        if place < len(self.journal):
            self.journal.deleteEntriesFrom(self.random.randint(place, len(self.journal) - 1))
        self.append()

    def compact(self):
        index = self.journal.getRaftCommitIndex()
        reach = 1 if self.snapshot is None else self.snapshot.last[1]
        if index <= max(reach, self.journal.first):
            return
        before_last, last = self.journal.entries_from(index - 1, 1 << 30, 2)
        snapshot = Snapshot(state=State(), last=last, before_last=before_last)
        staged = self.folder.stage(encode_snapshot(snapshot), "new")
        self.folder.put_in_force(staged)
        self.snapshot = snapshot
        self.journal.deleteEntriesTo(max(0, index - 1 - self.random.randint(0, 3) - self.journal.first))

    def receive(self):
        index, term = self.journal.last + self.random.randint(1, 9), self.journal.getCurrentTerm() + 1
        snapshot = Snapshot(
            state=State(), last=(b"last", index + 1, term), before_last=(b"before", index, term)
        )
        content, incoming = encode_snapshot(snapshot), self.folder.receiving()
        for at in range(0, len(content), 50):
            incoming.write(at, content[at : at + 50])
        assert incoming.finish() == snapshot
        self.journal.setCurrentTerm(term, None)
        self.sync()
        entries = {index: snapshot.before_last, index + 1: snapshot.last}
        self.written = entries, term, None
        self.folder.put_in_force(incoming.path)
        self.snapshot = snapshot
        self.put_in_place(snapshot)

    def lose_power(self):
        self.end()
        self.storage.lose_power(self.path)
        self.cuts += 1

    def end(self):
        """Let the descriptors go; nothing more is written."""
        for part in (self.journal, self.folder):
            if part is not None:
                part.close()
        self.folder = self.journal = None


def live_through(life):
    """Start, live, lose power, start again, ... and start once more."""
    try:
        while life.cuts < CUTS:
            life.storage.fuse = life.random.randint(1, 60)
            try:
                life.start()
                while True:
                    life.live()
            except PowerCut:
                life.lose_power()
        life.start()
    finally:
        life.end()


def live_many_lives(folder):
    for seed in range(20):
        live_through(Life(folder / str(seed), seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_whenever_power_is_lost_nothing_that_was_promised_is_gone(tmp_path, seed):
    life = Life(tmp_path, seed)
    live_through(life)
    assert life.starts > CUTS // 2
    assert len(life.promised[0]) > 1


@pytest.mark.parametrize("operation", ["sync", "sync_folder"])
def test_the_test_above_fails_when_a_sync_is_left_out(tmp_path, monkeypatch, operation):
    monkeypatch.setattr(LossyStorage, operation, lambda _storage, _what: None)
    with pytest.raises((AssertionError, CannotStart, DiskFailed)):
        live_many_lives(tmp_path)


def test_the_test_above_fails_when_the_log_is_cut_before_the_snapshot_is_safe(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Folder, "put_in_force", lambda folder, staged: folder._storage.replace(staged, folder.snapshot_path)
    )
    with pytest.raises((AssertionError, CannotStart)):
        live_many_lives(tmp_path)


def test_the_test_above_fails_when_a_promise_comes_before_its_sync(tmp_path, monkeypatch):
    sync = Journal.sync

    def sync_later(journal):
        if journal.size_bytes % 3 == 0:
            sync(journal)

    monkeypatch.setattr(Journal, "sync", sync_later)
    with pytest.raises((AssertionError, CannotStart)):
        live_many_lives(tmp_path)
