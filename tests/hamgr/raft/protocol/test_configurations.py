"""Which configuration is in force: the latest in the log, or else that of the snapshot."""

import pytest

from hamgr.raft.protocol.configurations import KIND, Configurations
from hamgr.raft.protocol.membership import BadConfiguration, encode
from tests.hamgr.raft.protocol.kit import THREE, B, C, D, E, FakeLog

FOUR, FIVE = THREE.with_learner(D), THREE.with_learner(D).with_learner(E)


def entry(configuration, index, term=1):
    return KIND + encode(configuration), index, term


def log_of(*entries, first=1):
    """Return a log of entries of term 1 with these in it."""
    last = max(index for _command, index, _term in entries)
    log = FakeLog(*[1] * (last - first + 1), first=first)
    for one in entries:
        log.entries[one[1] - first] = one
    return log


@pytest.fixture
def configurations():
    """Of a log with changes at 5 and 8, behind a snapshot at 3."""
    made = Configurations(THREE, 3)
    made.appended([entry(FOUR, 5), (b"\x00x", 6, 1), entry(FIVE, 8)])
    return made


def test_the_latest_that_was_appended_is_in_force(configurations):
    assert (configurations.current, configurations.index) == (FIVE, 8)


def test_without_any_in_the_log_the_snapshots_is_in_force():
    bare = Configurations(THREE, 3)
    assert not bare.appended([(b"\x00x", 4, 1), (b"\x01", 5, 1)])
    assert (bare.current, bare.index) == (THREE, 3)


@pytest.mark.parametrize(
    ("index", "found"), [(3, THREE), (4, THREE), (5, FOUR), (7, FOUR), (8, FIVE), (99, FIVE)]
)
def test_what_was_in_force_at_an_index_is_known(configurations, index, found):
    assert configurations.at(index) == found


def test_an_entry_that_comes_twice_or_is_covered_by_the_snapshot_changes_nothing(configurations):
    assert not configurations.appended([entry(THREE, 2), entry(THREE, 5), entry(THREE, 8)])
    assert configurations.current == FIVE


def test_it_says_whether_there_was_one():
    bare = Configurations(THREE, 0)
    assert bare.appended([entry(FOUR, 2)])
    assert not bare.appended([])


def test_an_entry_that_left_the_log_takes_its_configuration_with_it(configurations):
    log = log_of(entry(FOUR, 5), entry(FIVE, 8))
    assert not configurations.taken_back(log)
    log.entries = log.entries[:7]
    assert configurations.taken_back(log)
    assert (configurations.current, configurations.index) == (FOUR, 5)
    log.entries = log.entries[:2]
    assert configurations.taken_back(log)
    assert (configurations.current, configurations.index) == (THREE, 3)


def test_an_entry_of_another_term_in_its_place_takes_it_back_too(configurations):
    log = log_of(entry(FOUR, 5), (b"\x00other", 8, 2))
    assert configurations.taken_back(log)
    assert configurations.appended(log.entries) is False
    assert configurations.current == FOUR


def test_one_that_the_log_has_forgotten_stays_in_force(configurations):
    log = log_of((b"\x00x", 12, 1), first=10)
    assert not configurations.taken_back(log)
    assert configurations.current == FIVE


def test_after_a_restart_the_latest_of_the_log_is_in_force_committed_or_not():
    log = log_of(entry(FOUR, 5), entry(FIVE.without(C.id), 9))
    again = Configurations(THREE, 3)
    again.appended(log.entries)
    assert again.current == FIVE.without(C.id)
    assert again.current.member(B.id) == B


def test_one_of_a_later_version_is_not_guessed():
    bare = Configurations(THREE, 0)
    with pytest.raises(BadConfiguration):
        bare.appended([(KIND + b"\x93\x02\x90\x90", 2, 1)])
    assert bare.current == THREE
