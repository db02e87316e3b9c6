"""When the log is made shorter, from which state, and what happens when it cannot be."""

import errno
import hashlib
import logging
import threading
import time

import pytest

from hamgr.raft.store import compaction
from hamgr.raft.store.compaction import Compactor
from hamgr.raft.store.folder import Folder
from hamgr.raft.store.snapshot import Snapshot, decode_snapshot
from hamgr.raft.store.storage import DiskFailed
from statemachine import codec, machine
from statemachine.model import State
from tests.hamgr.raft import kit
from tests.hamgr.raft.bad_disk import FailingStorage

ENTRIES = 10


class Log:
    """Entries 1 to the last that was asked for, and what was forgotten of them."""

    def __init__(self):
        self.taken = []

    def snapshot(self, state, index):
        if index < 2:
            return None
        return Snapshot(state=state, last=(b"\0", index, 1), before_last=(b"\0", index - 1, 1))

    def snapshot_taken(self, snapshot):
        self.taken.append(snapshot.last[1])


class World:
    """A compactor, its log, and states that differ at each index."""

    def __init__(self, folder, **more):
        self.digests, self.log = {}, Log()
        self.compactor = Compactor(
            folder, **{"entries": ENTRIES, "size_bytes": 1 << 30, **more}, on_digest=self._digest
        )
        self.states, self.state = {}, State()

    def _digest(self, index, digest):
        self.digests[index] = digest

    def apply(self, *indexes, entry=b"\0"):
        for index in indexes:
            self.state, _outcome = machine.apply(self.state, kit.add_node(f"n{index}"))
            self.states[index] = self.state
            self.compactor.count(index, entry, self.state)

    def rest(self):
        """Advance until nothing is left to do."""
        deadline = time.monotonic() + 20
        while True:
            self.compactor.advance(self.log)
            if self.compactor._work is None:
                return
            assert time.monotonic() < deadline
            time.sleep(0.001)


@pytest.fixture
def storage():
    return FailingStorage()


@pytest.fixture
def folder(tmp_path, storage):
    made = Folder(tmp_path / "folder", storage)
    yield made
    made.close()


@pytest.fixture
def world(folder):
    made = World(folder)
    yield made
    made.compactor.close()


@pytest.fixture
def gate(monkeypatch):
    """Holds the thread that encodes, until it is set."""
    held = threading.Event()
    encode = compaction.encode_parts

    def slowly(*arguments):
        assert held.wait(20)
        return encode(*arguments)

    monkeypatch.setattr(compaction, "encode_parts", slowly)
    yield held
    held.set()


def test_a_snapshot_is_taken_at_every_multiple_wherever_one_began(folder, tmp_path, storage):
    for begin in (1, 7, 9, 10, 11):
        world = World(folder)
        for index in range(begin, 35):
            world.apply(index)
            world.rest()
        assert world.log.taken == [index for index in (10, 20, 30) if index >= begin]
        world.compactor.close()


def test_a_snapshot_holds_the_state_at_its_index_though_others_followed(world, folder):
    world.apply(*range(1, 15))
    world.rest()
    assert world.log.taken == [10]
    assert folder.load().state == world.states[10]
    assert world.digests == {10: hashlib.sha256(codec.encode_state(world.states[10])).digest()}


def test_an_index_that_was_passed_over_counts_as_much(world):
    world.apply(*range(1, 9))
    world.compactor.count(9, b"", world.state)
    world.compactor.count(10, b"", world.state)
    world.rest()
    assert world.log.taken == [10]


def test_many_bytes_make_a_snapshot_due_between_two_multiples(folder):
    world = World(folder, size_bytes=1_000)
    world.apply(1, 2, entry=bytes(300))
    world.rest()
    assert world.log.taken == []
    world.apply(3, 4, entry=bytes(300))
    world.rest()
    assert world.log.taken == [4]
    world.apply(5, 6, 7, entry=bytes(300))
    world.rest()
    assert world.log.taken == [4]
    world.apply(*range(8, 11), entry=b"\0")
    world.rest()
    assert world.log.taken == [4, 10]
    world.compactor.close()


def test_what_the_log_is_too_short_for_is_let_go(world):
    world.compactor.count(0, b"", State())
    world.compactor.count(1, bytes(1 << 20), State())
    world.rest()
    assert world.log.taken == []


def test_nothing_waits_for_the_thread_that_encodes(world, gate):
    world.apply(*range(1, 13))
    for _ in range(100):
        world.compactor.advance(world.log)
    assert world.log.taken == []
    world.apply(*range(13, 41))
    gate.set()
    world.rest()
    assert world.log.taken == [10, 40]


def test_one_that_is_abandoned_while_it_is_written_comes_never_into_force(world, folder, gate):
    world.apply(*range(1, 13))
    world.compactor.advance(world.log)
    world.compactor.abandon()
    gate.set()
    world.rest()
    assert (world.log.taken, world.digests) == ([], {})
    assert not folder.snapshot_path.exists()
    world.apply(*range(95, 101))
    world.rest()
    assert world.log.taken == [100]


def test_one_that_is_due_is_forgotten_when_a_newer_one_came(world):
    world.apply(*range(1, 13))
    world.compactor.abandon()
    world.rest()
    assert world.log.taken == []


def test_closing_waits_for_the_thread_and_puts_nothing_in_force(world, folder, gate):
    world.apply(*range(1, 13))
    world.compactor.advance(world.log)
    threading.Timer(0.05, gate.set).start()
    world.compactor.close()
    assert world.log.taken == []
    assert not any(thread.name == "snapshot" for thread in threading.enumerate())
    assert [path.name for path in folder.snapshot_path.parent.iterdir()] == ["lock"]


@pytest.mark.parametrize("operation", ["create", "append", "sync"])
def test_a_full_disk_costs_no_snapshot_in_force_and_is_said_once(world, folder, storage, caplog, operation):
    world.apply(*range(1, 11))
    world.rest()
    before = folder.snapshot_path.read_bytes()
    storage.fail, storage.error = operation, errno.ENOSPC
    with caplog.at_level(logging.WARNING):
        world.apply(*range(11, 41))
        world.rest()
        world.apply(*range(41, 51))
        world.rest()
    assert world.log.taken == [10]
    assert folder.snapshot_path.read_bytes() == before
    assert len(caplog.records) == 1
    assert "could not be written" in caplog.text
    assert str(folder.snapshot_path) in caplog.text
    assert {10, 40, 50} <= set(world.digests)
    storage.fail = ""
    world.apply(*range(51, 61))
    world.rest()
    assert world.log.taken == [10, 60]
    assert decode_snapshot(folder.snapshot_path.read_bytes()).state == world.states[60]


@pytest.mark.parametrize("operation", ["replace", "sync_folder"])
def test_a_disk_that_fails_when_a_snapshot_comes_into_force_stops_the_replica(world, storage, operation):
    storage.fail = operation
    world.apply(*range(1, 11))
    with pytest.raises(DiskFailed):
        world.rest()
    assert world.log.taken == []
