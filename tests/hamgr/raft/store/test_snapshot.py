"""The bytes of a snapshot: as they were, or refused with the offset; whatever happened to them."""

import hashlib
import random

import msgpack
import pytest

from hamgr.raft.store import snapshot as snapshots
from hamgr.raft.store.snapshot import (
    FORMAT_1_MAGIC,
    HEADER_BYTES,
    Header,
    Snapshot,
    SnapshotDamaged,
    decode_header,
    decode_snapshot,
    encode_snapshot,
)
from statemachine import codec
from statemachine.model import State
from tests.hamgr.raft import kit
from tests.hamgr.raft.store.test_formats import golden
from tests.hamgr.raft.store.test_transfer import snapshot_of

BLOCKS = 300


@pytest.fixture(params=["snapshot-1", "snapshot-2"])
def content(request):
    return golden(request.param)


def refused(data, offset_max):
    with pytest.raises(SnapshotDamaged) as caught:
        decode_snapshot(bytes(data))
    assert 0 <= caught.value.offset <= offset_max


def test_a_snapshot_comes_back_as_it_was():
    snapshot = snapshot_of("a", "b")
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot


def test_equal_snapshots_give_equal_bytes():
    assert encode_snapshot(snapshot_of("a", "b")) == encode_snapshot(snapshot_of("a", "b"))


def test_every_flipped_bit_is_refused_with_an_offset_that_is_not_beyond_it(content):
    damaged = bytearray(content)
    for bit in range(len(content) * 8):
        damaged[bit // 8] ^= 1 << bit % 8
        refused(damaged, bit // 8)
        damaged[bit // 8] ^= 1 << bit % 8
    assert decode_snapshot(bytes(damaged))


def test_every_cut_is_refused_and_so_is_a_byte_too_many(content):
    for size in range(len(content)):
        refused(content[:size], size)
    refused(content + b"\0", len(content))


def test_zeros_or_other_bytes_in_place_of_a_block_are_refused(content):
    shuffle = random.Random(3)
    for _ in range(BLOCKS):
        start = shuffle.randrange(len(content) - 1)
        size = min(shuffle.choice((1, 16, 512)), len(content) - start)
        for block in (bytes(size), shuffle.randbytes(size)):
            damaged = content[:start] + block + content[start + size :]
            if damaged != content:
                refused(damaged, start)


@pytest.mark.parametrize("data", [b"", b"\0" * 500, b"HAMGRSNP", FORMAT_1_MAGIC, b"PYSYNCOBJ" * 20])
def test_what_is_no_snapshot_is_refused(data):
    refused(data, len(data))


def with_checksum(place, state):
    """Return a file whose checksums hold, whatever is in it."""
    packed = place if isinstance(place, bytes) else msgpack.packb(place)
    return Header(len(packed), len(state), hashlib.sha256(packed + state).digest()).encode() + packed + state


LAST, BEFORE_LAST, EMPTY = [b"\0", 9, 2], [b"\0", 8, 2], codec.encode_state(State())


@pytest.mark.parametrize(
    ("place", "state"),
    [
        ([], EMPTY),
        (b"\xc1", EMPTY),
        (b"", EMPTY),
        ([LAST, BEFORE_LAST], EMPTY),
        ([LAST, BEFORE_LAST, "text"], EMPTY),
        ([LAST, BEFORE_LAST, 7], EMPTY),
        ([LAST, LAST, b""], EMPTY),
        ([BEFORE_LAST, LAST, b""], EMPTY),
        ([["text", 9, 2], BEFORE_LAST, b""], EMPTY),
        ([[b"\0", "9", 2], BEFORE_LAST, b""], EMPTY),
        ([None, BEFORE_LAST, b""], EMPTY),
        ([LAST, BEFORE_LAST, b""], b""),
        ([LAST, BEFORE_LAST, b""], codec.encode_command(kit.add_node("a"))),
    ],
)
def test_checksums_alone_do_not_make_a_snapshot(place, state):
    with pytest.raises(SnapshotDamaged):
        decode_snapshot(with_checksum(place, state))


def test_checksums_that_hold_and_a_place_make_one():
    made = decode_snapshot(with_checksum([LAST, BEFORE_LAST, b""], EMPTY))
    assert made == Snapshot(state=State(), last=tuple(LAST), before_last=tuple(BEFORE_LAST))


def test_a_header_that_announces_too_much_is_refused_before_anything_is_read():
    header = Header(100, 1 << 62, bytes(32)).encode()
    assert len(header) == HEADER_BYTES
    with pytest.raises(SnapshotDamaged, match="more than the"):
        decode_header(header)


def test_a_later_format_is_told_from_damage_and_names_both_numbers(monkeypatch):
    monkeypatch.setattr(snapshots, "FORMAT", 3)
    later = encode_snapshot(snapshot_of("a"))
    monkeypatch.undo()
    with pytest.raises(
        SnapshotDamaged, match="its format is 3, and this version of hamgr reads 1 and 2 only"
    ):
        decode_snapshot(later)
    with pytest.raises(SnapshotDamaged, match="checksum of its header"):
        decode_snapshot(later[:8] + b"\4" + later[9:])
