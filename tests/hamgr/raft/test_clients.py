"""What a replica does for those who ask it: commands, reads and changes of the configuration."""

import pytest

from hamgr.raft.core.clients import FORWARDED_MAX, PROPOSAL_S_MAX, READ_S_MAX, UNCOMMITTED_MAX
from hamgr.raft.core.library import REGULAR
from hamgr.raft.protocol.membership import Configuration
from hamgr.raft.protocol.messages import ENTRY_BYTES_MAX, BadMessage
from hamgr.raft.protocol.reads import READS_MAX
from tests.hamgr.raft.protocol.conftest import clock, leader, make, replica
from tests.hamgr.raft.protocol.kit import THREE, A, B, C, D, E

__all__ = ["clock", "leader", "make", "replica"]  # fixtures


@pytest.fixture
def follower(replica):
    """One that follows `B` in term 5."""
    replica.follow(B, 5, (b"\x01", 2, 5), previous=(1, 0))
    replica.take()
    return replica


def ask(method, *arguments):
    answers = []
    method(*arguments, answers.append)
    return answers


# Commands.


def test_a_leader_takes_a_command_and_commits_it_when_a_majority_has_it(leader):
    taken = ask(leader.core.submit, b"x")
    leader.turn()
    assert taken == [True]
    assert (3, b"x") not in leader.recorder.obeyed
    leader.acknowledge(B)
    assert leader.recorder.obeyed[-1] == (3, b"x")


def test_a_follower_hands_a_command_to_its_leader_and_passes_the_answer_on(follower):
    taken = ask(follower.core.submit, b"x")
    (asked,) = follower.take("propose", to=B.id)
    assert (asked["entry"], taken, follower.core.waiting["forwarded"]) == (b"x", [], 1)
    follower.hear(B, "propose_answer", request=asked["request"], taken=False)
    follower.hear(B, "propose_answer", request=asked["request"], taken=True)
    assert taken == [False]
    assert follower.core.waiting["forwarded"] == 0


@pytest.mark.parametrize("what", ["no leader", "no link"])
def test_a_command_that_can_be_handed_to_nobody_is_refused_at_once(follower, what):
    if what == "no link":
        follower.core.peer_down(B.id)
    else:
        follower.hear(C, "later_term", term=6)
    assert ask(follower.core.submit, b"x") == [False]
    assert ask(follower.core.read_index) == [None]
    assert not follower.take("propose")


def test_a_leader_takes_the_command_of_a_follower_and_a_follower_takes_none(leader):
    leader.hear(B, "propose", request=7, entry=b"x")
    assert leader.take("propose_answer") == [{"type": "propose_answer", "request": 7, "taken": True}]
    assert leader.core.log[-1][0] == REGULAR + b"x"
    leader.hear(C, "later_term", term=9)
    last = leader.core.log.last
    leader.hear(B, "propose", request=8, entry=b"y")
    assert leader.take("propose_answer") == [{"type": "propose_answer", "request": 8, "taken": False}]
    assert leader.core.log.last == last


def test_a_leader_without_a_majority_takes_no_more_than_it_may(leader, monkeypatch):
    monkeypatch.setattr("hamgr.raft.core.clients.UNCOMMITTED_MAX", 3)
    taken = [ask(leader.core.submit, b"x") for _ in range(5)]
    assert taken == [[True]] * 3 + [[False]] * 2
    assert leader.core.log.last == leader.core.commit + 3
    assert UNCOMMITTED_MAX > 3


def test_a_command_that_no_follower_would_take_is_not_put_in_the_log(leader):
    last = leader.core.log.last
    assert ask(leader.core.submit, bytes(ENTRY_BYTES_MAX)) == [False]
    with pytest.raises(BadMessage, match="entry"):
        leader.hear(B, "propose", request=1, entry=bytes(ENTRY_BYTES_MAX))
    assert leader.core.log.last == last
    assert ask(leader.core.submit, bytes(ENTRY_BYTES_MAX - 1)) == [True]


def test_a_replica_that_has_renounced_takes_no_command(leader):
    leader.core.renounce("it differs")
    last = leader.core.log.last
    assert ask(leader.core.submit, b"x") == [False]
    assert leader.core.log.last == last


def test_commands_whose_answers_are_lost_do_not_use_up_the_room_for_others(follower, clock, monkeypatch):
    monkeypatch.setattr("hamgr.raft.core.clients.FORWARDED_MAX", 2)
    lost = [ask(follower.core.submit, b"x") for _ in range(2)]
    assert ask(follower.core.submit, b"y") == [False]
    for _ in range(1 + int(PROPOSAL_S_MAX / 0.1)):  # the leader is well all the time
        clock.pass_s(0.1)
        follower.follow(B, 5)
    assert lost == [[], []]
    assert follower.core.waiting["forwarded"] == 0
    assert ask(follower.core.submit, b"y") == []
    assert FORWARDED_MAX > 2


def test_when_the_leader_changes_commands_stay_unanswered_and_reads_end(follower):
    taken, read = ask(follower.core.submit, b"x"), ask(follower.core.read_index)
    (asked,) = follower.take("propose")
    follower.follow(C, 6)
    assert (taken, read) == ([], [None])
    follower.hear(B, "propose_answer", request=asked["request"], taken=False)
    assert taken == []
    assert follower.core.waiting == {"reads": 0, "forwarded": 0}


# Reads.


def test_a_follower_asks_its_leader_for_the_index_of_a_read(follower):
    read = ask(follower.core.read_index)
    (asked,) = follower.take("read_index", to=B.id)
    follower.hear(B, "read_index_answer", request=asked["request"] + 1, index=7)
    assert read == []
    follower.hear(B, "read_index_answer", request=asked["request"], index=2)
    assert read == [2]


def test_an_answer_to_who_stood_here_before_a_restart_answers_nobody(follower):
    ask(follower.core.read_index)
    ask(follower.core.submit, b"old")
    old = [message["request"] for message in follower.take() if "request" in message]
    follower.seed += 1
    follower.restart()
    follower.follow(B, 5)
    read, taken = ask(follower.core.read_index), ask(follower.core.submit, b"new")
    for number in old:
        follower.hear(B, "read_index_answer", request=number, index=1)
        follower.hear(B, "propose_answer", request=number, taken=False)
    assert (len(old), read, taken) == (2, [], [])


def test_a_read_that_the_leader_does_not_answer_ends_without_an_index(follower, clock):
    read = ask(follower.core.read_index)
    clock.pass_s(READ_S_MAX * 0.9)
    follower.follow(B, 5)
    assert read == []
    for _ in range(3):
        clock.pass_s(0.1)
        follower.follow(B, 5)
    assert read == [None]


def test_a_leader_answers_the_read_of_a_follower_when_a_majority_has_confirmed_it(leader):
    leader.hear(B, "read_index", request=4)
    (asked, *_) = leader.take("confirm", to=C.id)
    assert not leader.take("read_index_answer")
    leader.hear(C, "confirmed", term=leader.core.term, round=asked["round"])
    assert leader.take("read_index_answer") == [{"type": "read_index_answer", "request": 4, "index": 2}]


def test_a_follower_that_is_asked_for_an_index_says_that_it_has_none(follower):
    follower.hear(C, "read_index", request=4)
    assert follower.take("read_index_answer") == [{"type": "read_index_answer", "request": 4, "index": None}]


def test_reads_that_wait_for_a_leader_are_bounded(follower, monkeypatch):
    monkeypatch.setattr("hamgr.raft.core.clients.READS_MAX", 2)
    answers = [ask(follower.core.read_index) for _ in range(3)]
    assert answers == [[], [], [None]]
    assert READS_MAX > 2


# Changes of the configuration.


def test_a_change_is_in_force_at_once_and_answered_when_it_is_committed(leader):
    answers = ask(leader.core.change, THREE.with_learner(D))
    leader.turn()
    assert leader.core.configuration == THREE.with_learner(D)
    assert set(leader.recorder.linked) == {B.id, C.id, D.id}
    assert answers == []
    leader.acknowledge(B)
    assert answers == [""]


def refused(replica, after, why):
    last, before = replica.core.log.last, replica.core.configuration
    (answer,) = ask(replica.core.change, after)
    assert why in answer
    assert (replica.core.log.last, replica.core.configuration) == (last, before)


def test_a_follower_refuses_a_change(follower):
    refused(follower, THREE.with_learner(D), "does not lead")


def test_a_leader_that_has_committed_nothing_in_its_term_refuses_a_change(replica):
    replica.follow(B, 1, (b"\x00x", 2, 1), previous=(1, 0), commit=2)
    replica.take()
    replica.doubt()
    question = replica.take("pre_vote")[0]
    replica.hear(B, "pre_vote_answer", term=1, round=question["round"], granted=True)
    replica.hear(B, "response_vote", term=2)
    assert replica.core.leads
    refused(replica, THREE.with_learner(D), "elected a moment ago")


def test_a_second_change_is_refused_while_the_first_is_not_committed(leader):
    ask(leader.core.change, THREE.with_learner(D))
    refused(leader, THREE.with_learner(D).with_learner(E), "under way")


def test_a_second_change_is_refused_until_the_first_was_answered(leader, monkeypatch):
    monkeypatch.setattr("hamgr.raft.core.library.APPLY_MAX", 1)
    ask(leader.core.submit, b"x")
    first = ask(leader.core.change, THREE.with_learner(D))
    leader.core.receive(
        B.id,
        {
            "type": "next_node_idx",
            "term": leader.core.term,
            "next_node_idx": leader.core.log.last + 1,
            "reset": False,
            "success": True,
            "sent_at": 0.0,
        },
    )
    leader.core.settle()
    assert leader.core.configuration_index == leader.core.commit > leader.core.applied
    refused(leader, THREE, "under way")
    leader.turn()
    assert first == [""]


def test_a_leader_does_not_remove_itself(leader):
    refused(leader, THREE.without(A.id), "cannot remove itself")


def test_a_change_of_two_voters_is_refused(leader):
    refused(leader, Configuration((A, B, C, D, E)), "one voter")


def test_a_change_whose_leader_fails_is_answered_as_unknown(leader):
    answers = ask(leader.core.change, THREE.with_learner(D))
    leader.lose_followers()
    assert len(answers) == 1
    assert "not known" in answers[0]
    leader.follow(B, 9, (b"\x01", 3, 9), previous=(2, 1), commit=3)
    assert leader.core.configuration == THREE
    assert len(answers) == 1
