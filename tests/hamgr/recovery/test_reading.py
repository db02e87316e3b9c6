"""What is read off a data folder: compacted, replaced by a snapshot, or written by a later version."""

import pytest

from hamgr import config
from hamgr.membership import credentials_of, raft_settings
from hamgr.raft.core.library import REGULAR
from hamgr.raft.protocol import membership
from hamgr.raft.store.folder import Folder
from hamgr.raft.store.snapshot import Snapshot, encode_snapshot
from hamgr.recovery import reading
from hamgr.recovery.reading import Log
from hamgr.recovery.survivor import CannotRecover, Survivor
from statemachine import machine
from statemachine.model import State
from tests.hamgr.recovery.conftest import Machine, Machines, entry


def log_of(one: Machine) -> tuple[Log, Survivor]:
    settings = config.load(one.config)
    initial = raft_settings(settings, credentials_of(settings).identity(), version="").initial
    log = reading.read(settings, initial)
    return log, reading.report_of(log, name=settings.name, version="")


def snapshot_at(one: Machine, index: int, term: int) -> None:
    """Put a snapshot in force, whose configuration has two voters only."""
    state = State()
    for number in range(2, index + 1):
        state, _outcome, bug = machine.apply_entry(state, entry(number)[1:])
        assert bug is None
    settings = config.load(one.config)
    members = raft_settings(settings, credentials_of(settings).identity(), version="").initial
    snapshot = Snapshot(
        state=state,
        before_last=(entry(index - 1), index - 1, term),
        last=(entry(index), index, term),
        configuration=membership.encode(members.without(members.voters[-1].id)),
    )
    folder = Folder(settings.raft_dir)
    folder.put_in_force(folder.stage(encode_snapshot(snapshot), "new"))
    folder.close()


def test_entries_after_a_snapshot_are_added_to_its_state_once(machines: Machines) -> None:
    one = machines(3)[0]
    one.write([1, 1, 1, 1, 2], commit=3)
    snapshot_at(one, 3, term=1)
    log, report = log_of(one)
    assert (report.snapshot, report.commit, report.last, report.configuration) == (3, 3, 5, 3)
    assert [member.name for member in report.voters] == ["r1", "r2"]
    assert [found.index for found in report.tail] == [4, 5]
    state = reading.state_at_end(log)
    assert state.globals == {"x3": 1, "x4": 1, "x5": 1}
    assert state.index == 4  # the first entry of the log is no command


def test_a_snapshot_that_is_ahead_of_the_log_is_the_log(machines: Machines) -> None:
    one = machines(3)[0]
    one.write([1, 1], commit=2)
    snapshot_at(one, 6, term=1)
    log, report = log_of(one)
    assert (report.snapshot, report.commit, report.last, report.last_term) == (6, 6, 6, 1)
    assert (report.tail, report.runs[0].first) == ((), 5)
    assert reading.state_at_end(log).globals == {f"x{number}": 1 for number in range(3, 7)}


def test_an_entry_of_a_later_version_is_not_skipped(machines: Machines) -> None:
    one = machines(3)[0]
    one.write([1, 1], commit=2)
    log, _report = log_of(one)
    later = REGULAR + b"\x93\x01\xa4Soon\x80"
    log.entries.append((later, 3, 1))
    with pytest.raises(CannotRecover, match="entry 3 was written by a later version"):
        reading.state_at_end(log)
    assert reading.describe((later, 3, 1)).command == "Soon"
