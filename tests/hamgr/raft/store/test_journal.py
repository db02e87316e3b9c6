"""The journal as the library uses it, on a disk that may fail."""

import errno
import os
import random

import pytest

from hamgr.raft.store.journal import Journal, LogBroken
from hamgr.raft.store.recovery import recover
from hamgr.raft.store.storage import DiskFailed, Storage
from tests.hamgr.raft.bad_disk import FailingStorage, LossyStorage


@pytest.fixture
def storage():
    return FailingStorage()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal"


def filled(storage, path, count=20):
    journal = Journal(storage, path, None)
    for index in range(1, count + 1):
        journal.add(b"\0%d" % index, index, 1)
    journal.sync()
    return journal


def stored(path):
    return recover(path, path.read_bytes())


def reopened(journal, path, storage=None):
    journal.close()
    return Journal(storage or Storage(), path, stored(path))


def test_everything_noted_is_in_the_file_after_a_sync_and_nothing_of_it_before(storage, path):
    journal = filled(storage, path)
    before = path.read_bytes()
    journal.add(b"\0more", 21, 2)
    journal.setCurrentTerm(3, "127.0.0.1:7")
    journal.setRaftCommitIndex(20)
    assert path.read_bytes() == before
    assert journal.dirty
    journal.sync()
    assert not journal.dirty
    again = reopened(journal, path)
    assert again[-1] == (b"\0more", 21, 2)
    assert len(again) == 21
    assert (again.getCurrentTerm(), again.getVotedForNodeId()) == (3, "127.0.0.1:7")
    assert again.getRaftCommitIndex() == 20
    again.close()


def test_entries_that_are_taken_back_stay_so_and_others_take_their_place(storage, path):
    journal = filled(storage, path)
    before = path.read_bytes()
    journal.deleteEntriesFrom(15)
    journal.add(b"\0other", 16, 2)
    journal.deleteEntriesFrom(99)
    journal.sync()
    assert path.read_bytes().startswith(before)
    again = reopened(journal, path)
    assert [entry[1] for entry in again[:]] == list(range(1, 17))
    assert again[-1] == (b"\0other", 16, 2)
    again.close()


def test_a_journal_that_is_cleared_begins_where_the_snapshot_ends(storage, path):
    journal = filled(storage, path)
    journal.clear()
    journal.add(b"\0a", 100, 4)
    journal.add(b"\0b", 101, 4)
    journal.sync()
    again = reopened(journal, path)
    assert again[:] == [(b"\0a", 100, 4), (b"\0b", 101, 4)]
    again.close()


def test_compaction_keeps_the_rest_the_vote_and_the_identity(storage, path):
    journal = filled(storage, path)
    journal.setCurrentTerm(5, "127.0.0.1:9")
    identity, size = stored(path).header.identity, path.stat().st_size
    journal.add(b"\0not yet synced", 21, 5)
    journal.deleteEntriesTo(17)
    assert not journal.dirty
    assert path.stat().st_size < size
    found = stored(path)
    assert [entry[1] for entry in found.entries] == [18, 19, 20, 21]
    assert (found.barrier.term, found.barrier.vote) == (5, "127.0.0.1:9")
    assert (found.header.identity, found.header.generation) == (identity, 2)
    assert storage.calls[-5:] == ["create", "append", "sync", "replace", "sync_folder"]
    journal.add(b"\0after", 22, 5)
    journal.sync()
    again = reopened(journal, path)
    assert len(again) == 5
    again.close()


def test_syncing_what_is_synced_asks_nothing_of_the_disk(storage, path):
    journal = filled(storage, path)
    before = list(storage.calls)
    for _ in range(10):
        journal.sync()
        journal.onOneSecondTimer()
        journal.setCurrentTerm(0, None)
    assert storage.calls == before
    journal.close()


def test_a_commit_index_alone_is_written_once_a_second(storage, path):
    journal = filled(storage, path)
    journal.setRaftCommitIndex(20)
    journal.sync()
    assert stored(path).barrier.commit == 1
    journal.onOneSecondTimer()
    journal.sync()
    assert stored(path).barrier.commit == 20
    journal.close()


def test_what_a_killed_process_wrote_is_synced_before_it_is_believed(tmp_path, path):
    """The process died between its write and its sync; the kernel still has the bytes, the disk has not."""
    storage = LossyStorage(tmp_path / "attic", random.Random(1))
    journal = filled(storage, path)
    journal.add(b"\0written", 21, 1)
    storage._sync = lambda _file: None
    journal.sync()
    del storage._sync
    again = reopened(journal, path, storage)
    assert again[-1][0] == b"\0written"
    assert recover(path, storage.synced_bytes(path)).entries[-1][0] == b"\0written"
    again.close()


def test_an_incomplete_batch_is_cut_off_before_the_journal_goes_on(storage, path):
    journal = filled(storage, path)
    whole = path.read_bytes()
    journal.add(b"\0lost", 21, 1)
    journal.sync()
    os.truncate(path, len(whole) + 10)
    again = reopened(journal, path, storage)
    assert path.read_bytes() == whole
    again.add(b"\0instead", 21, 2)
    again.sync()
    last = reopened(again, path)
    assert last[-1] == (b"\0instead", 21, 2)
    last.close()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("operation", ["append", "sync"])
def test_after_a_failed_write_or_sync_the_journal_does_nothing_any_more(storage, path, operation, error):
    journal = filled(storage, path)
    storage.fail, storage.error = operation, error
    journal.add(b"\0x", 21, 1)
    with pytest.raises(DiskFailed, match=f"{path} could not be written safely"):
        journal.sync()
    storage.fail = ""
    calls, content = list(storage.calls), path.read_bytes()
    for attempt in (
        journal.sync,
        journal.clear,
        lambda: journal.add(b"\0y", 22, 1),
        lambda: journal.deleteEntriesFrom(3),
        lambda: journal.deleteEntriesTo(3),
    ):
        with pytest.raises(DiskFailed):
            attempt()
    assert (storage.calls, path.read_bytes()) == (calls, content)
    journal.close()
    assert len(stored(path).entries) >= 20


@pytest.mark.parametrize("operation", ["create", "append", "sync", "replace", "sync_folder"])
def test_a_compaction_that_fails_leaves_a_whole_journal_and_stops(storage, path, operation):
    journal = filled(storage, path)
    storage.fail = operation
    with pytest.raises(DiskFailed):
        journal.deleteEntriesTo(10)
    with pytest.raises(DiskFailed):
        journal.sync()
    journal.close()
    assert stored(path).entries[-1][1] == 20


@pytest.mark.parametrize("operation", ["create", "append", "sync", "replace", "sync_folder"])
def test_a_journal_that_cannot_be_made_durable_is_not_begun(storage, path, operation):
    storage.fail = operation
    with pytest.raises(DiskFailed):
        Journal(storage, path, None)


@pytest.mark.parametrize("operation", ["sync", "sync_folder"])
def test_a_journal_that_cannot_be_synced_is_not_opened(storage, path, operation):
    filled(storage, path).close()
    storage.fail = operation
    with pytest.raises(DiskFailed):
        Journal(storage, path, stored(path))


def test_no_file_stays_open_whatever_fails(path):
    before = set(os.listdir("/proc/self/fd"))
    for operation in ("create", "append", "sync", "replace", "sync_folder"):
        storage = FailingStorage()
        journal = filled(storage, path)
        storage.fail = operation
        with pytest.raises(DiskFailed):
            journal.deleteEntriesTo(1)
        journal.close()
        path.unlink()
    assert len(os.listdir("/proc/self/fd")) <= len(before)


def test_a_committed_entry_is_not_taken_back(storage, path):
    journal = filled(storage, path)
    journal.setRaftCommitIndex(12)
    with pytest.raises(LogBroken, match="entry 12"):
        journal.deleteEntriesFrom(11)
    assert len(journal) == 20
    journal.deleteEntriesFrom(12)
    assert len(journal) == 12
    journal.close()


@pytest.mark.parametrize(("index", "term"), [(20, 1), (22, 1), (21, 0)])
def test_an_entry_that_does_not_follow_is_not_taken(storage, path, index, term):
    journal = filled(storage, path)
    with pytest.raises(LogBroken, match=str(path)):
        journal.add(b"\0x", index, term)
    assert len(journal) == 20
    assert not journal.dirty
    journal.close()


def test_an_entry_is_found_by_its_index_and_others_are_not(storage, path):
    journal = filled(storage, path)
    journal.add(b"\0later", 21, 4)
    assert (journal.first, journal.last, journal.last_term) == (1, 21, 4)
    journal.deleteEntriesTo(4)
    assert (journal.first, journal.last, journal.last_term) == (5, 21, 4)
    assert [journal.term_at(index) for index in (0, 4, 5, 20, 21, 22)] == [None, None, 1, 1, 4, None]
    journal.close()


def test_a_journal_without_entries_is_nowhere(storage, path):
    journal = Journal(storage, path, None)
    assert (journal.first, journal.last, journal.last_term) == (0, 0, 0)
    assert journal.term_at(0) is None
    assert journal.entries_from(1, 100, 100) == []
    journal.close()


@pytest.mark.parametrize(
    ("index", "bytes_max", "count_max", "found"),
    [
        (5, 1_000, 1_000, range(5, 21)),
        (5, 1_000, 3, range(5, 8)),
        (10, 9, 100, range(10, 13)),
        (10, 1, 100, range(10, 11)),
        (20, 1_000, 1_000, range(20, 21)),
        (21, 1_000, 1_000, range(0)),
        (99, 1_000, 1_000, range(0)),
        (5, 1_000, 0, range(0)),
    ],
)
def test_entries_are_given_from_an_index_on_within_bounds(storage, path, index, bytes_max, count_max, found):
    journal = filled(storage, path)
    journal.deleteEntriesTo(4)
    assert [entry[1] for entry in journal.entries_from(index, bytes_max, count_max)] == list(found)
    journal.close()


def test_entries_that_were_forgotten_are_asked_of_the_snapshot(storage, path):
    journal = filled(storage, path)
    journal.deleteEntriesTo(4)
    with pytest.raises(IndexError, match="entry 4 is not kept"):
        journal.entries_from(4, 100, 100)
    journal.close()


def test_a_new_journal_takes_the_identity_that_it_is_given_and_keeps_it(storage, path):
    journal = Journal(storage, path, None, identity=b"sixteen bytes!!!")
    journal.add(b"\0a", 1, 1)
    journal.deleteEntriesTo(0)
    again = reopened(journal, path)
    assert again.identity == b"sixteen bytes!!!"
    again.close()


def test_two_journals_have_two_identities(storage, tmp_path):
    one, other = (Journal(storage, tmp_path / name, None) for name in "ab")
    assert one.identity != other.identity
    one.close()
    other.close()


def test_every_sync_is_counted_and_timed_and_an_idle_one_is_not(storage, path):
    journal = filled(storage, path)
    seconds = []
    journal.observe_sync = seconds.append
    before = journal.syncs
    journal.add(b"\0a", 21, 1)
    assert journal.size_bytes > path.stat().st_size
    journal.sync()
    journal.sync()
    assert journal.size_bytes == path.stat().st_size
    assert journal.syncs == before + 1
    assert len(seconds) == 1
    assert 0 < seconds[0] < 10
    journal.close()
