"""A journal that was cut off, holed or altered: refused by file and offset, or short of its last batch."""

import dataclasses
import random
from pathlib import Path

import pytest

from hamgr.raft.store.journal import Journal
from hamgr.raft.store.records import HEADER_BYTES, Codec, Kind, NotARecord, decode_header
from hamgr.raft.store.recovery import SECTOR_BYTES, JournalDamaged, recover
from hamgr.raft.store.storage import Storage

FLIPS = 3_000
ENTRIES = 150


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Path, content, and how the log stood at each size at which it was synced."""
    path = tmp_path_factory.mktemp("journal") / "journal"
    journal = Journal(Storage(), path, None)
    shuffle = random.Random(7)
    stood = {path.stat().st_size: ([], 0, None)}

    def sync():
        journal.sync()
        stood[path.stat().st_size] = (journal[:], journal.getCurrentTerm(), journal.getVotedForNodeId())

    index = term = 0
    while index < ENTRIES:
        term = max(term, index // 50)
        for _ in range(shuffle.randint(1, 6)):
            index += 1
            journal.add(b"\0" + shuffle.randbytes(shuffle.randint(1, 60)), index, term)
        if shuffle.random() < 0.2 and index > 10:
            index -= 2
            journal.deleteEntriesFrom(index)
            journal.setCurrentTerm(term, f"127.0.0.1:{index}")
        sync()
        if shuffle.random() < 0.3:
            journal.setRaftCommitIndex(max(1, index - 4))
    journal.close()
    return path, path.read_bytes(), stood


def believed(path, data):
    recovered = recover(path, data)
    return recovered.entries, recovered.barrier.term, recovered.barrier.vote


def test_a_journal_comes_back_as_it_was(written):
    path, data, stood = written
    assert believed(path, data) == stood[len(data)]
    assert len(stood) > 30


def test_cut_off_at_any_byte_it_is_what_it_was_at_the_last_sync_before(written):
    path, data, stood = written
    first = min(stood)
    for size in range(len(data)):
        if size < first:
            with pytest.raises(JournalDamaged, match=str(path)):
                recover(path, data[:size])
        else:
            recovered = recover(path, data[:size])
            assert recovered.end == max(synced for synced in stood if synced <= size)
            assert recovered.dropped_bytes == size - recovered.end
            assert (recovered.entries, recovered.barrier.term, recovered.barrier.vote) == stood[recovered.end]


def test_any_flipped_bit_is_refused_with_file_and_offset(written):
    path, data, _stood = written
    flip = random.Random(11)
    for _ in range(FLIPS):
        place = flip.randrange(len(data))
        damaged = bytearray(data)
        damaged[place] ^= 1 << flip.randrange(8)
        with pytest.raises(JournalDamaged) as refusal:
            recover(path, bytes(damaged))
        words = str(refusal.value).split()
        assert words[0] == str(path)
        assert int(words[words.index("byte") + 1].rstrip(":")) <= place


def test_sectors_that_were_never_written_cost_the_last_batch_and_nothing_else(written):
    path, data, stood = written
    *_, before, _last = sorted(stood)
    codec = Codec(decode_header(data))
    batch = bytearray()
    for number in range(60):
        batch += codec.encode(before + len(batch), Kind.ENTRY, ENTRIES + number, 9, bytes([number + 1]) * 50)
    last = recover(path, data[:before]).barrier
    whole = data[:before] + batch
    whole += codec.encode_barrier(len(whole), type(last)(last.sequence + 1, last.commit, 9, None))
    sectors = range(before // SECTOR_BYTES * SECTOR_BYTES, len(whole), SECTOR_BYTES)
    assert len(sectors) > 8
    for sector in sectors:
        holed = bytearray(whole)
        start, end = max(sector, before), min(sector + SECTOR_BYTES, len(whole))
        holed[start:end] = bytes(end - start)
        assert believed(path, bytes(holed)) == stood[before]


def test_sectors_that_read_as_zeros_ahead_of_later_batches_are_refused(written):
    path, data, stood = written
    last_two = sorted(stood)[-3]
    for sector in range(SECTOR_BYTES, last_two - SECTOR_BYTES, SECTOR_BYTES):
        holed = data[:sector] + bytes(SECTOR_BYTES) + data[sector + SECTOR_BYTES :]
        with pytest.raises(JournalDamaged, match=str(path)):
            recover(path, holed)


def test_a_batch_that_is_missing_or_comes_twice_is_refused(written):
    path, data, stood = written
    ends = sorted(stood)
    for number in (3, len(ends) // 2, len(ends) - 3):
        start, end = ends[number], ends[number + 1]
        for altered in (data[:start] + data[end:], data[:end] + data[start:]):
            with pytest.raises(JournalDamaged):
                recover(path, altered)


@pytest.mark.parametrize("ahead", [0, 2])
def test_a_barrier_out_of_turn_is_refused(written, ahead):
    path, data, _stood = written
    last = recover(path, data).barrier
    barrier = dataclasses.replace(last, sequence=last.sequence + ahead)
    with pytest.raises(JournalDamaged, match=f"byte {len(data)}: batch {barrier.sequence}"):
        recover(path, data + Codec(decode_header(data)).encode_barrier(len(data), barrier))


def test_a_record_counts_only_where_it_was_written(written):
    _path, data, _stood = written
    codec = Codec(decode_header(data))
    record = codec.encode(100, Kind.ENTRY, 7, 1, b"\0x")
    assert codec.decode(bytes(100) + record, 100).index == 7
    with pytest.raises(NotARecord):
        codec.decode(bytes(101) + record, 101)


def test_records_of_another_journal_are_refused(written, tmp_path):
    path, data, stood = written
    other = tmp_path / "journal"
    Journal(Storage(), other, None).close()
    with pytest.raises(JournalDamaged):
        recover(path, data[:HEADER_BYTES] + other.read_bytes()[HEADER_BYTES:])
    with pytest.raises(JournalDamaged):
        recover(path, other.read_bytes() + data[min(stood) :])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "does not begin"),
        (b"\0" * 4096, "does not begin"),
        (b"PYSYNCOBJ" * 100, "does not begin"),
    ],
)
def test_what_is_no_journal_is_refused(data, words):
    with pytest.raises(JournalDamaged, match=words):
        recover(Path("journal"), data)


def test_a_journal_of_another_format_is_refused_by_number(written, monkeypatch, tmp_path):
    monkeypatch.setattr("hamgr.raft.store.records.FORMAT", 2)
    newer = tmp_path / "journal"
    Journal(Storage(), newer, None).close()
    monkeypatch.undo()
    with pytest.raises(JournalDamaged, match="format is 2"):
        recover(newer, newer.read_bytes())
