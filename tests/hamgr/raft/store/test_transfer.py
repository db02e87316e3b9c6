"""Snapshots written and read piece by piece: whole or nothing, and never in the way of the one in force."""

import os
import threading
import time

import pytest

from hamgr.raft.store import snapshot as snapshots
from hamgr.raft.store import transfer
from hamgr.raft.store.folder import Folder
from hamgr.raft.store.snapshot import Snapshot, SnapshotDamaged, encode_snapshot
from hamgr.raft.store.storage import DiskFailed
from statemachine import machine
from statemachine.model import State
from tests.hamgr.raft import kit
from tests.hamgr.raft.bad_disk import FailingStorage

PIECE = 77


def snapshot_of(*names: str, index: int = 12) -> Snapshot:
    state = State()
    for name in names:
        state, _outcome = machine.apply(state, kit.add_node(name))
    return Snapshot(
        state=state, last=(b"\0two", index, 3), before_last=(b"\0one", index - 1, 2), configuration=b"who"
    )


@pytest.fixture
def storage():
    return FailingStorage()


@pytest.fixture
def folder(tmp_path, storage):
    made = Folder(tmp_path / "folder", storage)
    made.put_in_force(made.stage(encode_snapshot(snapshot_of("mine")), "new"))
    yield made
    made.close()


def files(folder):
    return {path.name: path.read_bytes() for path in folder.snapshot_path.parent.iterdir()}


def send(incoming, content, size=PIECE):
    for at in range(0, len(content), size):
        incoming.write(at, content[at : at + size])


def received(folder, content):
    incoming = folder.receiving()
    send(incoming, content)
    return incoming.finish()


def test_a_snapshot_goes_from_folder_to_folder_in_pieces(folder, tmp_path):
    target = Folder(tmp_path / "target")
    outgoing, incoming = folder.open_snapshot(), target.receiving()
    while incoming.size_bytes < outgoing.size_bytes:
        incoming.write(incoming.size_bytes, outgoing.read(incoming.size_bytes, PIECE))
    assert outgoing.read(outgoing.size_bytes, PIECE) == b""
    assert incoming.finish() == snapshot_of("mine")
    target.put_in_force(incoming.path)
    assert target.load() == folder.load() == snapshot_of("mine")
    outgoing.close()
    outgoing.close()
    target.close()


def test_what_is_being_sent_stays_the_same_when_another_is_put_in_force(folder):
    content = folder.snapshot_path.read_bytes()
    outgoing = folder.open_snapshot()
    first = outgoing.read(0, PIECE)
    folder.put_in_force(folder.stage(encode_snapshot(snapshot_of("another", "one")), "new"))
    assert first + outgoing.read(PIECE, 1 << 30) == content
    assert folder.snapshot_path.read_bytes() != content
    outgoing.close()


def test_a_stored_snapshot_that_is_damaged_is_not_sent(folder):
    content = bytearray(folder.snapshot_path.read_bytes())
    content[-1] ^= 1
    folder.snapshot_path.write_bytes(content)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(SnapshotDamaged, match=f"{folder.snapshot_path} cannot be read any more"):
        folder.open_snapshot()
    assert os.listdir("/proc/self/fd") == before


def test_a_stored_snapshot_that_shrinks_while_it_is_sent_is_noticed(folder):
    outgoing = folder.open_snapshot()
    os.truncate(folder.snapshot_path, 100)
    assert len(outgoing.read(0, PIECE)) == PIECE
    with pytest.raises(SnapshotDamaged, match="ends at 100"):
        outgoing.read(PIECE, PIECE)
    outgoing.close()


def test_what_is_received_changes_nothing_until_it_is_put_in_force(folder, storage):
    before = folder.snapshot_path.read_bytes()
    content = encode_snapshot(snapshot_of("theirs"))
    incoming = folder.receiving()
    send(incoming, content)
    assert "sync" not in storage.calls[storage.calls.index("replace") + 2 :]
    assert incoming.finish() == snapshot_of("theirs")
    assert storage.calls[-1] == "sync"
    assert folder.snapshot_path.read_bytes() == before
    folder.put_in_force(incoming.path)
    assert folder.snapshot_path.read_bytes() == content


def test_one_that_is_cut_off_anywhere_or_altered_leaves_nothing(folder):
    content, before = encode_snapshot(snapshot_of("theirs")), files(folder)
    for size in range(0, len(content), 13):
        with pytest.raises(SnapshotDamaged):
            received(folder, content[:size])
        assert files(folder) == before
    for at in range(0, len(content), 13):
        altered = content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]
        with pytest.raises(SnapshotDamaged):
            received(folder, altered)
        folder.receiving().abandon()
        assert files(folder) == before


@pytest.mark.parametrize("offset", [0, PIECE - 1, PIECE + 1])
def test_a_piece_out_of_turn_is_refused_and_the_right_one_still_fits(folder, offset):
    content = encode_snapshot(snapshot_of("theirs"))
    incoming = folder.receiving()
    incoming.write(0, content[:PIECE])
    with pytest.raises(SnapshotDamaged, match=f"begins at {offset}, but {PIECE}"):
        incoming.write(offset, content[PIECE : 2 * PIECE])
    incoming.write(PIECE, content[PIECE:])
    assert incoming.finish() == snapshot_of("theirs")


def test_more_than_the_header_announces_is_refused_before_it_is_written(folder):
    content = encode_snapshot(snapshot_of("theirs"))
    incoming = folder.receiving()
    send(incoming, content)
    with pytest.raises(SnapshotDamaged, match=f"more than the {len(content)} bytes"):
        incoming.write(len(content), b"x")
    assert incoming.path.stat().st_size == len(content)
    incoming.abandon()


def test_one_that_announces_too_much_is_refused_by_its_header(folder, monkeypatch):
    content = encode_snapshot(snapshot_of("theirs"))
    monkeypatch.setattr(snapshots, "SNAPSHOT_BYTES_MAX", len(content) - 1)
    incoming = folder.receiving()
    with pytest.raises(SnapshotDamaged, match="more than the"):
        incoming.write(0, content[:PIECE])
    assert incoming.path.stat().st_size == 0
    incoming.abandon()


def test_a_second_reception_takes_the_place_of_the_first(folder):
    first = folder.receiving()
    first.write(0, encode_snapshot(snapshot_of("first"))[:PIECE])
    second = folder.receiving()
    first.abandon()
    send(second, encode_snapshot(snapshot_of("second")))
    assert second.finish() == snapshot_of("second")
    second.abandon()
    assert not second.path.exists()


@pytest.mark.parametrize("operation", ["create", "append", "sync"])
def test_a_disk_that_fails_while_a_snapshot_is_received_is_for_good(folder, storage, operation):
    before = folder.snapshot_path.read_bytes()
    storage.fail = operation

    with pytest.raises(DiskFailed, match=r"snapshot\.received could not be written safely"):
        received(folder, encode_snapshot(snapshot_of("theirs")))
    assert folder.snapshot_path.read_bytes() == before


def test_a_snapshot_that_cannot_be_staged_leaves_no_half_file(folder, storage):
    before = files(folder)
    storage.fail = "append"
    with pytest.raises(OSError, match="as the test wants"):
        folder.stage(encode_snapshot(snapshot_of("another")), "new")
    assert files(folder) == before


def test_a_large_one_is_checked_by_a_thread_of_its_own(folder, monkeypatch):
    gate, decode = threading.Event(), transfer.decode_snapshot

    def slowly(data):
        assert gate.wait(20)
        return decode(data)

    monkeypatch.setattr(transfer, "decode_snapshot", slowly)
    incoming = folder.receiving()
    send(incoming, encode_snapshot(snapshot_of("theirs")))
    assert not incoming.checked
    for _ in range(3):
        incoming.check_beside()
        assert not incoming.checked
    gate.set()
    deadline = time.monotonic() + 20
    while not incoming.checked:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert incoming.finish() == snapshot_of("theirs")
    folder.put_in_force(incoming.path)
    assert folder.load() == snapshot_of("theirs")


def test_one_that_is_damaged_is_refused_after_the_thread_has_looked(folder):
    before = files(folder)
    incoming = folder.receiving()
    send(incoming, encode_snapshot(snapshot_of("theirs"))[:-1])
    incoming.check_beside()
    with pytest.raises(SnapshotDamaged, match="bytes instead of"):
        incoming.finish()
    assert files(folder) == before


def test_a_disk_that_fails_beneath_the_thread_is_for_good(folder, storage):
    incoming = folder.receiving()
    send(incoming, encode_snapshot(snapshot_of("theirs")))
    storage.fail = "sync"
    incoming.check_beside()
    with pytest.raises(DiskFailed, match=r"snapshot\.received could not be written safely"):
        incoming.finish()


def test_abandoning_waits_for_the_thread_and_leaves_nothing(folder):
    before = files(folder)
    incoming = folder.receiving()
    send(incoming, encode_snapshot(snapshot_of("theirs")))
    incoming.check_beside()
    incoming.abandon()
    assert files(folder) == before
    assert not any(thread.name == "received snapshot" for thread in threading.enumerate())


def test_what_was_checked_at_the_start_is_loaded_once_and_never_in_place_of_a_newer_one(folder):
    folder.snapshot_path.unlink()
    folder.settle().close()
    folder.put_in_force(folder.stage(encode_snapshot(snapshot_of("first", index=3)), "new"))
    folder.settle().close()
    folder.put_in_force(folder.stage(encode_snapshot(snapshot_of("second", index=4)), "new"))
    assert folder.load() == snapshot_of("second", index=4)
    folder.settle().close()
    assert folder.load() == folder.load() == snapshot_of("second", index=4)
