"""Weaknesses of the library that `Core` covers, each shown on a core that nobody ticks but the test."""

import pytest

from hamgr.raft.old_core import Core
from hamgr.raft.store import folder as disk
from hamgr.raft.store.recovery import recover
from tests.hamgr.raft import kit

REGULAR, MEMBERSHIP, VERSION = b"\0", b"\2", b"\3"


@pytest.fixture
def settings(tmp_path):
    return kit.settings_of(3, tmp_path)[0]


@pytest.fixture
def obeyed():
    return []


@pytest.fixture
def core(settings, obeyed):
    folder = disk.Folder(settings.data_dir)
    made = Core(settings, folder=folder, journal=folder.settle(), obey=obeyed.append, restore=obeyed.append)
    yield made
    made.close()
    folder.close()


def leader_of(core):
    return sorted(core.otherNodes, key=str)[0]


def say(core, message):
    core._SyncObj__onMessageReceived(leader_of(core), message)
    core.tick(0.0)


def append(core, *entries, term=3, commit=1, previous=(1, 0)):
    say(
        core,
        {
            "type": "append_entries",
            "term": term,
            "commit_index": commit,
            "entries": list(entries),
            "prevLogIdx": previous[0],
            "prevLogTerm": previous[1],
        },
    )


def test_committed_entries_are_obeyed_once_and_in_order(core, obeyed):
    append(core, (REGULAR + b"a", 2, 3), (REGULAR + b"b", 3, 3))
    assert obeyed == []
    append(core, (REGULAR + b"c", 4, 3), previous=(3, 3), commit=3)
    append(core, previous=(4, 3), commit=4)
    append(core, previous=(4, 3), commit=4)
    assert obeyed == [b"a", b"b", b"c"]


@pytest.mark.parametrize("chunk", [None, (b"half of a snapshot", True, False)])
def test_an_entry_of_our_own_is_not_committed_by_a_snapshot_on_its_way(core, obeyed, chunk):
    append(core, (REGULAR + b"ghost", 2, 3))
    say(core, {"type": "append_entries", "term": 4, "commit_index": 50, "serialized": chunk})
    assert obeyed == []
    assert core.raftCommitIndex == 1


@pytest.mark.parametrize("entry", [b"", VERSION + b"junk", MEMBERSHIP + b"junk", b"\x09what", b"\1"])
def test_an_entry_of_another_kind_is_passed_over_without_being_unpickled(core, obeyed, entry):
    append(core, (entry, 2, 3), (REGULAR + b"after", 3, 3), commit=3)
    append(core, previous=(3, 3), commit=3)
    assert obeyed == [b"after"]


def test_a_submission_without_a_leader_is_refused_and_reaches_no_log(core, settings):
    answers = []
    core.submit(b"a", lambda _result, reason: answers.append(reason))
    core.tick(0.0)
    assert answers == [2]
    core.conclude()
    path = settings.data_dir / "journal"
    assert len(recover(path, path.read_bytes()).entries) == 1
