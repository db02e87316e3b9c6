"""When a replica may stand for election."""

import random

import pytest

from hamgr.raft.protocol.election import Election
from tests.hamgr.raft.protocol.kit import ELECTION_S_MAX, ELECTION_S_MIN, HEARTBEAT_S, A, B, C, Times


@pytest.fixture(params=range(5))
def election(request):
    """Begun at 100 s, with five kinds of luck."""
    return Election(Times(), random.Random(request.param), 100.0)


def test_one_that_has_just_started_waits_and_is_sticky(election):
    assert 100 + ELECTION_S_MIN <= election.due_at() <= 100 + ELECTION_S_MAX
    assert election.leader_is_alive(100 + ELECTION_S_MIN * 0.99)
    assert not election.leader_is_alive(100 + ELECTION_S_MIN)


def test_every_sign_of_life_begins_the_wait_anew(election):
    election.heard(100.3)
    assert 100.3 + ELECTION_S_MIN <= election.due_at() <= 100.3 + ELECTION_S_MAX
    assert election.leader_is_alive(100.4)
    assert election.silence_s(100.5) == pytest.approx(0.2)


def test_a_dead_leader_is_not_waited_for(election):
    election.heard(100.0)
    election.lost(100.01)
    assert 100.01 <= election.due_at() <= 100.01 + HEARTBEAT_S
    assert not election.leader_is_alive(100.01)


def test_who_was_away_hears_once_more_before_it_doubts_the_leader(election):
    election.heard(100.0)
    election.excuse(103.0)
    assert 103 + HEARTBEAT_S <= election.due_at() <= 103 + ELECTION_S_MIN
    due_at = election.due_at()
    election.excuse(due_at - ELECTION_S_MIN * 2)
    assert election.due_at() == due_at


def test_absence_gives_a_leader_that_is_known_to_be_dead_no_time(election):
    election.lost(100.01)
    due_at = election.due_at()
    election.excuse(103.0)
    assert election.due_at() == due_at


def test_each_voter_that_grants_is_counted_once_and_only_in_this_inquiry(election):
    first = election.ask(A.id, 3, 101.0)
    second = election.ask(A.id, 3, 102.0)
    assert election.granted(B.id, first, 3) == 0
    assert election.granted(B.id, second, 4) == 0
    assert election.granted(B.id, second, 3) == 2
    assert election.granted(B.id, second, 3) == 2
    assert election.granted(C.id, second, 3) == 3


def test_it_asks_again_soon(election):
    election.ask(A.id, 3, 101.0)
    assert 101 + HEARTBEAT_S <= election.due_at() <= 101 + ELECTION_S_MIN


def test_what_was_granted_before_a_leader_was_heard_is_forgotten(election):
    number = election.ask(A.id, 3, 101.0)
    election.heard(101.1)
    assert election.granted(B.id, number, 3) == 0


def test_it_may_stand_in_the_term_that_it_asked_in_and_in_no_other(election):
    assert not election.may_stand(3)
    election.allow(3, 101.0)
    assert election.may_stand(3)
    assert not election.may_stand(4)


def test_a_leader_that_is_heard_in_time_takes_the_leave_to_stand_back(election):
    election.allow(3, 101.0)
    election.heard(101.0)
    assert not election.may_stand(3)


def test_a_leader_that_asked_for_the_election_does_not_hinder_it_by_being_heard(election):
    election.allow(3, 101.0, transfer=True)
    election.heard(101.0)
    assert election.may_stand(3)
    assert not election.may_stand(4)


def test_it_makes_way_once_in_each_silence(election):
    election.made_way(101.0)
    due = election.due_at()
    assert due >= 101 + ELECTION_S_MIN
    election.made_way(101.1)
    assert election.due_at() == due
    election.heard(102.0)
    election.made_way(103.0)
    assert election.due_at() >= 103 + ELECTION_S_MIN


def test_it_lets_a_candidate_go_first(election):
    election.deferred(105.0)
    assert 105 + ELECTION_S_MIN <= election.due_at() <= 105 + ELECTION_S_MAX


def test_two_replicas_rarely_wait_for_the_same_time():
    due = {Election(Times(), random.Random(seed), 0.0).due_at() for seed in range(50)}
    assert len(due) == 50
    assert max(due) - min(due) > (ELECTION_S_MAX - ELECTION_S_MIN) / 2
