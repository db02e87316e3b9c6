"""What becomes of a message from another replica, on a real core with a real library behind it."""

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hamgr.raft.protocol.membership import encode
from hamgr.raft.protocol.messages import KINDS, BadMessage
from hamgr.raft.store.journal import LogBroken
from tests.hamgr.raft.protocol.kit import (
    ELECTION_S_MIN,
    HEARTBEAT_S,
    QUORUM_LOST_S,
    THREE,
    A,
    B,
    C,
    D,
    stands,
)
from tests.hamgr.raft.protocol.test_messages import strategy

LEADERS = {
    "append_entries": {"commit_index": 4, "prevLogIdx": 4, "prevLogTerm": 5, "entries": [], "sent_at": 1.0},
    "heartbeat": {"sent_at": 1.0},
    "snapshot_piece": {"transfer": 1, "offset": 0, "data": b"x", "last": False, "sent_at": 1.0},
}
ANSWERS = {
    "next_node_idx": {"next_node_idx": 3, "reset": False, "success": True, "sent_at": 1.0},
    "heartbeat_answer": {"sent_at": 1.0},
    "snapshot_taken": {"transfer": 1, "offset": 9, "refused": False, "sent_at": 1.0},
    "confirmed": {"round": 1},
    "snapshot_wanted": {},
}
from_leader = pytest.mark.parametrize("kind", LEADERS)
from_follower = pytest.mark.parametrize("kind", ANSWERS)


# From a leader.


@from_leader
def test_a_leader_of_an_older_term_is_told_so_and_changes_nothing(follower, kind):
    before = stands(follower)
    follower.hear(C, kind, term=4, **LEADERS[kind])
    assert stands(follower) == before
    assert follower.take() == [{"type": "later_term", "term": 5}]
    assert follower.core.counters["stale_leaders"] == 1


@from_leader
def test_a_leader_of_an_older_term_does_not_keep_us_from_electing_another(follower, clock, kind):
    due, silent = follower.core.election.due_at(), follower.core.quorum_age_s()
    clock.pass_s(ELECTION_S_MIN)
    follower.core.receive(C.id, {"type": kind, "term": 4, **LEADERS[kind]})
    assert follower.core.election.due_at() == due
    assert follower.core.quorum_age_s() == pytest.approx(silent + ELECTION_S_MIN)


@from_leader
def test_a_second_leader_of_our_own_term_is_no_replica_of_ours(leader, kind):
    before = stands(leader)
    fields = LEADERS[kind] | ({"prevLogTerm": 1} if kind == "append_entries" else {})
    with pytest.raises(BadMessage, match=f"{B.id} claims to lead in term 1, which we lead"):
        leader.hear(B, kind, term=leader.core.term, **fields)
    assert stands(leader) == before


@from_leader
def test_a_leader_of_a_later_term_is_followed(leader, kind):
    leader.hear(B, kind, term=7, **LEADERS[kind])
    assert (leader.core.term, leader.core.leader, leader.core.leads) == (7, B.id, False)
    assert not leader.core.replicator.followers


def test_a_heartbeat_is_answered_and_says_nothing_about_the_log(follower):
    before = stands(follower)
    follower.hear(B, "heartbeat", term=5, sent_at=9.5)
    assert follower.take() == [{"type": "heartbeat_answer", "term": 5, "sent_at": 9.5}]
    assert stands(follower) == before


@pytest.mark.parametrize(
    ("entries", "previous"),
    [
        ([(b"\x00", 6, 5)], (4, 5)),
        ([(b"\x00", 5, 5), (b"\x00", 7, 5)], (4, 5)),
        ([(b"\x00", 5, 4)], (4, 5)),
        ([(b"\x00", 5, 6), (b"\x00", 6, 5)], (4, 5)),
        ([(b"\x00", 5, 10)], (4, 5)),
    ],
)
def test_entries_out_of_their_place_are_refused_as_a_whole(follower, entries, previous):
    before = stands(follower)
    with pytest.raises(BadMessage, match="out of place"):
        follower.follow(B, 9, *entries, previous=previous)
    assert stands(follower) == before


def test_what_is_committed_is_never_taken_back(follower):
    before = stands(follower)
    with pytest.raises(LogBroken, match="take back entry 3"):
        follower.follow(C, 6, (b"\x00other", 3, 6), previous=(2, 5))
    assert follower.core.log[:] == before[4]


# Acknowledgements.


@from_follower
def test_an_answer_of_a_later_term_ends_leadership_and_counts_for_nothing(leader, kind):
    log, commit = leader.core.log[:], leader.core.commit
    leader.hear(B, kind, term=9, **ANSWERS[kind])
    assert (leader.core.term, leader.core.leads, leader.core.leader) == (9, False, None)
    assert (leader.core.log[:], leader.core.commit) == (log, commit)


@from_follower
def test_an_answer_of_an_older_term_is_counted_and_passed_over(leader, kind):
    progress = repr(leader.core.replicator.followers[B.id])
    leader.core.receive(B.id, {"type": kind, "term": 0, **ANSWERS[kind]})
    assert repr(leader.core.replicator.followers[B.id]) == progress
    assert leader.core.counters["stale_acknowledgements"] == 1


@from_follower
def test_an_answer_from_no_member_is_counted_and_passed_over(leader, kind):
    before = stands(leader)
    leader.hear(D, kind, term=leader.core.term, **ANSWERS[kind])
    assert stands(leader) == before
    assert leader.core.counters["foreign_messages"] == 1
    assert set(leader.core.replicator.followers) == {B.id, C.id}


@from_follower
def test_an_answer_to_who_does_not_lead_is_passed_over(follower, kind):
    before = stands(follower)
    follower.hear(C, kind, term=5, **ANSWERS[kind])
    assert stands(follower) == before
    assert follower.core.counters["stale_acknowledgements"] == 1


def test_an_acknowledgement_that_was_given_in_an_earlier_term_commits_nothing(leader, clock):
    """The library counts it: an entry of another term at the same index was acknowledged (NOTES, 5)."""
    leader.core.submit(b"x", lambda _taken: None)
    leader.turn()
    leader.hear(C, "later_term", term=4)
    leader.lead()
    leader.core.submit(b"y", lambda _taken: None)
    leader.turn()
    before = leader.core.commit
    leader.acknowledge(B, index=leader.core.log.last, term=1)
    assert leader.core.commit == before < leader.core.log.last
    leader.acknowledge(B)
    assert leader.core.commit == leader.core.log.last


def test_an_acknowledgement_of_more_than_we_have_is_no_replicas_of_ours(leader):
    before = stands(leader)
    with pytest.raises(BadMessage, match=f"{B.id} acknowledges entry 3, which we do not have"):
        leader.acknowledge(B, index=3)
    assert stands(leader) == before


def test_a_refusal_may_name_an_index_that_we_do_not_have(leader):
    leader.hear(
        B,
        "next_node_idx",
        term=leader.core.term,
        next_node_idx=99,
        reset=True,
        success=False,
        sent_at=leader.clock.now,
    )
    assert leader.core.replicator.followers[B.id].next <= leader.core.log.last + 1


@pytest.mark.parametrize("kind", ["heartbeat_answer", "snapshot_taken"])
def test_a_leader_whose_majority_only_answers_heartbeats_or_pieces_goes_on_leading(leader, clock, kind):
    for _ in range(int(4 * QUORUM_LOST_S / HEARTBEAT_S)):
        clock.pass_s(HEARTBEAT_S)
        fields = {**ANSWERS[kind], "sent_at": clock.now}
        leader.hear(B, kind, term=leader.core.term, **fields)
    assert leader.core.leads
    leader.lose_followers()


def test_a_leader_that_stood_still_hears_its_followers_before_it_doubts_them(leader, clock):
    clock.pass_s(QUORUM_LOST_S * 10)
    leader.turn()
    assert (leader.core.leads, leader.core.counters["absences"] > 0) == (True, True)
    assert leader.core.quorum_age_s() >= QUORUM_LOST_S * 10  # nothing is served on the strength of it


def test_a_follower_that_wants_a_snapshot_is_noted(leader):
    leader.hear(B, "snapshot_wanted", term=leader.core.term)
    assert leader.core.replicator.followers[B.id].wants_snapshot


# Terms, members, reads, digests.


@pytest.mark.parametrize("term", [0, 1])
def test_a_term_that_is_not_later_changes_nothing(leader, term):
    before = stands(leader)
    leader.hear(B, "later_term", term=term)
    assert stands(leader) == before


def test_a_later_term_is_adopted_without_a_vote(leader):
    leader.hear(B, "later_term", term=9)
    assert (leader.core.term, leader.core.leads, leader.core.leader) == (9, False, None)
    assert leader.core.log.getVotedForNodeId() is None
    assert not leader.take("response_vote")
    assert leader.core.counters["terms_adopted"] == 1


def test_a_later_configuration_is_let_in_and_not_counted(replica):
    replica.hear(B, "members", index=9, configuration=encode(THREE.with_learner(D)))
    assert set(replica.recorder.linked) == {B.id, C.id, D.id}
    assert replica.core.configuration == THREE
    replica.hear(C, "members", index=8, configuration=encode(THREE))
    assert set(replica.recorder.linked) == {B.id, C.id, D.id}


def test_a_configuration_that_cannot_be_read_is_no_members_of_ours(replica):
    with pytest.raises(BadMessage, match="members"):
        replica.hear(B, "members", index=9, configuration=b"junk")
    assert set(replica.recorder.linked) == {B.id, C.id}


def test_a_round_is_confirmed_in_the_own_term_and_in_a_later_one(follower):
    follower.hear(B, "confirm", term=5, round=3)
    assert follower.take() == [{"type": "confirmed", "term": 5, "round": 3}]
    follower.hear(C, "confirm", term=6, round=4)
    assert follower.take("confirmed", to=C.id) == [{"type": "confirmed", "term": 6, "round": 4}]
    assert follower.core.term == 6


def test_the_round_of_an_older_term_is_not_confirmed(follower):
    before = stands(follower)
    follower.hear(C, "confirm", term=4, round=3)
    assert not follower.take("confirmed")
    assert stands(follower) == before


def test_a_leader_confirms_no_round_of_its_own_term(leader):
    leader.hear(B, "confirm", term=leader.core.term, round=3)
    assert not leader.take("confirmed")


def test_a_digest_is_handed_on(follower):
    follower.hear(C, "digest", index=3, digest=bytes(32))
    assert follower.recorder.digests == [(C.id, 3, bytes(32))]


def test_a_message_of_a_later_version_is_counted(follower):
    before = stands(follower)
    follower.hear(C, "of a later version", anything=1)
    assert stands(follower) == before
    assert follower.core.counters["later_types"] == 1


ANY = st.sampled_from(sorted(KINDS)).flatmap(strategy)
SMALL = {"term": 9, "prevLogIdx": 6, "prevLogTerm": 6, "next_node_idx": 6, "commit_index": 6}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([B, C, D]), ANY, st.integers(0, 9)), max_size=12), st.booleans())
def test_whatever_well_formed_messages_come_in_whatever_order_nothing_else_is_raised(make, messages, leads):
    replica = make()
    if leads:
        replica.lead()
    try:
        for sender, drawn, number in messages:
            message = msgpack.unpackb(msgpack.packb(drawn))
            for name, most in SMALL.items():
                if name in message:
                    message[name] = number % (most + 1)
            try:
                replica.core.receive(sender.id, message)
            except BadMessage:
                continue
            replica.turn()
    except LogBroken as error:  # what is committed was to be taken back, or a configuration was junk
        assert "take back" in str(error) or "configuration" in str(error)  # noqa: PT017 - both may come
    finally:
        replica.stop()


def test_all_kinds_have_a_handler(replica):
    assert set(replica.core._guard._handlers) == set(KINDS)
    assert A.id not in replica.recorder.linked
