"""How a leader brings its log to the others."""

import pytest

from hamgr.raft.protocol.messages import ENTRIES_MAX
from hamgr.raft.protocol.replication import NEWS_S, STUCK_S, TOGETHER, WINDOW_BYTES, Replicator
from tests.hamgr.raft.protocol.kit import HEARTBEAT_S, THREE, A, B, C, D
from tests.hamgr.raft.protocol.replication_kit import (
    ROUND_TRIP_S,
    answer,
    caught_up,
    pumped,
    refuse,
)


def test_a_new_leader_speaks_to_every_member_at_once_and_says_where_it_stands(replicator, raft):
    for one in (B, C):
        (said,) = pumped(replicator, raft, one) if one is B else pumped_again(replicator, raft, one)
        assert (said["type"], said["prevLogIdx"], said["prevLogTerm"]) == ("append_entries", 10, 3)
        assert (said["term"], said["commit_index"], said["entries"]) == (3, 10, [])


def pumped_again(replicator, raft, peer):
    replicator.linked(peer.id)
    return pumped(replicator, raft, peer)


def test_nothing_is_sent_to_a_member_without_a_link(replicator, raft):
    raft.up.discard(B.id)
    assert not pumped(replicator, raft)
    assert raft.now() < replicator.next_heartbeat_at() < float("inf")  # for C
    raft.up.clear()
    assert replicator.next_heartbeat_at() == float("inf")


def test_before_a_follower_has_taken_something_one_message_at_a_time_is_sent(replicator, raft):
    raft.log.add(1)
    assert [len(m["entries"]) for m in pumped(replicator, raft)] == [1]
    raft.log.add(1)
    assert not pumped(replicator, raft)
    answer(replicator, raft, 11)
    assert [m["entries"][0][1] for m in pumped(replicator, raft)] == [12]


def test_what_a_follower_has_taken_is_its_match_and_the_rest_is_sent_without_waiting(replicator, raft):
    caught_up(replicator, raft)
    for _ in range(3):
        raft.log.add(1)
        assert len(pumped(replicator, raft)) == 1
    progress = replicator.followers[B.id]
    assert (progress.match, progress.next, len(progress.on_its_way)) == (10, 14, 3)
    answer(replicator, raft, 12)
    assert (progress.match, progress.next, len(progress.on_its_way)) == (12, 14, 1)
    assert progress.round_trip_s == pytest.approx(ROUND_TRIP_S)


def test_no_more_than_the_window_is_on_its_way(replicator, raft):
    caught_up(replicator, raft)
    raft.log.add(40, size=200_000)
    sent = pumped(replicator, raft)
    progress = replicator.followers[B.id]
    assert WINDOW_BYTES <= progress.bytes_on_their_way < WINDOW_BYTES + 500_000
    assert sent[-1]["entries"][-1][1] == progress.next - 1 < raft.log.last
    assert not pumped(replicator, raft)
    answer(replicator, raft, sent[0]["entries"][-1][1])
    assert len(pumped(replicator, raft)) == 1
    answer(replicator, raft, raft.log.last)
    assert (progress.bytes_on_their_way, len(progress.on_its_way)) == (0, 0)


def test_one_message_has_a_bounded_number_of_entries(replicator, raft):
    caught_up(replicator, raft)
    raft.log.add(ENTRIES_MAX + 1)
    assert [len(m["entries"]) for m in pumped(replicator, raft)] == [ENTRIES_MAX, 1]


def test_a_large_entry_goes_alone(replicator, raft):
    caught_up(replicator, raft)
    raft.log.add(1, size=1_000_000)
    raft.log.add(1)
    assert [len(m["entries"]) for m in pumped(replicator, raft)] == [1, 1]


def test_after_a_refusal_it_goes_on_where_the_follower_says(replicator, raft):
    pumped(replicator, raft)
    refuse(replicator, raft, 4)
    (said,) = pumped(replicator, raft)
    assert (said["prevLogIdx"], [entry[1] for entry in said["entries"]]) == (4, [5, 6, 7, 8, 9, 10])
    assert replicator.followers[B.id].probing


@pytest.mark.parametrize(("commit", "previous"), [(-1, 1), (0, 1), (99, 10)])
def test_a_refusal_that_names_no_place_in_the_log_is_put_right(replicator, raft, commit, previous):
    refuse(replicator, raft, commit)
    assert [m["prevLogIdx"] for m in pumped(replicator, raft)] == [previous]


def test_a_refusal_of_what_was_sent_before_the_last_refusal_is_not_believed(replicator, raft):
    pumped(replicator, raft)
    early = raft.now()
    raft.clock.pass_s(0.01)
    refuse(replicator, raft, 4)
    pumped(replicator, raft)
    refuse(replicator, raft, 2, sent_at=early)
    assert replicator.followers[B.id].next == 11
    assert not pumped(replicator, raft)


def test_an_answer_that_comes_twice_changes_nothing(replicator, raft):
    caught_up(replicator, raft)
    raft.log.add(2)
    pumped(replicator, raft)
    answer(replicator, raft, 12)
    answer(replicator, raft, 11, sent_at=raft.now() - 1)
    progress = replicator.followers[B.id]
    assert (progress.match, progress.next, progress.bytes_on_their_way) == (12, 13, 0)


def test_a_heartbeat_goes_to_everybody_in_time_and_not_before(replicator, raft):
    caught_up(replicator, raft)
    assert replicator.next_heartbeat_at() == pytest.approx(raft.now() + HEARTBEAT_S, abs=ROUND_TRIP_S * 3)
    raft.clock.pass_s(HEARTBEAT_S * TOGETHER * 0.9)
    assert not pumped(replicator, raft)
    raft.clock.pass_s(HEARTBEAT_S * 0.3)
    (said,) = pumped(replicator, raft)
    assert said["entries"] == []


def test_a_heartbeat_also_goes_to_whom_the_window_is_full_for(replicator, raft):
    raft.log.add(1)
    pumped(replicator, raft)
    raft.log.add(1)
    raft.clock.pass_s(HEARTBEAT_S * 1.1)
    (said,) = pumped(replicator, raft)
    assert (said["prevLogIdx"], said["entries"]) == (11, [])


def committed(replicator, raft):
    caught_up(replicator, raft)
    raft.log.add(1)
    pumped(replicator, raft)
    answer(replicator, raft, 11)
    raft.commit = 11


def test_the_news_of_a_commit_goes_out_at_once_and_once_where_somebody_waits_for_it(replicator, raft):
    committed(replicator, raft)
    replicator.expects(B.id, 11)
    assert [(m["commit_index"], m["entries"]) for m in pumped(replicator, raft)] == [(11, [])]
    raft.clock.pass_s(NEWS_S * 1.1)
    assert not pumped(replicator, raft)


def test_the_news_of_a_commit_that_nobody_waits_for_goes_with_the_next_entries_or_soon_after(
    replicator, raft
):
    committed(replicator, raft)
    assert not pumped(replicator, raft)
    assert replicator.next_heartbeat_at() - raft.now() <= NEWS_S
    raft.clock.pass_s(NEWS_S * 1.1)
    assert [(m["commit_index"], m["entries"]) for m in pumped(replicator, raft)] == [(11, [])]
    raft.log.add(1)
    raft.commit = 11
    assert [m["commit_index"] for m in pumped(replicator, raft)] == [11]


def test_what_is_lost_without_a_word_is_sent_again_after_the_next_heartbeat(replicator, raft):
    caught_up(replicator, raft)
    raft.log.add(2)
    pumped(replicator, raft)
    raft.clock.pass_s(HEARTBEAT_S * 1.1)
    assert [m["entries"] for m in pumped(replicator, raft)] == [[]]
    refuse(replicator, raft, 10)
    assert [entry[1] for m in pumped(replicator, raft) for entry in m["entries"]] == [11, 12]


def test_after_a_long_standstill_it_begins_again_behind_what_is_surely_there(replicator, raft):
    caught_up(replicator, raft)
    raft.log.add(2)
    pumped(replicator, raft)
    raft.clock.pass_s(STUCK_S * 1.1)
    (said,) = pumped(replicator, raft)
    assert (said["prevLogIdx"], [entry[1] for entry in said["entries"]]) == (10, [11, 12])


def test_a_new_link_begins_behind_what_is_surely_there(replicator, raft):
    caught_up(replicator, raft)
    raft.log.add(3)
    pumped(replicator, raft)
    replicator.linked(B.id)
    replicator.linked(D.id)
    (said,) = pumped(replicator, raft)
    assert (said["prevLogIdx"], len(said["entries"])) == (10, 3)
    progress = replicator.followers[B.id]
    assert (progress.probing, len(progress.on_its_way)) == (True, 1)
    assert D.id not in replicator.followers


def test_a_majority_is_heard_of_as_late_as_its_last_member(replicator, raft):
    assert replicator.quorum_heard_of() == float("-inf")
    replicator.contact(B.id, 990.0)
    assert replicator.quorum_heard_of() == 990.0
    replicator.contact(C.id, 995.0)
    replicator.contact(C.id, 991.0)
    assert replicator.quorum_heard_of() == 995.0


def test_nobody_is_heard_of_later_than_now(replicator, raft):
    for sent_at in (raft.now() + 1, float("inf"), float("nan")):
        replicator.contact(B.id, sent_at)
        replicator.contact(C.id, sent_at)
    assert replicator.quorum_heard_of() == float("-inf")


def test_a_learner_gets_the_log_and_counts_for_nothing(replicator, raft):
    raft.configuration = THREE.with_learner(D)
    raft.up.add(D.id)
    replicator.adopt()
    caught_up(replicator, raft, D)
    assert replicator.followers[D.id].match == 10
    assert replicator.quorum_heard_of() == float("-inf")
    assert replicator.followers[B.id].match == 0


def test_who_is_no_member_any_more_gets_nothing(replicator, raft):
    raft.configuration = THREE.without(B.id)
    replicator.adopt()
    assert not pumped(replicator, raft)
    assert set(replicator.followers) == {C.id}


def test_a_leader_of_one_has_its_majority_always(raft):
    raft.configuration = THREE.without(B.id).without(C.id)
    replicator = Replicator(raft, HEARTBEAT_S, lambda: None)
    replicator.begin()
    assert replicator.quorum_heard_of() == raft.now()


def test_the_leader_itself_is_no_follower(replicator):
    assert set(replicator.followers) == {B.id, C.id}
    assert A.id not in replicator.followers
