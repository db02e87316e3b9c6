"""Linearizable reads: confirmed by a majority after they began, and shared."""

import pytest

from hamgr.raft.protocol.membership import Configuration
from hamgr.raft.protocol.reads import READS_MAX, ROUND_S_MAX, ReadRounds
from tests.hamgr.raft.protocol.kit import THREE, A, B, C, D, E, FakeRaft


@pytest.fixture
def raft():
    return FakeRaft()


@pytest.fixture
def rounds(raft):
    return ReadRounds(raft)


def ask(rounds, count=1):
    answers = []
    for _ in range(count):
        rounds.ask(answers.append)
    return answers


def asked(raft):
    """Return the rounds that B was asked about."""
    return [message["round"] for message in raft.take(B.id, "confirm")]


def test_a_read_is_answered_when_a_majority_has_confirmed_it(rounds, raft):
    answers = ask(rounds)
    sent = raft.take()
    assert sorted(to for to, _message in sent) == sorted([B.id, C.id])
    assert answers == []
    rounds.confirmed(B.id, 3, sent[0][1]["round"])
    assert answers == [3]
    assert rounds.waiting == 0


def test_the_index_is_the_commit_index_when_the_round_began(rounds, raft):
    answers = ask(rounds)
    (number,) = asked(raft)
    raft.log.add(4)
    raft.commit = raft.log.last
    rounds.confirmed(B.id, 3, number)
    assert answers == [3]


def test_readers_that_come_meanwhile_share_the_next_round(rounds, raft):
    first, second, third = ask(rounds), ask(rounds), ask(rounds)
    (number,) = asked(raft)
    raft.log.add(1)
    raft.commit = 4
    rounds.confirmed(B.id, 3, number)
    assert (first, second, third) == ([3], [], [])
    (following,) = asked(raft)
    rounds.confirmed(C.id, 3, number)  # late, and of the first round
    assert second == []
    rounds.confirmed(C.id, 3, following)
    assert (second, third) == ([4], [4])
    assert not asked(raft)


def test_a_voter_counts_once_and_a_learner_or_stranger_not_at_all(raft):
    raft.configuration = Configuration((A, B, C, D, E))
    rounds = ReadRounds(raft)
    answers = ask(rounds)
    (number,) = asked(raft)
    for _ in range(3):
        rounds.confirmed(B.id, 3, number)
    assert answers == []
    raft.configuration = Configuration((A, C, E), (B, D))
    rounds.confirmed(D.id, 3, number)
    assert answers == []
    rounds.confirmed(C.id, 3, number)
    assert answers == [3]


def test_learners_are_not_asked(raft):
    raft.configuration = THREE.with_learner(D)
    ask(ReadRounds(raft))
    assert {to for to, _message in raft.take()} == {B.id, C.id}


def test_nothing_is_answered_before_the_leader_has_committed_in_its_own_term(rounds, raft):
    raft.commit = 2  # of term 2
    answers = ask(rounds)
    rounds.advance()
    assert (answers, asked(raft), rounds.waiting) == ([], [], 1)
    raft.commit = 3
    rounds.advance()
    (number,) = asked(raft)
    rounds.confirmed(B.id, 3, number)
    assert answers == [3]


@pytest.mark.parametrize(("term", "number"), [(2, 0), (4, 0), (3, -1), (3, 1)])
def test_a_confirmation_of_another_term_or_round_does_not_count(rounds, raft, term, number):
    answers = ask(rounds)
    (current,) = asked(raft)
    rounds.confirmed(B.id, term, current + number)
    assert answers == []


def test_a_later_term_ends_every_read_without_an_index(rounds, raft):
    answers = ask(rounds, 3)
    (number,) = asked(raft)
    raft.term, raft.leads = 4, False
    rounds.confirmed(B.id, 3, number)
    assert answers == []
    rounds.advance()
    assert answers == [None] * 3
    assert ask(rounds) == [None]


def test_a_leader_that_was_elected_again_meanwhile_does_not_answer_the_old_round(rounds, raft):
    answers = ask(rounds)
    (number,) = asked(raft)
    raft.term = 5
    rounds.confirmed(B.id, 3, number)
    rounds.confirmed(B.id, 5, number)
    assert answers == [None]


def test_a_round_without_a_majority_ends(rounds, raft):
    first, second = ask(rounds), ask(rounds)
    (number,) = asked(raft)
    raft.clock.pass_s(ROUND_S_MAX * 1.01)
    rounds.advance()
    assert (first, second) == ([None], [])
    rounds.confirmed(B.id, 3, number)
    assert second == []
    (following,) = asked(raft)
    rounds.confirmed(B.id, 3, following)
    assert second == [3]


def test_readers_do_not_wait_for_ever_for_the_first_commit_of_a_term(rounds, raft):
    raft.commit = 2
    answers = ask(rounds)
    raft.clock.pass_s(ROUND_S_MAX * 1.9)
    rounds.advance()
    assert answers == []
    raft.clock.pass_s(ROUND_S_MAX * 0.2)
    rounds.advance()
    assert answers == [None]


def test_readers_that_wait_are_bounded(rounds, raft):
    raft.commit = 2
    answers = ask(rounds, READS_MAX + 1)
    assert (answers, rounds.waiting) == ([None], READS_MAX)


def test_a_leader_of_one_answers_at_once(raft):
    raft.configuration = Configuration((A,))
    rounds = ReadRounds(raft)
    assert ask(rounds, 2) == [3, 3]
    assert raft.take() == []
