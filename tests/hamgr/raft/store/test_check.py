"""`hamgrd check` as a function: all that can be wrong is said, by file and offset, and nothing changes."""

import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hamgr.raft.port import CannotStart
from hamgr.raft.protocol import membership
from hamgr.raft.protocol.membership import Configuration, Member
from hamgr.raft.store.check import Report, examine
from hamgr.raft.store.folder import Folder
from hamgr.raft.store.identity import begin, create, load
from hamgr.raft.store.snapshot import Snapshot, decode_snapshot, encode_snapshot
from statemachine import codec, machine
from statemachine.model import State
from tests.hamgr.raft import kit

CLUSTER, REPLICA = "c0ffee00-0000-4000-8000-000000000001", "c0ffee00-0000-4000-8000-0000000000aa"
OTHER = "c0ffee00-0000-4000-8000-0000000000bb"
WHO = {"cluster": CLUSTER, "replica": REPLICA}
FLIPS = 250


@pytest.fixture
def machine_id(tmp_path):
    path = tmp_path / "machine-id"
    path.write_text("0123456789abcdef" * 2)
    return path


@pytest.fixture
def path(tmp_path, machine_id):
    """The folder of a replica that has a snapshot of entry 60, and 1 to 100 but for those before 59."""
    path = tmp_path / "raft"
    identity = begin(path, create(path, **WHO, machine_id=machine_id))
    folder = Folder(path)
    journal = folder.settle(identity.folder)
    state = State()
    for index in range(1, 101):
        command = codec.encode_command(kit.add_node(f"n{index}"))
        journal.add(b"\0" + command, index, 1 + index // 50)
        if index <= 60:
            state, _outcome, _bug = machine.apply_entry(state, command)
        if index % 7 == 0 or index == 100:
            journal.setCurrentTerm(1 + index // 50, OTHER)
            journal.setRaftCommitIndex(max(1, index - 3))
            journal.sync()
    members = [Member(id=one, name=name, raft=f"{name}:1") for one, name in ((REPLICA, "r1"), (OTHER, "r2"))]
    snapshot = Snapshot(
        state=state,
        last=journal[59],
        before_last=journal[58],
        configuration=membership.encode(Configuration((members[0],), (members[1],))),
    )
    folder.put_in_force(folder.stage(encode_snapshot(snapshot), "new"))
    journal.deleteEntriesTo(58)
    for index in range(101, 111):
        journal.add(b"\0more", index, 3)
        journal.sync()
    journal.close()
    folder.close()
    return path


def content(path):
    return {entry.name: entry.read_bytes() for entry in path.iterdir() if entry.is_file()}


def look(path, machine_id) -> Report:
    """Examine, and see that nothing changed, not even a time of change."""
    before = content(path)
    times = {entry: entry.stat().st_mtime_ns for entry in [path, *path.iterdir()]}
    report = examine(path, machine_id=machine_id)
    assert content(path) == before
    assert {entry: entry.stat().st_mtime_ns for entry in [path, *path.iterdir()]} == times
    assert report.lines()[-1].startswith("verdict")
    json.dumps(report.to_dict())
    return report


def starts(path, machine_id) -> str:
    """Return why a replica does not start with a copy of what is in `path`, or an empty string."""
    try:
        identity = load(path, **WHO, machine_id=machine_id)
        folder = Folder(path)
        try:
            folder.settle(identity.folder).close()
        finally:
            folder.close()
    except CannotStart as error:
        return str(error)
    return ""


def test_a_sound_folder_is_described_in_words_and_in_figures(path, machine_id):
    report = look(path, machine_id)
    assert report.sound
    found = report.to_dict()
    assert found["verdict"] == "sound"
    assert found["damages"] == found["notes"] == []
    assert found["identity"] | {"folder": ""} == {
        "cluster": CLUSTER,
        "replica": REPLICA,
        "folder": "",
        "starts": 1,
    }
    assert found["journal"] == {
        "entries": 52,
        "first": 59,
        "last": 110,
        "term": 3,
        "vote": OTHER,
        "commit": 97,
        "batches": 27,
        "generation": 2,
        "bytes": (path / "journal").stat().st_size,
        "dropped_bytes": 0,
    }
    snapshot = decode_snapshot((path / "snapshot").read_bytes())
    assert found["snapshot"] == {
        "index": 60,
        "term": 2,
        "bytes": (path / "snapshot").stat().st_size,
        "format": 2,
        "state_sha256": codec.state_digest(snapshot.state),
        "nodes": 60,
        "voters": ["r1"],
        "learners": ["r2"],
    }
    text = "\n".join(report.lines())
    for words in (str(path), REPLICA, "entries 52", "first 59", f"vote {OTHER}", "voters r1", "learners r2"):
        assert words in text


def test_the_folder_above_is_understood_too(path, machine_id):
    assert examine(path.parent, machine_id=machine_id).path == path


def test_a_new_folder_is_sound(tmp_path, machine_id):
    create(tmp_path / "new", **WHO, machine_id=machine_id)
    report = look(tmp_path / "new", machine_id)
    assert report.sound
    assert report.journal["entries"] == 0
    assert report.snapshot is None


def test_a_running_replica_is_left_alone(path, machine_id):
    program = (
        "import sys, pathlib; from hamgr.raft.store.folder import Folder; "
        "folder = Folder(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[4],
    ) as replica:
        assert replica.stdout.readline() == b"held\n"
        report = look(path, machine_id)
        assert not report.sound
        assert "the replica is running; stop it first" in report.lines()[-1]
        assert report.to_dict()["verdict"] == "not checked"
        assert (report.identity, report.journal, report.snapshot) == (None, None, None)
        replica.stdin.close()
    assert look(path, machine_id).sound


def test_two_may_look_at_once(path, machine_id):
    with (path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert look(path, machine_id).sound


def test_a_tail_that_will_be_dropped_is_no_damage(path, machine_id):
    whole = (path / "journal").stat().st_size
    os.truncate(path / "journal", whole - 5)
    report = look(path, machine_id)
    assert report.sound
    assert report.journal["last"] == 109
    assert f"the last {report.journal['dropped_bytes']} bytes of the journal" in report.notes[0]


def test_left_overs_and_strangers_are_noted(path, machine_id):
    (path / "snapshot.new").write_bytes(b"half")
    (path / "holiday.jpg").write_bytes(b"")
    (path / "diverged-40").mkdir()
    report = look(path, machine_id)
    assert report.sound
    assert report.notes == [
        "diverged-40 holds the files of a state that was not the majority's: report them",
        "holiday.jpg is not one of hamgr's files",
        "snapshot.new was left over by a crash; the next start removes it",
    ]


def replaced(name, change):
    def damage(path):
        (path / name).write_bytes(change((path / name).read_bytes()))

    return damage


def with_snapshot(**fields):
    def damage(path):
        snapshot = decode_snapshot((path / "snapshot").read_bytes())
        values = {name: getattr(snapshot, name) for name in ("state", "last", "before_last", "configuration")}
        (path / "snapshot").write_bytes(encode_snapshot(Snapshot(**{**values, **fields})))

    return damage


def copied(path):
    shutil.copy(path / "identity", path / "copy")
    (path / "copy").replace(path / "identity")


def flipped(place):
    return lambda data: data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :]


@pytest.mark.parametrize(
    ("damage", "file", "offset", "words"),
    [
        (lambda path: (path / "identity").unlink(), "identity", None, "it is not there"),
        (lambda path: (path / "starts").unlink(), "starts", None, "it is not there"),
        (lambda path: (path / "journal").unlink(), "journal", None, "it is not there"),
        (lambda path: (path / "snapshot").unlink(), "", None, "no snapshot leads up to it"),
        (replaced("identity", flipped(20)), "identity", 0, "checksum"),
        (replaced("identity", lambda _data: b""), "identity", 0, "does not begin"),
        (replaced("starts", flipped(20)), "starts", 0, "checksum"),
        (copied, "identity", None, "the folder is a copy"),
        (replaced("journal", flipped(9)), "journal", 0, "checksum of its header"),
        (replaced("journal", flipped(41)), "journal", 40, "checksum of a record"),
        (replaced("journal", lambda _data: b""), "journal", 0, "does not begin"),
        (replaced("journal", lambda data: b"PYSYNCOBJ" + data), "journal", 0, "earlier version"),
        (lambda path: (path / "journal.meta").touch(), "journal.meta", None, "earlier version"),
        (replaced("snapshot", flipped(9)), "snapshot", 0, "checksum of its header"),
        (replaced("snapshot", flipped(300)), "snapshot", 60, "checksum of bytes 60 to"),
        (replaced("snapshot", lambda data: data[:200]), "snapshot", 200, "it has 200 bytes instead of"),
        (with_snapshot(configuration=b"junk"), "snapshot", None, "its configuration"),
        (with_snapshot(last=(b"\0x", 60, 1)), "", None, "disagree about entry 60"),
        *(
            (
                with_snapshot(last=(b"\0x", index, 1), before_last=(b"\0", index - 1, 1)),
                "",
                None,
                "no snapshot leads up to it",
            )
            for index in (40, 58, 59)
        ),
    ],
)
def test_every_damage_is_named_by_file_and_offset_and_the_replica_would_not_start(
    path, machine_id, damage, file, offset, words
):
    damage(path)
    report = look(path, machine_id)
    assert not report.sound
    assert report.to_dict()["verdict"] == "damaged"
    [found] = report.to_dict()["damages"]
    assert (found["file"], found["offset"]) == (str(path / file), offset)
    assert words in found["what"]
    assert any(line.startswith("DAMAGE") and words in line for line in report.lines())
    if words != "its configuration":
        assert starts(path, machine_id)


def test_one_damage_does_not_hide_another(path, machine_id):
    for name in ("identity", "journal", "snapshot"):
        replaced(name, flipped(30))(path)
    assert [damage.file.name for damage in look(path, machine_id).damages] == [
        "identity",
        "journal",
        "snapshot",
    ]


def test_a_journal_of_another_folder_is_noticed(path, machine_id, tmp_path):
    create(tmp_path / "other", **WHO, machine_id=machine_id)
    (path / "journal").write_bytes((tmp_path / "other" / "journal").read_bytes())
    [damage] = look(path, machine_id).damages
    assert "journal of another folder" in damage.what


def test_an_empty_or_missing_folder_is_said_and_not_made(tmp_path, machine_id):
    (tmp_path / "empty").mkdir()
    assert {damage.file.name for damage in look(tmp_path / "empty", machine_id).damages} == {
        "identity",
        "journal",
    }
    report = examine(tmp_path / "missing", machine_id=machine_id)
    assert "No such file or directory" in str(report.damages[0])
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("name", ["identity", "starts", "journal", "snapshot"])
def test_any_flipped_bit_in_any_file_is_found_and_refused_at_the_start(path, machine_id, name):
    flip = random.Random(name)
    whole = (path / name).read_bytes()
    for number in range(FLIPS):
        place = flip.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[place] ^= 1 << flip.randrange(8)
        (path / name).write_bytes(damaged)
        [damage] = examine(path, machine_id=machine_id).damages
        assert damage.file.name == name
        assert damage.offset <= place
        if number % 20 == 0:
            assert str(path) in starts(path, machine_id)
    (path / name).write_bytes(whole)
    assert examine(path, machine_id=machine_id).sound


@pytest.mark.parametrize("name", ["identity", "starts", "snapshot"])
def test_a_file_that_is_cut_off_anywhere_is_found(path, machine_id, name):
    whole = (path / name).read_bytes()
    for size in range(0, len(whole), max(1, len(whole) // 300)):
        (path / name).write_bytes(whole[:size])
        [damage] = examine(path, machine_id=machine_id).damages
        assert damage.file.name == name
