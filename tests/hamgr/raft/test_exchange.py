"""Snapshots between replicas: whole, newer, and on the disk before they count."""

import pytest

from hamgr.raft.exchange import PIECE_BYTES, Exchange
from hamgr.raft.store import folder as disk
from hamgr.raft.store.storage import DiskFailed
from tests.hamgr.raft.bad_disk import FailingStorage
from tests.hamgr.raft.store.test_transfer import snapshot_of
from tests.hamgr.raft.test_core import append, core, leader_of, obeyed, say, settings

__all__ = ["core", "obeyed", "settings"]  # fixtures


@pytest.fixture
def storage():
    return FailingStorage()


@pytest.fixture
def folder(tmp_path, storage):
    made = disk.Folder(tmp_path / "folder", storage)
    yield made
    made.close()


def pieces_of(content, size=PIECE_BYTES):
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    return [(piece, number == 0, False) for number, piece in enumerate(pieces)] + [(b"", False, True)]


def stored(folder, snapshot):
    folder.put_in_force(folder.stage(disk.encode_snapshot(snapshot), "new"))
    return folder.snapshot_path.read_bytes()


def receive(exchange, content, size=100):
    return [exchange.setTransmissionData(piece) for piece in pieces_of(content, size)]


def test_a_snapshot_is_sent_in_pieces_from_its_beginning_to_its_end(folder):
    content = stored(folder, snapshot_of(*(f"n{number}" for number in range(2_000))))
    exchange = Exchange(folder, applied=lambda: 0)
    pieces = []
    while not pieces or not pieces[-1][2]:
        pieces.append(exchange.getTransmissionData("a"))
        if len(pieces) == 1:
            exchange.getTransmissionData("b")
    assert pieces == pieces_of(content)
    assert len(pieces) > 2
    exchange.cancelTransmisstion("b")
    assert exchange.getTransmissionData("b")[1]


def test_a_whole_snapshot_is_stored_and_taken_over(folder, storage):
    content = disk.encode_snapshot(snapshot_of("a"))
    exchange = Exchange(folder, applied=lambda: 11)
    answers = receive(exchange, content)
    assert answers == [False] * (len(answers) - 1) + [True]
    assert folder.snapshot_path.read_bytes() == content
    assert storage.calls[-4:] == ["append", "sync", "replace", "sync_folder"]
    assert exchange.take() == snapshot_of("a")


@pytest.mark.parametrize(
    ("damage", "applied"),
    [
        (lambda content: content[:-1], 0),
        (lambda content: content[:50] + b"?" + content[51:], 0),
        (lambda _content: b"", 0),
        (lambda content: content, 12),
        (lambda content: content, 13),
    ],
    ids=["short", "altered", "empty", "no newer", "older"],
)
def test_a_snapshot_that_is_damaged_or_no_newer_changes_nothing(folder, damage, applied):
    before = stored(folder, snapshot_of("mine"))
    exchange = Exchange(folder, applied=lambda: applied)
    assert True not in receive(exchange, damage(disk.encode_snapshot(snapshot_of("a"))))
    assert folder.snapshot_path.read_bytes() == before
    assert receive(exchange, b"") == [False]


@pytest.mark.parametrize("operation", ["create", "append", "sync", "replace", "sync_folder"])
def test_a_snapshot_that_cannot_be_stored_stops_the_replica_unacknowledged(folder, storage, operation):
    exchange = Exchange(folder, applied=lambda: 0)
    storage.fail = operation
    with pytest.raises(DiskFailed):
        receive(exchange, disk.encode_snapshot(snapshot_of("a")))


def test_a_snapshot_that_rotted_is_not_sent(folder):
    stored(folder, snapshot_of("a"))
    data = bytearray(folder.snapshot_path.read_bytes())
    data[70] ^= 1
    folder.snapshot_path.write_bytes(data)
    with pytest.raises(disk.SnapshotDamaged, match=str(folder.snapshot_path)):
        Exchange(folder, applied=lambda: 0).getTransmissionData("a")


def send_snapshot(core, snapshot):
    sent = []
    core._outbox._inner.send = lambda _node, message: sent.append(message) or True
    for piece in pieces_of(disk.encode_snapshot(snapshot)):
        say(core, {"type": "append_entries", "term": 3, "commit_index": 99, "serialized": piece})
    return sent


def test_a_received_snapshot_takes_the_place_of_a_log_that_does_not_reach_it(core, obeyed):
    append(core, (b"\0ghost", 2, 3))
    sent = send_snapshot(core, snapshot_of("a"))
    assert obeyed == [snapshot_of("a").state]
    assert [entry[1:] for entry in core._journal[:]] == [(11, 2), (12, 3)]
    assert [message["next_node_idx"] for message in sent] == [13]
    assert core.raftLastApplied == core.raftCommitIndex == 12
    assert leader_of(core) is not None


def test_entries_after_a_received_snapshot_are_kept_and_not_answered_for(core, obeyed):
    entries = [(b"\0%d" % index, index, 2) for index in range(2, 12)]
    append(core, *entries, (b"\0two", 12, 3), (b"\0after", 13, 3), (b"\0last", 14, 3))
    sent = send_snapshot(core, snapshot_of("a"))
    assert [entry[1] for entry in core._journal[:]] == [11, 12, 13, 14]
    assert [message["next_node_idx"] for message in sent] == [13]
    append(core, previous=(14, 3), commit=14)
    assert obeyed[1:] == [b"after", b"last"]
