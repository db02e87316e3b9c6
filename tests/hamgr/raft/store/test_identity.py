"""Data folders that are new, emptied, swapped, copied or damaged: one start, or one sentence why not."""

import errno
import os
import random
import shutil

import pytest

from hamgr.raft.port import CannotStart
from hamgr.raft.store import identity as identities
from hamgr.raft.store.folder import Folder
from hamgr.raft.store.identity import begin, create, load
from hamgr.raft.store.recovery import recover
from tests.hamgr.raft.bad_disk import FailingStorage, LossyStorage, PowerCut

CLUSTER, REPLICA = "c0ffee00-0000-4000-8000-000000000001", "c0ffee00-0000-4000-8000-0000000000aa"
OTHER = "c0ffee00-0000-4000-8000-0000000000bb"
WHO = {"cluster": CLUSTER, "replica": REPLICA}
FILES = ["identity", "journal", "lock", "starts"]


@pytest.fixture
def machine(tmp_path):
    path = tmp_path / "machine-id"
    path.write_text("0123456789abcdef" * 2 + "\n")
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "parent" / "data"


@pytest.fixture
def made(path, machine):
    return create(path, **WHO, machine_id=machine)


def files(path):
    return {entry.name: entry.read_bytes() for entry in path.iterdir()} if path.exists() else None


def refusal(path, machine, *, do=load, **who) -> str:
    """Return why the folder is refused, which changes nothing in it."""
    before = files(path)
    with pytest.raises(CannotStart) as caught:
        do(path, **{**WHO, **who}, machine_id=machine)
    assert files(path) == before
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_new_folder_is_known_again_and_its_journal_is_the_one_made_with_it(path, machine, made):
    assert load(path, **WHO, machine_id=machine) == made
    assert (made.cluster, made.replica, made.starts) == (CLUSTER, REPLICA, 0)
    assert sorted(files(path)) == FILES
    folder = Folder(path)
    journal = folder.settle(made.folder)
    assert (journal.identity, len(journal)) == (made.folder, 0)
    journal.close()
    folder.close()


def test_two_folders_differ(path, machine, made, tmp_path):
    assert create(tmp_path / "second", **WHO, machine_id=machine).folder != made.folder


def test_only_the_owner_may_read_the_folder(path, made):
    assert path.stat().st_mode & 0o777 == 0o700
    assert all(entry.stat().st_mode & 0o777 == 0o600 for entry in path.iterdir())


def test_each_start_is_counted_before_it_counts(path, machine, made):
    storage = FailingStorage()
    for number in (1, 2, 3):
        begun = begin(path, load(path, **WHO, machine_id=machine), storage)
        assert begun.starts == number
        assert storage.calls[-5:] == ["create", "append", "sync", "replace", "sync_folder"]
    assert load(path, **WHO, machine_id=machine) == begun


@pytest.mark.parametrize("operation", ["create", "append", "sync", "replace", "sync_folder"])
def test_a_start_that_cannot_be_counted_is_none(path, machine, made, operation):
    storage = FailingStorage()
    storage.fail = operation
    with pytest.raises(CannotStart, match=f"{path} cannot be written"):
        begin(path, made, storage)
    assert load(path, **WHO, machine_id=machine).starts in (0, 1)


@pytest.mark.parametrize("name", ["journal", "identity", "notes.txt"])
def test_a_folder_that_is_not_empty_is_not_taken(path, machine, name):
    path.mkdir(parents=True)
    (path / name).write_bytes(b"something")
    assert f"is not empty ({name})" in refusal(path, machine, do=create)


def test_a_folder_is_not_made_twice(path, machine, made):
    assert "is not empty (identity, journal, lock)" in refusal(path, machine, do=create)


def test_an_empty_folder_that_is_there_is_taken(path, machine):
    path.mkdir(parents=True)
    (path / "lock").touch()
    create(path, **WHO, machine_id=machine)
    assert load(path, **WHO, machine_id=machine).starts == 0


def test_what_is_no_folder_is_refused(tmp_path, machine):
    path = tmp_path / "file"
    path.write_bytes(b"")
    with pytest.raises(CannotStart, match="cannot be used: Not a directory"):
        create(path, **WHO, machine_id=machine)


@pytest.mark.parametrize("operation", ["create", "append", "sync", "replace", "sync_folder"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_folder_that_cannot_be_made_can_be_made_later(path, machine, operation, after):
    class Later(FailingStorage):
        def _pass(self, name):
            if self.calls.count(operation) >= after:
                self.fail, self.error = operation, errno.ENOSPC
            super()._pass(name)

    with pytest.raises(CannotStart):
        create(path, **WHO, machine_id=machine, storage=Later())
    create(path, **WHO, machine_id=machine)
    assert load(path, **WHO, machine_id=machine).starts == 0


@pytest.mark.parametrize("wipe", [shutil.rmtree, lambda path: [one.unlink() for one in path.iterdir()]])
def test_a_folder_that_was_emptied_is_refused_with_the_way_out(path, machine, made, wipe):
    wipe(path)
    why = refusal(path, machine)
    assert "never made, or what was in it is gone" in why
    assert "`hamgrd init`" in why
    assert "remove this replica from the cluster, and add it again" in why


def test_a_journal_that_is_gone_or_another_is_refused(path, machine, made, tmp_path):
    other = create(tmp_path / "other", cluster=CLUSTER, replica=OTHER, machine_id=machine)
    folder = Folder(path)
    with pytest.raises(CannotStart, match="the journal of another folder"):
        folder.settle(other.folder)
    folder.journal_path.unlink()
    with pytest.raises(CannotStart, match="journal is gone"):
        folder.settle(made.folder)
    assert sorted(files(path)) == ["identity", "lock", "starts"]
    folder.close()


def test_starts_that_are_gone_or_of_another_folder_are_refused(path, machine, made, tmp_path):
    create(tmp_path / "other", cluster=CLUSTER, replica=OTHER, machine_id=machine)
    (path / "starts").write_bytes((tmp_path / "other" / "starts").read_bytes())
    assert "`starts` is damaged at byte 16: it belongs to another folder" in refusal(path, machine)
    (path / "starts").unlink()
    assert f"{path / 'starts'} is gone" in refusal(path, machine)


@pytest.mark.parametrize("who", [{"cluster": OTHER}, {"replica": OTHER}])
def test_a_folder_of_another_replica_or_cluster_is_refused_naming_both(path, machine, made, who):
    why = refusal(path, machine, **who)
    assert {CLUSTER, REPLICA, OTHER} <= set(why.replace(",", "").replace(";", "").split())


@pytest.mark.parametrize("how", ["copied", "copied back", "identity copied"])
def test_a_copy_is_refused_and_a_folder_that_was_moved_is_not(path, machine, made, tmp_path, how):
    moved = path.rename(tmp_path / "moved")
    assert load(moved, **WHO, machine_id=machine) == made
    match how:
        case "copied":
            shutil.copytree(moved, path)
        case "copied back":
            shutil.copytree(moved, path)
            shutil.rmtree(moved)
        case "identity copied":
            moved.rename(path)
            shutil.copy(path / "identity", path / "copy")
            (path / "copy").replace(path / "identity")
    why = refusal(path, machine)
    assert f"{path} is a copy: its file `identity` was made as inode" in why
    assert "remove this replica from the cluster" in why


def test_a_folder_on_another_machine_is_refused(path, machine, made):
    machine.write_text("f" * 32)
    assert "made on another machine" in refusal(path, machine)


@pytest.mark.parametrize("text", [None, "", "uninitialized\n", "\xff", "0" * 31])
def test_a_machine_without_an_id_is_not_compared(path, machine, made, text, tmp_path):
    if text is None:
        machine.unlink()
    else:
        machine.write_bytes(text.encode("latin-1"))
    assert load(path, **WHO, machine_id=machine) == made
    second = create(tmp_path / "second", **WHO, machine_id=machine)
    machine.write_text("a" * 32)
    assert load(tmp_path / "second", **WHO, machine_id=machine) == second


def test_the_id_of_the_machine_is_not_in_the_file(path, machine, made):
    content = (path / "identity").read_bytes()
    assert b"0123456789abcdef" not in content
    assert bytes.fromhex("0123456789abcdef") not in content


@pytest.mark.parametrize("name", ["identity", "starts"])
def test_every_flipped_bit_every_cut_and_every_byte_too_many_is_refused(path, machine, made, name):
    file = path / name
    content = file.read_bytes()

    def refused_with(data):
        file.write_bytes(data)
        why = refusal(path, machine)
        assert f"`{name}`" in why
        assert "cannot be trusted" in why

    for bit in range(len(content) * 8):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        refused_with(bytes(damaged))
    for size in range(len(content)):
        refused_with(content[:size])
    refused_with(content + b"\0")
    refused_with(bytes(len(content)))
    file.write_bytes(content)
    assert load(path, **WHO, machine_id=machine) == made


@pytest.mark.parametrize("name", ["identity", "starts"])
def test_a_later_format_is_refused_naming_both(path, machine, made, name, monkeypatch, tmp_path):
    monkeypatch.setattr(identities, "FORMAT", 7)
    create(tmp_path / "later", **WHO, machine_id=machine)
    monkeypatch.undo()
    (path / name).write_bytes((tmp_path / "later" / name).read_bytes())
    why = refusal(path, machine)
    assert f"`{name}` is damaged at byte 8: its format is 7, and this version of hamgr reads 1 only" in why


@pytest.mark.parametrize("seed", range(40))
def test_power_that_is_lost_while_a_folder_is_made_or_started_costs_at_most_a_start(tmp_path, machine, seed):
    shuffle = random.Random(seed)
    storage, path = LossyStorage(tmp_path / "attic", shuffle), tmp_path / "data"
    storage.fuse = shuffle.randint(1, 16)
    acknowledged = -1
    try:
        made = create(path, **WHO, machine_id=machine, storage=storage)
        acknowledged = 0
        for _ in range(3):
            acknowledged = begin(path, made, storage).starts
            made = load(path, **WHO, machine_id=machine)
    except PowerCut:
        storage.lose_power(path)
    if acknowledged < 0 and not (path / "identity").exists():
        assert "never made" in refusal(path, machine)
    else:
        found = load(path, **WHO, machine_id=machine)
        assert acknowledged <= found.starts <= acknowledged + 1
        assert recover(path / "journal", (path / "journal").read_bytes()).header.identity == found.folder


def test_no_file_stays_open(path, machine, made):
    before = len(os.listdir("/proc/self/fd"))
    begin(path, load(path, **WHO, machine_id=machine))
    with pytest.raises(CannotStart):
        create(path, **WHO, machine_id=machine)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_start_that_another_process_counted_meanwhile_is_not_counted_again(path, machine, made):
    known = load(path, **WHO, machine_id=machine)
    begin(path, load(path, **WHO, machine_id=machine))
    assert begin(path, known).starts == 2
