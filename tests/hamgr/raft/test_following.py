"""A follower's side of the log: what it takes, what it answers, and what a snapshot does to it."""

import random

import pytest

from hamgr.raft.protocol.configurations import KIND
from hamgr.raft.protocol.membership import Configuration, encode
from hamgr.raft.store.journal import LogBroken
from hamgr.raft.store.snapshot import Snapshot, encode_snapshot
from hamgr.raft.store.storage import DiskFailed
from statemachine.model import State
from tests.hamgr.raft.bad_disk import FailingStorage
from tests.hamgr.raft.protocol.conftest import clock, leader, make, replica
from tests.hamgr.raft.protocol.kit import THREE, A, B, C, D, snapshot_at

__all__ = ["clock", "leader", "make", "replica"]  # fixtures

FOUR = THREE.with_learner(D)


def x(index, term=5):
    return b"\x00x%d" % index, index, term


def configuration(what, index, term=5):
    return KIND + encode(what), index, term


@pytest.fixture
def follower(replica):
    """One that follows `B` in term 5, with entries 1 to 6, committed up to 3."""
    replica.follow(B, 5, (b"\x01", 2, 5), *(x(index) for index in range(3, 7)), previous=(1, 0), commit=3)
    replica.take()
    return replica


def answers(follower):
    return [(one["success"], one["next_node_idx"]) for one in follower.take("next_node_idx")]


# Entries.


def test_what_is_taken_is_acknowledged_in_the_term_and_with_the_time_of_its_message(follower):
    follower.follow(B, 5, x(7), sent_at=77.5)
    (answer,) = follower.take("next_node_idx", to=B.id)
    assert answer == {
        "type": "next_node_idx",
        "term": 5,
        "next_node_idx": 8,
        "reset": False,
        "success": True,
        "sent_at": 77.5,
    }


def test_no_acknowledgement_leaves_before_the_sync(follower):
    follower.core.receive(
        B.id,
        {
            "type": "append_entries",
            "term": 5,
            "commit_index": 3,
            "prevLogIdx": 6,
            "prevLogTerm": 5,
            "entries": [list(x(7))],
            "sent_at": 1.0,
        },
    )
    follower.core.advance()
    assert follower.core.log.dirty
    assert answers(follower) == []
    follower.core.settle()
    assert answers(follower) == [(True, 8)]


def test_nothing_leaves_when_the_disk_fails(make):
    replica = make()
    replica.core.log._storage = storage = FailingStorage()
    storage.fail = "sync"
    with pytest.raises(DiskFailed):
        replica.follow(B, 5, (b"\x01", 2, 5), previous=(1, 0))
    with pytest.raises(DiskFailed):
        replica.turn()
    assert answers(replica) == []


def test_an_entry_is_applied_when_it_is_committed_and_not_before(follower):
    assert [index for index, _entry in follower.recorder.obeyed] == [2, 3]
    follower.follow(B, 5, commit=5)
    assert follower.recorder.obeyed[-2:] == [(4, b"x4"), (5, b"x5")]


def test_the_commit_index_goes_no_further_than_what_the_message_shows_to_be_common(follower):
    follower.follow(B, 5, previous=(4, 5), commit=6)
    assert follower.core.commit == 4
    assert answers(follower) == [(True, 5)]


def test_what_is_known_is_spared_and_acknowledged_as_far_as_it_was_sent(follower):
    follower.follow(B, 5, x(4), x(5), previous=(3, 5), commit=3)
    assert follower.core.log.last == 6
    assert answers(follower) == [(True, 6)]


@pytest.mark.parametrize("previous", [(9, 5), (6, 4), (5, 9)])
def test_a_refusal_names_the_entry_after_the_last_committed_one(follower, previous):
    before = follower.core.log[:]
    follower.follow(B, 9, x(previous[0] + 1, 9), previous=previous, commit=6)
    assert answers(follower) == [(False, 4)]
    assert (follower.core.log[:], follower.core.commit) == (before, 3)


def test_a_contradicted_tail_is_taken_back(follower):
    follower.follow(C, 6, x(5, 6), previous=(4, 5), commit=5)
    assert [entry[1:] for entry in follower.core.log[:]] == [(1, 0), (2, 5), (3, 5), (4, 5), (5, 6)]
    assert answers(follower) == [(True, 6)]
    follower.restart()
    assert follower.core.log.last == 5


# Configurations.


def test_a_configuration_is_in_force_when_it_is_appended_and_out_of_force_when_it_is_taken_back(follower):
    follower.follow(B, 5, configuration(FOUR, 7))
    assert follower.core.configuration == FOUR
    assert set(follower.recorder.linked) == {B.id, C.id, D.id}
    follower.follow(C, 6, x(7, 6), previous=(6, 5))
    assert follower.core.configuration == THREE
    assert set(follower.recorder.linked) == {B.id, C.id}


def test_one_configuration_takes_the_place_of_another(follower):
    follower.follow(B, 5, configuration(FOUR, 7))
    follower.follow(C, 6, configuration(THREE.without(B.id), 7, 6), previous=(6, 5))
    assert follower.core.configuration == THREE.without(B.id)
    assert set(follower.recorder.linked) == {B.id, C.id}  # B is a member by what is committed
    follower.follow(C, 6, commit=7)
    assert set(follower.recorder.linked) == {C.id}


def test_a_configuration_in_a_message_that_is_refused_is_not_in_force(follower):
    follower.follow(B, 5, configuration(FOUR, 10), previous=(9, 5))
    assert follower.core.configuration == THREE


def test_after_a_restart_the_latest_configuration_is_in_force_committed_or_not(follower):
    follower.follow(B, 5, configuration(FOUR, 7))
    follower.restart()
    assert follower.core.configuration == FOUR
    assert follower.core.commit < 7
    assert set(follower.recorder.linked) == {B.id, C.id, D.id}


def test_who_has_left_the_voters_does_not_stand(follower, clock):
    follower.follow(B, 5, configuration(Configuration((B, C)), 7))
    assert follower.core.next_at() == float("inf")
    clock.pass_s(10)
    follower.turn()
    assert not follower.take("pre_vote")


def test_a_configuration_of_a_later_version_stops_the_replica(follower):
    with pytest.raises(LogBroken, match="upgrade it"):
        follower.follow(B, 5, (KIND + b"\x93\x02\x90\x90", 7, 5))


# Snapshots.


def received(index, term=5, what=THREE):
    return snapshot_at(index, term, encode(what))


def test_a_snapshot_takes_the_place_of_a_log_that_ends_before_it(follower):
    taken = follower.take_snapshot_from(B, received(20, what=FOUR), term=5)
    assert [one["refused"] for one in taken] == [False, False, False]
    assert taken[-1]["offset"] == len(encode_snapshot(received(20, what=FOUR)))
    core = follower.core
    assert (core.applied, core.commit, core.log.first, core.log.last) == (20, 20, 19, 20)
    assert follower.recorder.restored == [20]
    assert core.configuration == FOUR
    assert set(follower.recorder.linked) == {B.id, C.id, D.id}
    follower.follow(B, 5, x(21), previous=(20, 5), commit=21)
    assert follower.recorder.obeyed[-1] == (21, b"x21")
    follower.restart()
    assert (follower.core.log.last, follower.core.configuration) == (21, FOUR)


def test_a_snapshot_keeps_the_entries_after_it_when_the_log_agrees(follower):
    follower.follow(B, 5, configuration(FOUR, 7), x(8))
    follower.take_snapshot_from(B, received(5), term=5)
    core = follower.core
    assert (core.applied, core.log.first, core.log.last) == (5, 1, 8)
    assert core.configuration == FOUR
    follower.follow(B, 5, commit=8)
    assert [index for index, _entry in follower.recorder.obeyed[-3:]] == [6, 7, 8]


def test_a_snapshot_takes_the_place_of_a_log_that_contradicts_it(follower):
    follower.follow(B, 5, configuration(FOUR, 7))
    follower.take_snapshot_from(C, received(5, 6), term=6)
    core = follower.core
    assert (core.applied, core.log.first, core.log.last) == (5, 4, 5)
    assert core.configuration == THREE
    follower.restart()
    assert (follower.core.log.last, follower.core.configuration) == (5, THREE)


def test_while_a_snapshot_comes_neither_log_nor_commit_index_move(follower):
    before = follower.core.log[:]
    data = encode_snapshot(received(20))
    follower.hear(
        B,
        "snapshot_piece",
        term=5,
        transfer=1,
        offset=0,
        data=data[:20],
        last=False,
        sent_at=1.0,
    )
    follower.hear(B, "heartbeat", term=5, sent_at=2.0)
    assert (follower.core.log[:], follower.core.commit, follower.core.applied) == (before, 3, 3)
    assert follower.recorder.restored == []


def test_a_snapshot_that_holds_no_more_than_what_is_applied_is_refused(follower):
    before = follower.core.log[:], follower.core.applied
    taken = follower.take_snapshot_from(B, received(3), term=5)
    assert taken[-1]["refused"]
    assert (follower.core.log[:], follower.core.applied) == before
    assert follower.recorder.restored == []
    assert follower.core.counters["snapshots_refused"] == 1
    assert not (follower.path / "snapshot").exists()


def test_a_damaged_snapshot_is_refused_and_changes_nothing(follower):
    before = follower.core.log[:], follower.core.applied
    data = bytearray(encode_snapshot(received(20)))
    data[-1] ^= 1
    assert follower.take_snapshot_from(B, bytes(data), term=5)[-1]["refused"]
    assert (follower.core.log[:], follower.core.applied) == before
    assert not (follower.path / "snapshot").exists()
    assert not follower.take_snapshot_from(B, received(20), term=5, transfer=2)[-1]["refused"]


def test_a_snapshot_of_the_format_without_a_configuration_leaves_ours_in_force(follower):
    assert not follower.take_snapshot_from(B, snapshot_at(20, 5), term=5)[-1]["refused"]
    assert (follower.core.applied, follower.core.configuration) == (20, THREE)
    follower.restart()
    assert (follower.core.applied, follower.core.configuration) == (20, THREE)


def test_a_replica_that_wants_its_state_replaced_asks_now_and_then_until_it_is(follower, clock):
    follower.follow(B, 5, x(7), commit=6)
    follower.core.resynchronise()
    for _ in range(40):
        follower.follow(B, 5, commit=6)
        clock.pass_s(0.05)
    asked = follower.take("snapshot_wanted", to=B.id)
    assert 2 <= len(asked) <= 4
    follower.take_snapshot_from(B, received(5), term=5)
    assert follower.recorder.restored == [5]
    assert [index for index, _entry in follower.recorder.obeyed] == [2, 3, 4, 5, 6]
    clock.pass_s(5)
    follower.follow(B, 5)
    assert not follower.take("snapshot_wanted")


def test_a_wanted_snapshot_from_before_the_log_begins_is_refused(leader):
    for number in range(8):
        leader.commit_entry(b"%d" % number, B)
    leader.compact()
    first = leader.core.log.first
    assert first > 2
    leader.follow(C, 9, (b"\x01", leader.core.log.last + 1, 9))
    leader.core.resynchronise()
    assert leader.take_snapshot_from(C, received(first, 1), term=9)[-1]["refused"]
    assert leader.recorder.restored == []


def test_our_own_snapshot_is_where_a_restart_begins(leader):
    for number in range(8):
        leader.commit_entry(b"%d" % number, B)
    answer = []
    leader.core.change(FOUR, answer.append)
    leader.turn()
    leader.acknowledge(B)
    snapshot = leader.compact()
    assert (answer, snapshot.last[1], snapshot.configuration) == ([""], leader.core.applied, encode(FOUR))
    leader.core.conclude()
    last, applied = leader.core.log.last, leader.core.applied
    leader.restart()
    assert leader.recorder.restored == [applied]
    assert (leader.core.log.last, leader.core.applied, leader.core.configuration) == (last, applied, FOUR)


def test_a_snapshot_is_not_taken_of_what_the_log_has_lost(leader):
    assert leader.core.snapshot(State(), 1) is None
    assert isinstance(leader.core.snapshot(State(), 2), Snapshot)
    assert leader.core.snapshot(State(), 99) is None


def test_logs_that_differ_at_random_become_one(make):
    """Whatever two leaders left behind, what the third one sends is what is there in the end."""
    dice = random.Random(7)
    for _ in range(15):
        follower = make()
        common, mine, theirs = dice.randint(1, 5), dice.randint(0, 5), dice.randint(1, 5)
        follower.follow(B, 1, *(x(at, 1) for at in range(2, 2 + common)), previous=(1, 0), commit=1)
        end = follower.core.log.last
        follower.follow(B, 2, *(x(at, 2) for at in range(end + 1, end + 1 + mine)))
        log = [(1, 0)] + [(at, 1) for at in range(2, end + 1)]
        log += [(at, 3) for at in range(end + 1, end + 1 + theirs)]
        follower.take()
        place = log[-1][0]
        for _ in range(10):
            entries = [x(*at) for at in log[place:]]
            follower.follow(C, 3, *entries, previous=log[place - 1], commit=log[-1][0])
            (answer,) = follower.take("next_node_idx")
            if answer["success"]:
                break
            place = answer["next_node_idx"] - 1
        assert answer["next_node_idx"] == log[-1][0] + 1
        assert [entry[1:] for entry in follower.core.log[:]] == log
        assert follower.core.commit == log[-1][0]
        follower.stop()
    assert A.id == follower.me
