"""The store of blobs: what it holds is what was put there, or it says so."""

import errno
import hashlib
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import blobs
from backends.blobs import BlobDamaged, BlobStore, NoSuchBlob, StoreUnusable, WrongDigest, digest_of

DATA = b"a bundle\n" * 100
DIGEST = digest_of(DATA)
ABSENT = digest_of(b"never put")


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "state/blobs"


@pytest.fixture
def store(directory):
    return BlobStore(directory)


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_what_is_put_can_be_had_again_by_this_store_and_the_next(store, directory):
    store.put(DIGEST, DATA)
    for each in (store, BlobStore(directory)):
        assert each.get(DIGEST) == DATA
        assert each.has(DIGEST)
        assert each.list() == (DIGEST,)
    assert names(directory) == [hashlib.sha256(DATA).hexdigest()]


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=5000))
def test_any_bytes_come_back(tmp_path_factory, data):
    store = BlobStore(tmp_path_factory.mktemp("any"))
    store.put(digest_of(data), data)
    assert store.get(digest_of(data)) == data


def test_a_second_put_changes_nothing(store, directory):
    store.put(DIGEST, DATA)
    before = next(directory.iterdir()).stat()
    store.put(DIGEST, DATA)
    after = next(directory.iterdir()).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_bytes_of_another_digest_are_refused_and_nothing_is_stored(store, directory):
    with pytest.raises(WrongDigest, match="send them again"):
        store.put(ABSENT, DATA)
    assert names(directory) == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../../etc/passwd",
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 63,
        DIGEST + "\n",
        "sha256:../" + "0" * 61,
    ],
)
def test_what_is_no_digest_never_becomes_the_name_of_a_file(store, directory, name):
    for call in (store.get, store.has, store.remove, lambda digest: store.put(digest, DATA)):
        with pytest.raises(WrongDigest):
            call(name)
    assert names(directory) == []


def test_an_absent_blob_is_named(store):
    with pytest.raises(NoSuchBlob, match=ABSENT):
        store.get(ABSENT)
    assert not store.has(ABSENT)
    assert store.remove(ABSENT) is False


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b"X" + b[1:], lambda b: b""]
)
def test_a_damaged_blob_is_never_returned_and_can_be_replaced(store, directory, damage):
    store.put(DIGEST, DATA)
    (file,) = directory.iterdir()
    file.chmod(0o600)
    file.write_bytes(damage(DATA))
    with pytest.raises(BlobDamaged, match=str(file)) as caught:
        store.get(DIGEST)
    assert caught.value.path == file
    assert file.read_bytes() == damage(DATA)
    store.put(DIGEST, DATA)
    assert store.get(DIGEST) == DATA


def test_a_removed_blob_is_gone(store, directory):
    store.put(DIGEST, DATA)
    assert store.remove(DIGEST) is True
    assert (store.has(DIGEST), store.list(), names(directory)) == (False, (), [])


def test_what_an_interrupted_put_left_is_never_listed_and_removed_at_the_next_start(store, directory):
    for name, age_s in ((".new-0011", 7200), (".new-0022", 5)):
        (directory / name).write_bytes(b"half")
        os.utime(directory / name, (time.time() - age_s, time.time() - age_s))
    (directory / "notes.txt").write_text("somebody's")
    assert store.list() == ()
    BlobStore(directory)
    assert names(directory) == [".new-0022", "notes.txt"]  # one that may still be written is left alone


FAULTS = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EIO: "the disk reports an error; replace it",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "the directory's owner or mode does not let hamgr in",
}


@pytest.mark.parametrize("number", FAULTS)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_stores_nothing_and_is_described(store, directory, monkeypatch, number, call):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), fail)
    with pytest.raises(StoreUnusable) as caught:
        store.put(DIGEST, DATA)
    assert str(caught.value).endswith(f"cannot store {DIGEST}: {FAULTS[number]}") or FAULTS[number] in str(
        caught.value
    )
    assert names(directory) == []
    monkeypatch.undo()
    assert not store.has(DIGEST)


def test_a_disk_that_is_really_full_stores_nothing(tmp_path):
    """A limit on the size of files stands for the full disk: the write itself fails."""
    store = BlobStore(tmp_path)
    child = os.fork()
    if child == 0:  # pragma: no cover - the limit holds for ever, so it is set in a process of its own
        import resource  # noqa: PLC0415 - only this process needs it
        import signal  # noqa: PLC0415 - only this process needs it

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            store.put(DIGEST, DATA)
        except StoreUnusable:
            os._exit(3)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert names(tmp_path) == []


def test_the_bytes_are_synced_before_their_name_and_the_name_before_the_answer(store, monkeypatch):
    done = []
    sync, replace = os.fsync, Path.replace
    kind = {True: "directory", False: "file"}

    def fsync(descriptor):
        done.append(f"sync {kind[os.path.isdir(f'/proc/self/fd/{descriptor}')]}")  # noqa: PTH112 - a link of proc
        sync(descriptor)

    def renamed(self, target):
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", renamed)
    store.put(DIGEST, DATA)
    assert done == ["sync file", "rename", "sync directory"]
    store.put(DIGEST, DATA)
    assert done[3:] == ["sync directory"]


def test_a_directory_that_cannot_be_used_is_described(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnusable, match="something that is not a directory is in the way"):
        BlobStore(tmp_path / "file")
    with pytest.raises(StoreUnusable, match="something that is not a directory is in the way"):
        BlobStore(tmp_path / "file/blobs")


def test_a_read_only_store_still_serves(store, directory):
    store.put(DIGEST, DATA)
    directory.chmod(0o500)
    try:
        reader = BlobStore(directory)
        assert reader.get(DIGEST) == DATA
        if os.geteuid() != 0:
            other = b"more"
            with pytest.raises(StoreUnusable, match="owner or mode does not let hamgr in"):
                reader.put(digest_of(other), other)
        assert reader.list() == (DIGEST,)
    finally:
        directory.chmod(0o700)


def test_a_blob_has_a_largest_size(store, directory, monkeypatch):
    monkeypatch.setattr(blobs, "BLOB_BYTES_MAX", 10)
    with pytest.raises(StoreUnusable, match="a blob may have 10 bytes"):
        store.put(DIGEST, DATA)
    assert names(directory) == []


def test_several_writers_of_one_blob_do_not_disturb_each_other(directory):
    stores = [BlobStore(directory) for _ in range(8)]
    threads = [threading.Thread(target=each.put, args=(DIGEST, DATA)) for each in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert BlobStore(directory).get(DIGEST) == DATA
    assert len(names(directory)) == 1
