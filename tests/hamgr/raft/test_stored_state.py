"""What is on disk: snapshots that check themselves, and damage that is never taken for emptiness."""

import dataclasses

import pytest
from pysyncobj.journal import FileJournal

from hamgr.raft import disk
from hamgr.raft.port import CannotStart
from hamgr.raft.stock import StockReplica
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
    journal = FileJournal(str(settings.data_dir / "journal"))
    assert len(journal) < 21
    commands = [journal[at][0] for at in range(len(journal)) if journal[at][0][:1] == b"\0"]
    assert all(codec.decode_command(command[1:]) for command in commands)
    journal._destroy()


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        ("snapshot", lambda data: data[:-1], "snapshot"),
        ("snapshot", lambda data: data[:60] + b"?" + data[61:], "snapshot"),
        ("snapshot", lambda _data: b"", "snapshot"),
        ("snapshot", None, "no snapshot leads up to it"),
        ("journal", lambda _data: b"", "journal"),
        ("journal", lambda data: data[:100], "journal"),
        ("journal", lambda data: data[:40] + b"\x13" + data[41:], "record at byte 40 is damaged"),
        ("journal", None, "journal is gone"),
        ("journal.meta", lambda _data: b"", "votes"),
        ("journal.meta", None, "votes"),
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
    journal = FileJournal(str(folder.journal_path))
    entries = [journal[at] for at in range(len(journal))]
    journal._destroy()
    state, middle = State(), len(entries) // 2
    for command, _index, _term in entries[: middle + 1]:
        if command[:1] == b"\0":
            state, _outcome, _bug = machine.apply_entry(state, command[1:])
    folder.stage(disk.Snapshot(state=state, last=entries[middle], before_last=entries[middle - 1])).replace(
        folder.snapshot_path
    )
    folder.close()
    replica = StockReplica(quiet)
    await replica.start()
    assert (await replica.read(timeout_s=LONG_S)).nodes == before.nodes
    await replica.stop()
