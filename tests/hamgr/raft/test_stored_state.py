"""What is on disk: snapshots that check themselves, and damage that is never taken for emptiness."""

import dataclasses

import pytest
from pysyncobj.journal import FileJournal

from hamgr.raft.port import CannotStart
from hamgr.raft.stock import StockReplica
from hamgr.raft.store import folder as disk
from hamgr.raft.store.recovery import recover
from statemachine import codec, machine
from statemachine.model import State
from tests.hamgr.raft import kit
from tests.hamgr.raft.conftest import QUICK

LONG_S = 20.0


@pytest.fixture
def settings(tmp_path):
    return kit.settings_of(1, tmp_path, **QUICK, snapshot_entries=8)[0]


def state_of(*names: str) -> State:
    state = State()
    for name in names:
        state, _outcome = machine.apply(state, kit.add_node(name))
    return state


def snapshot_at(index: int) -> disk.Snapshot:
    return disk.Snapshot(
        state=state_of("other"), last=(b"\0two", index, 1), before_last=(b"\0one", index - 1, 1)
    )


def snapshot_of(*names: str) -> disk.Snapshot:
    return disk.Snapshot(state=state_of(*names), last=(b"\0two", 12, 3), before_last=(b"\0one", 11, 2))


async def filled(settings, count: int) -> State:
    """Run a replica until it holds `count` nodes, and stop it."""
    replica = StockReplica(settings)
    await replica.start()
    for number in range(count):
        await replica.propose(kit.add_node(f"n{number}"), timeout_s=LONG_S)
    if count > settings.snapshot_entries:
        await kit.until((settings.data_dir / "snapshot").exists)
    await replica.stop()
    return replica.state


async def refusal(settings) -> str:
    """Return the error with which a replica refuses to start, having changed nothing."""
    files = {path: path.read_bytes() for path in settings.data_dir.iterdir()}
    with pytest.raises(CannotStart) as caught:
        await StockReplica(settings).start()
    assert {path: path.read_bytes() for path in settings.data_dir.iterdir()} == files
    return str(caught.value)


def test_a_snapshot_comes_back_as_it_was():
    snapshot = snapshot_of("a", "b")
    assert disk.decode_snapshot(disk.encode_snapshot(snapshot)) == snapshot


def test_a_snapshot_with_any_byte_changed_or_missing_is_refused():
    data = disk.encode_snapshot(snapshot_of("a"))
    for at in range(0, len(data), 7):
        with pytest.raises(disk.SnapshotDamaged):
            disk.decode_snapshot(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        with pytest.raises(disk.SnapshotDamaged):
            disk.decode_snapshot(data[:at])


async def test_a_replica_comes_back_with_the_state_that_it_had(settings):
    before = await filled(settings, 21)
    replica = StockReplica(settings)
    await replica.start()
    after = await replica.read(timeout_s=LONG_S)
    assert (after.nodes, after.events, after.requests) == (before.nodes, before.events, before.requests)
    await replica.stop()


async def test_nothing_of_the_state_is_pickled(settings):
    await filled(settings, 21)
    snapshot = disk.decode_snapshot((settings.data_dir / "snapshot").read_bytes())
    assert len(snapshot.state.nodes) >= settings.snapshot_entries
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
    ],
)
async def test_damage_is_refused_in_clear_words_and_left_as_it_is(settings, file, damage, words):
    await filled(settings, 21)
    path = settings.data_dir / file
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    assert words in await refusal(settings)


async def test_a_state_that_this_version_cannot_read_is_refused(settings, monkeypatch):
    await filled(settings, 21)
    path = settings.data_dir / "snapshot"
    snapshot = disk.decode_snapshot(path.read_bytes())
    monkeypatch.setattr(codec, "FORMAT", 99)
    newer = disk.encode_snapshot(snapshot)
    monkeypatch.undo()
    path.write_bytes(newer)
    assert "another version" in await refusal(settings)


async def test_dying_between_the_snapshot_and_the_cut_of_the_log_loses_nothing(settings):
    quiet = dataclasses.replace(settings, snapshot_entries=1_000)
    before = await filled(quiet, 21)
    folder = disk.Folder(settings.data_dir)
    entries = recover(folder.journal_path, folder.journal_path.read_bytes()).entries
    state, middle = State(), len(entries) // 2
    for command, _index, _term in entries[: middle + 1]:
        if command[:1] == b"\0":
            state, _outcome, _bug = machine.apply_entry(state, command[1:])
    snapshot = disk.Snapshot(state=state, last=entries[middle], before_last=entries[middle - 1])
    folder.put_in_force(folder.stage(disk.encode_snapshot(snapshot), "new"))
    folder.close()
    replica = StockReplica(quiet)
    await replica.start()
    assert (await replica.read(timeout_s=LONG_S)).nodes == before.nodes
    await replica.stop()


async def test_what_a_crash_left_half_done_is_removed_at_the_start(settings):
    before = await filled(settings, 21)
    for name in ("journal.new", "snapshot.new", "snapshot.received"):
        (settings.data_dir / name).write_bytes(b"half of something")
    replica = StockReplica(settings)
    await replica.start()
    assert (await replica.read(timeout_s=LONG_S)).nodes == before.nodes
    await replica.stop()
    assert sorted(path.name for path in settings.data_dir.iterdir()) == ["journal", "lock", "snapshot"]


@pytest.mark.parametrize("left_over", ["journal", "journal.meta"])
async def test_the_log_of_an_earlier_version_is_refused_with_the_way_out(settings, left_over):
    settings.data_dir.mkdir()
    (settings.data_dir / "lock").touch()
    if left_over == "journal":
        FileJournal(str(settings.data_dir / "journal"))._destroy()
    else:
        (settings.data_dir / left_over).write_bytes(b"")
    words = await refusal(settings)
    assert "earlier version" in words
    assert "move the folder away on every replica" in words


async def test_a_snapshot_that_contradicts_the_journal_is_refused(settings):
    await filled(settings, 5)
    folder = disk.Folder(settings.data_dir)
    folder.put_in_force(folder.stage(disk.encode_snapshot(snapshot_at(4)), "new"))
    folder.close()
    assert "disagree about entry 4" in await refusal(settings)


async def test_a_snapshot_older_than_the_beginning_of_the_journal_is_refused(settings):
    await filled(settings, 21)
    folder = disk.Folder(settings.data_dir)
    folder.put_in_force(folder.stage(disk.encode_snapshot(snapshot_at(4)), "new"))
    folder.close()
    assert "no snapshot leads up to it" in await refusal(settings)
