"""Votes, inquiries and transfers, on a real core with a real library behind it."""

import pytest

from hamgr.raft.protocol.membership import encode
from tests.hamgr.raft.protocol.kit import (
    ELECTION_S_MIN,
    HEARTBEAT_S,
    THREE,
    B,
    C,
    D,
    member,
    stands,
)


def silence(replica, clock, seconds=ELECTION_S_MIN):
    """Let no leader be heard for so long that another one may be elected."""
    clock.pass_s(seconds)


def request_vote(replica, sender, term, *, last=(99, 99), transfer=False):
    message = {"term": term, "last_log_index": last[0], "last_log_term": last[1], "transfer": transfer}
    replica.hear(sender, "request_vote", **message)
    return replica.take("response_vote", to=sender.id)


def pre_vote(replica, sender, term, *, last=(99, 99)):
    replica.hear(sender, "pre_vote", term=term, round=7, last_log_index=last[0], last_log_term=last[1])
    sent, replica.recorder.sent = replica.recorder.sent, []
    (answer,) = [message for _to, message in sent if message["type"] == "pre_vote_answer"]
    assert answer["round"] == 7
    return answer["granted"]


# Votes.


def test_a_vote_is_given_once_in_a_term_and_only_to_who_has_as_much(follower, clock):
    silence(follower, clock)
    assert request_vote(follower, B, 6, last=(3, 5)) == []
    assert request_vote(follower, B, 7, last=(99, 4)) == []
    assert request_vote(follower, C, 7, last=(4, 5)) == [{"type": "response_vote", "term": 7}]
    assert request_vote(follower, B, 7, last=(9, 6)) == []
    assert follower.core.log.getVotedForNodeId() == C.id


def test_a_vote_outlives_a_restart(follower, clock):
    silence(follower, clock)
    request_vote(follower, C, 7)
    follower.restart()
    silence(follower, clock)
    assert request_vote(follower, B, 7) == []
    assert follower.core.log.getVotedForNodeId() == C.id


def test_a_vote_leaves_only_when_it_is_on_the_disk(follower, clock, monkeypatch):
    silence(follower, clock)
    question = {"term": 7, "last_log_index": 9, "last_log_term": 9, "transfer": False}
    follower.core.receive(C.id, {"type": "request_vote", **question})
    follower.core.advance()
    assert follower.core.log.dirty
    assert not follower.take("response_vote")
    follower.core.settle()
    assert follower.take("response_vote")


def test_who_hears_a_leader_keeps_its_vote_and_its_term(follower):
    before = stands(follower)
    assert request_vote(follower, C, 9) == []
    assert stands(follower) == before
    assert follower.core.counters["votes_kept_for_leader"] == 1


def test_who_hears_a_leader_votes_when_the_leader_asked_for_it(follower):
    assert request_vote(follower, C, 6, transfer=True) == [{"type": "response_vote", "term": 6}]


def test_a_leader_with_its_majority_keeps_its_vote_and_one_without_gives_it(leader, clock):
    before = stands(leader)
    assert request_vote(leader, C, 9) == []
    assert stands(leader) == before
    silence(leader, clock)
    assert request_vote(leader, C, 9) == [{"type": "response_vote", "term": 9}]
    assert not leader.core.leads


def test_a_candidate_of_an_older_term_is_told_so(follower):
    assert request_vote(follower, C, 4) == []
    before = stands(follower)
    request_vote(follower, C, 4)
    assert stands(follower) == before
    follower.hear(C, "request_vote", term=4, last_log_index=1, last_log_term=1, transfer=False)
    assert follower.take("later_term", to=C.id) == [{"type": "later_term", "term": 5}]


@pytest.fixture
def candidate(make, clock):
    """One of five that stands in term 1."""
    five = make(initial_of_five())
    five.doubt()
    (question, *_) = five.take("pre_vote")
    for voter in (B, C):
        five.hear(voter, "pre_vote_answer", term=0, round=question["round"], granted=True)
    assert five.core.term == 1
    five.take()
    return five


def initial_of_five():
    return THREE.with_learner(D).promoted(D.id).with_learner(member("e")).promoted(member("e").id)


def test_a_vote_that_comes_twice_counts_once(candidate):
    for _ in range(3):
        candidate.hear(B, "response_vote", term=1)
    assert not candidate.core.leads
    assert candidate.core.counters["duplicate_votes"] == 2
    candidate.hear(C, "response_vote", term=1)
    assert candidate.core.leads


def test_the_vote_of_no_voter_does_not_count(candidate):
    for stranger in (member("x"), member("y"), member("z")):
        candidate.hear(stranger, "response_vote", term=1)
    assert not candidate.core.leads
    assert candidate.core.counters["foreign_messages"] == 3


@pytest.mark.parametrize("term", [0, 2])
def test_a_vote_of_another_term_does_not_count(candidate, term):
    for voter in (B, C, D):
        candidate.hear(voter, "response_vote", term=term)
    assert not candidate.core.leads
    assert candidate.core.term == 1


# PreVote.


def test_an_inquiry_is_granted_in_silence_to_who_could_win_and_changes_nothing(follower, clock):
    silence(follower, clock)
    before = stands(follower)
    assert pre_vote(follower, C, 6, last=(4, 5))
    assert not pre_vote(follower, C, 5, last=(4, 5))
    assert not pre_vote(follower, C, 6, last=(3, 5))
    assert not pre_vote(follower, C, 6, last=(99, 4))
    assert pre_vote(follower, C, 6, last=(1, 6))
    assert stands(follower) == before


def test_an_inquiry_is_not_granted_while_a_leader_is_heard(follower):
    before = stands(follower)
    assert not pre_vote(follower, C, 9)
    assert stands(follower) == before


def test_who_asks_beside_a_living_leader_is_told_who_the_members_are(follower):
    follower.hear(D, "pre_vote", term=9, round=7, last_log_index=9, last_log_term=9)
    assert follower.take("members", to=D.id) == [
        {"type": "members", "index": 0, "configuration": encode(THREE)}
    ]


def test_nobody_stands_before_a_majority_would_vote_for_it(make, clock):
    five = make(initial_of_five())
    five.doubt()
    (question, *_) = five.take("pre_vote")
    answer = {"term": 0, "round": question["round"], "granted": True}
    five.hear(B, "pre_vote_answer", **answer)
    five.hear(B, "pre_vote_answer", **answer)
    five.hear(C, "pre_vote_answer", **{**answer, "granted": False})
    five.hear(member("x"), "pre_vote_answer", **answer)
    five.hear(C, "pre_vote_answer", **{**answer, "round": question["round"] - 1})
    assert (five.core.term, five.take("request_vote")) == (0, [])
    five.hear(D, "pre_vote_answer", **answer)
    assert five.core.term == 1
    assert len(five.take("request_vote")) == 4


def test_who_is_cut_off_asks_for_ever_and_keeps_its_term(replica, clock):
    for _ in range(200):
        clock.pass_s(HEARTBEAT_S)
        replica.turn()
    assert replica.core.term == 0
    assert len(replica.take("pre_vote", to=B.id)) > 10


def test_an_answer_of_a_later_term_is_adopted(replica, clock):
    replica.doubt()
    replica.hear(B, "pre_vote_answer", term=8, round=1, granted=False)
    assert (replica.core.term, replica.core.leads) == (8, False)


def test_a_leader_that_comes_back_before_the_turn_is_not_stood_against(replica, clock):
    """The majority granted in one batch with the first message of a leader of this very term."""
    replica.follow(B, 5, (b"\x01", 2, 5), previous=(1, 0))
    replica.doubt()
    (question, *_) = replica.take("pre_vote")
    granted = {"type": "pre_vote_answer", "term": 5, "round": question["round"], "granted": True}
    replica.core.receive(C.id, granted)
    replica.core.receive(B.id, {"type": "heartbeat", "term": 5, "sent_at": 1.0})
    replica.turn()
    assert (replica.core.term, replica.core.leader) == (5, B.id)
    assert not replica.take("request_vote")


# Transfer.


def test_who_is_asked_by_its_leader_stands_at_once_and_says_that_it_was_asked(follower):
    follower.core.receive(B.id, {"type": "timeout_now", "term": 5})
    follower.core.receive(B.id, {"type": "heartbeat", "term": 5, "sent_at": 1.0})
    follower.turn()
    assert follower.core.term == 6
    assert [message["transfer"] for message in follower.take("request_vote")] == [True, True]


@pytest.mark.parametrize(("sender", "term"), [(C, 5), (B, 4), (B, 6)])
def test_who_is_asked_by_anybody_else_does_not_stand(follower, sender, term):
    before = stands(follower)
    follower.hear(sender, "timeout_now", term=term)
    assert stands(follower) == before
    assert not follower.take("request_vote")


def test_a_learner_does_not_stand_even_when_it_is_asked(make):
    learner = make(THREE.with_learner(D), me=D)
    learner.follow(B, 5, (b"\x01", 2, 5), previous=(1, 0))
    learner.hear(B, "timeout_now", term=5)
    assert (learner.core.term, learner.core.leader) == (5, B.id)


def test_a_candidate_that_was_not_asked_says_so(follower, clock):
    follower.hear(B, "timeout_now", term=5)
    follower.take()
    follower.doubt()
    (question, *_) = follower.take("pre_vote")
    follower.hear(C, "pre_vote_answer", term=6, round=question["round"], granted=True)
    assert [message["transfer"] for message in follower.take("request_vote")] == [False, False]
