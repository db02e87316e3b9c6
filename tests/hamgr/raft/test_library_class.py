"""The library behind its typed class: what it applies and when, whom it counts, when it stands."""

import pytest

from hamgr.raft.core.library import APPLY_MAX
from hamgr.raft.protocol.membership import Configuration
from tests.hamgr.raft.protocol.conftest import clock, leader, make, replica
from tests.hamgr.raft.protocol.kit import (
    ELECTION_S_MAX,
    HEARTBEAT_S,
    QUORUM_LOST_S,
    THREE,
    A,
    B,
    C,
    D,
    member,
)

__all__ = ["clock", "leader", "make", "replica"]  # fixtures


def follow_many(replica, count, commit=None):
    last = replica.core.log.last
    entries = [(b"\x00%d" % at, at, 5) for at in range(last + 1, last + 1 + count)]
    replica.follow(B, 5, *entries, commit=commit or last + count)


def test_nothing_is_applied_after_what_cannot_be_applied(replica):
    entries = [(b"\x00a", 2, 5), (b"\x00" + replica.recorder.refuses, 3, 5), (b"\x00b", 4, 5)]
    replica.follow(B, 5, *entries, previous=(1, 0), commit=4)
    assert replica.recorder.obeyed == [(2, b"a")]
    assert (replica.core.applied, replica.core.commit, replica.core.library.blocked) == (2, 4, True)
    replica.take()
    replica.follow(B, 5, (b"\x00c", 5, 5), commit=5)
    assert replica.core.applied == 2
    assert [one["next_node_idx"] for one in replica.take("next_node_idx")] == [6]


def test_an_entry_of_a_kind_that_is_not_known_is_not_passed_over(replica):
    replica.follow(B, 5, (b"\x07a", 2, 5), (b"\x00b", 3, 5), previous=(1, 0), commit=3)
    assert (replica.core.applied, replica.recorder.obeyed) == (1, [])


def test_a_replica_that_is_far_behind_answers_between_two_portions(replica):
    count = APPLY_MAX * 2 + 10
    entries = [(b"\x00x", at, 5) for at in range(2, 2 + count)]
    replica.core.receive(
        B.id,
        {
            "type": "append_entries",
            "term": 5,
            "commit_index": count + 1,
            "prevLogIdx": 1,
            "prevLogTerm": 0,
            "entries": [list(entry) for entry in entries],
            "sent_at": 1.0,
        },
    )
    applied = []
    while replica.core.settle():
        applied.append(replica.core.applied)
        assert replica.take("next_node_idx") or len(applied) > 1
    assert all(after - before <= APPLY_MAX * 4 for before, after in zip([1, *applied], applied, strict=False))
    assert replica.core.applied == count + 1
    assert [index for index, _entry in replica.recorder.obeyed] == list(range(2, count + 2))
    before = replica.core.applied
    follow_many(replica, APPLY_MAX + 1)
    assert replica.core.applied == before + APPLY_MAX + 1


def test_one_turn_of_the_library_applies_a_bounded_number(replica):
    follow_many(replica, APPLY_MAX + 5, commit=1)
    log = replica.core.log
    replica.core.receive(
        B.id,
        {
            "type": "append_entries",
            "term": 5,
            "commit_index": log.last,
            "prevLogIdx": log.last,
            "prevLogTerm": 5,
            "entries": [],
            "sent_at": 1.0,
        },
    )
    replica.core.library.turn()
    assert replica.core.applied == 1 + APPLY_MAX


def test_a_leader_of_one_commits_what_is_on_its_disk(make):
    alone, dirty = make(Configuration((A,))), []
    alone.recorder.passed = lambda _index: dirty.append(alone.core.log.dirty)
    alone.recorder.obey = lambda _index, _entry: dirty.append(alone.core.log.dirty) or True
    alone.doubt()
    assert alone.core.leads
    alone.core.submit(b"x", lambda _taken: None)
    alone.turn()
    assert (dirty, alone.core.applied) == ([False, False], 3)


def test_a_majority_is_one_of_the_voters(make, clock):
    initial = Configuration((A, B, C, D), (member("e"),))
    leader = make(initial).lead(B, C)
    leader.core.submit(b"x", lambda _taken: None)
    leader.turn()
    leader.acknowledge(member("e"))
    leader.acknowledge(B)
    assert leader.core.commit == 2
    leader.acknowledge(C)
    assert leader.core.commit == 3


def test_what_a_learner_had_counts_from_the_moment_it_is_promoted(leader):
    leader.core.change(THREE.with_learner(D), lambda _answer: None)
    leader.turn()
    leader.acknowledge(B)
    leader.acknowledge(D)
    commit = leader.core.commit
    leader.core.change(THREE.with_learner(D).promoted(D.id), lambda _answer: None)
    leader.turn()
    leader.acknowledge(B)
    assert leader.core.commit == commit  # two of four
    leader.acknowledge(D)
    assert leader.core.commit == commit + 1


def test_what_a_removed_voter_had_counts_no_more_when_it_comes_back(leader, clock):
    def change(after, *voters):
        answers = []
        leader.core.change(after, answers.append)
        leader.turn()
        for voter in voters:
            leader.acknowledge(voter)
        assert answers == [""]

    two = THREE.without(C.id)
    leader.acknowledge(C)
    change(two, B)
    change(two.without(B.id))
    clock.pass_s(QUORUM_LOST_S * 3)
    answers = []
    leader.core.change(two, answers.append)
    leader.turn()
    assert leader.core.leads, "the library went by when it last heard of the voter before it was removed"
    assert answers == []
    leader.acknowledge(B)
    assert answers == [""]


def test_a_leader_without_a_majority_steps_down_in_time(leader, clock):
    began_s = clock.now
    while clock.now < began_s + QUORUM_LOST_S * 0.9:
        clock.pass_s(HEARTBEAT_S)
        leader.turn()
    assert leader.core.leads
    clock.pass_s(HEARTBEAT_S * 2)
    leader.turn()
    assert (leader.core.leads, leader.core.leader) == (False, None)


def test_who_steps_down_by_itself_leads_no_more_and_says_so(leader):
    leader.core.library.step_down()
    assert (leader.core.leads, leader.core.leader, leader.core.replicator.followers) == (False, None, {})


def test_a_replica_that_renounces_hands_leadership_over_or_steps_down(leader, clock):
    leader.acknowledge(B)
    leader.core.renounce("it differs")
    leader.turn()
    assert [message["term"] for message in leader.take("timeout_now")] == [leader.core.term]
    for _ in range(20):
        clock.pass_s(ELECTION_S_MAX / 16)
        leader.acknowledge(B)
        leader.core.renounce("it still differs")
        leader.turn()
    assert not leader.core.leads
    clock.pass_s(10)
    leader.turn()
    assert not leader.take("pre_vote")
    assert leader.core.renounced == "it differs"


@pytest.mark.parametrize("to", [None, C.id])
def test_leadership_goes_only_to_who_has_everything_and_a_link(leader, to):
    leader.core.submit(b"x", lambda _taken: None)
    leader.turn()
    assert not leader.core.transfer(to)
    leader.acknowledge(B)
    assert leader.core.transfer(to) == (to is None)
    assert len(leader.take("timeout_now")) == (to is None)
    leader.core.peer_down(B.id)
    assert not leader.core.transfer(to)


def test_a_replica_that_does_not_stand_stays_what_it_is(replica, clock):
    clock.pass_s(100)
    for _ in range(10):
        replica.core.library.turn()
    assert (replica.core.term, replica.core.leads) == (0, False)


def test_a_leader_of_which_no_majority_was_heard_yet_does_not_know_how_old_its_state_is(replica, clock):
    assert replica.core.quorum_age_s() is None
    replica.lead()
    clock.pass_s(0.1)
    assert replica.core.quorum_age_s() == pytest.approx(0.1)
    replica.core.replicator.begin()  # as after another election
    assert replica.core.quorum_age_s() is None
