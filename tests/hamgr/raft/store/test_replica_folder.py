"""A whole replica above a data folder: it comes back as it was, and damage is never taken for emptiness."""

import dataclasses
import shutil

import pytest
from pysyncobj.journal import FileJournal

from hamgr.raft.port import CannotStart
from hamgr.raft.replica import RaftReplica
from hamgr.raft.store import identity
from hamgr.raft.store.check import examine
from hamgr.raft.store.folder import Folder
from hamgr.raft.store.recovery import recover
from hamgr.raft.store.snapshot import Snapshot, decode_snapshot, encode_snapshot
from statemachine import codec, machine
from statemachine.model import State
from tests.hamgr.raft import kit
from tests.hamgr.raft.store.alone import LONG_S, settings_at
from tests.hamgr.raft.store.test_transfer import snapshot_of


@pytest.fixture
def settings(tmp_path):
    return settings_at(tmp_path / "r1", snapshot_entries=8)


async def filled(settings, count: int) -> State:
    """Run a replica until it holds `count` nodes, and stop it."""
    replica = RaftReplica(settings)
    await replica.start()
    for number in range(count):
        await replica.propose(kit.add_node(f"n{number}"), timeout_s=LONG_S)
    if count > settings.snapshot_entries:
        await kit.until((settings.data_dir / "snapshot").exists)
    await replica.stop()
    return replica.state


async def state_after_start(settings) -> State:
    replica = RaftReplica(settings)
    await replica.start()
    state = await replica.read(timeout_s=LONG_S)
    await replica.stop()
    return state


async def refusal(settings) -> str:
    """Return why a replica refuses to start; but for the count of starts, nothing changed."""
    folder = settings.data_dir

    def files():
        return {path: path.read_bytes() for path in folder.iterdir() if path.name != "starts"}

    before = files()
    with pytest.raises(CannotStart) as caught:
        await RaftReplica(settings).start()
    assert files() == before
    return str(caught.value)


def put_in_force(settings, snapshot):
    folder = Folder(settings.data_dir)
    folder.put_in_force(folder.stage(encode_snapshot(snapshot), "new"))
    folder.close()


async def test_a_replica_comes_back_with_the_state_that_it_had(settings):
    before = await filled(settings, 21)
    after = await state_after_start(settings)
    assert (after.nodes, after.events, after.requests) == (before.nodes, before.events, before.requests)
    assert examine(settings.data_dir).identity["starts"] == 2


async def test_nothing_of_the_state_is_pickled(settings):
    await filled(settings, 21)
    snapshot = decode_snapshot((settings.data_dir / "snapshot").read_bytes())
    assert len(snapshot.state.nodes) >= settings.snapshot_entries - 2
    path = settings.data_dir / "journal"
    entries = recover(path, path.read_bytes()).entries
    assert len(entries) < 21
    assert all(codec.decode_command(command[1:]) for command, *_place in entries if command[:1] == b"\0")


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        ("snapshot", lambda data: data[:-1], "snapshot"),
        ("snapshot", lambda data: data[:60] + b"?" + data[61:], "snapshot"),
        ("snapshot", lambda _data: b"", "snapshot"),
        ("snapshot", None, "no snapshot leads up to it"),
        ("journal", lambda _data: b"", "journal is damaged at byte 0"),
        ("journal", lambda data: data[:30], "journal is damaged at byte 0"),
        ("journal", lambda data: data[:80], "journal is damaged at byte 40"),
        ("journal", lambda data: data[:60] + b"\x13" + data[61:], "journal is damaged at byte 40"),
        ("journal", lambda data: data[:-3] + b"\x13" + data[-2:], "journal is damaged at byte"),
        ("journal", None, "journal is gone"),
        ("identity", lambda data: data[:20] + b"?" + data[21:], "`identity` is damaged at byte 0"),
        ("identity", None, "never made, or what was in it is gone"),
        ("starts", lambda data: data[:20] + b"?" + data[21:], "`starts` is damaged at byte 0"),
        ("starts", None, "starts is gone"),
    ],
)
async def test_damage_is_refused_in_clear_words_and_left_as_it_is(settings, file, damage, words):
    await filled(settings, 33)
    path = settings.data_dir / file
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    why = await refusal(settings)
    assert words in why
    assert "remove this replica from the cluster, and add it again" in why


async def test_a_state_that_this_version_cannot_read_is_refused(settings, monkeypatch):
    await filled(settings, 21)
    path = settings.data_dir / "snapshot"
    snapshot = decode_snapshot(path.read_bytes())
    monkeypatch.setattr(codec, "FORMAT", 99)
    newer = encode_snapshot(snapshot)
    monkeypatch.undo()
    path.write_bytes(newer)
    assert "another version" in await refusal(settings)


async def test_dying_between_the_snapshot_and_the_cut_of_the_log_loses_nothing(settings):
    quiet = dataclasses.replace(settings, snapshot_entries=1_000)
    before = await filled(quiet, 21)
    path = settings.data_dir / "journal"
    entries = recover(path, path.read_bytes()).entries
    state, middle = State(), len(entries) // 2
    for command, _index, _term in entries[: middle + 1]:
        if command[:1] == b"\0":
            state, _outcome, _bug = machine.apply_entry(state, command[1:])
    put_in_force(settings, Snapshot(state=state, last=entries[middle], before_last=entries[middle - 1]))
    after = await state_after_start(quiet)
    assert after.nodes == before.nodes
    assert (settings.data_dir / "snapshot").exists()


async def test_what_a_crash_left_half_done_is_removed_at_the_start(settings):
    before = await filled(settings, 21)
    for name in ("journal.new", "snapshot.new", "snapshot.received", "starts.new"):
        (settings.data_dir / name).write_bytes(b"half of something")
    assert (await state_after_start(settings)).nodes == before.nodes
    assert sorted(path.name for path in settings.data_dir.iterdir()) == [
        "identity",
        "journal",
        "lock",
        "snapshot",
        "starts",
    ]


@pytest.mark.parametrize("left_over", ["journal", "journal.meta"])
async def test_the_log_of_an_earlier_version_is_refused_with_the_way_out(settings, left_over):
    (settings.data_dir / left_over).unlink(missing_ok=True)
    if left_over == "journal":
        FileJournal(str(settings.data_dir / "journal"))._destroy()
        (settings.data_dir / "journal.meta").unlink(missing_ok=True)
    else:
        (settings.data_dir / left_over).write_bytes(b"")
    words = await refusal(settings)
    assert "earlier version" in words
    assert "move the folder away on every replica" in words


async def test_a_snapshot_that_contradicts_the_journal_is_refused(settings):
    await filled(dataclasses.replace(settings, snapshot_entries=1_000), 9)
    put_in_force(settings, snapshot_of("other", index=4))
    assert "disagree about entry 4" in await refusal(settings)


async def test_a_snapshot_older_than_the_beginning_of_the_journal_is_refused(settings):
    await filled(settings, 33)
    put_in_force(settings, snapshot_of("other", index=4))
    assert "no snapshot leads up to it" in await refusal(settings)


async def test_a_folder_that_was_never_made_is_not_made_by_a_start(settings):
    shutil.rmtree(settings.data_dir)
    with pytest.raises(CannotStart, match="`hamgrd init`"):
        await RaftReplica(settings).start()
    assert not settings.data_dir.exists()


async def test_a_copy_of_the_folder_is_refused_while_the_original_goes_on(settings, tmp_path):
    before = await filled(settings, 21)
    shutil.copytree(settings.data_dir, tmp_path / "copy")
    assert "is a copy" in await refusal(dataclasses.replace(settings, data_dir=tmp_path / "copy"))
    assert (await state_after_start(settings)).nodes == before.nodes


async def test_the_journal_of_another_replica_is_refused(settings, tmp_path):
    await filled(settings, 9)
    identity.create(tmp_path / "other", cluster=settings.cluster, replica=settings.me)
    (settings.data_dir / "journal").write_bytes((tmp_path / "other" / "journal").read_bytes())
    assert "journal of another folder" in await refusal(dataclasses.replace(settings, snapshot_entries=1_000))
