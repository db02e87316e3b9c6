"""How a leader brings its snapshot to those who lack what its log has lost."""

import pytest

from hamgr.raft.protocol.replication import STUCK_S, Replicator
from tests.hamgr.raft.protocol.kit import HEARTBEAT_S, THREE, B
from tests.hamgr.raft.protocol.replication_kit import (
    answer,
    caught_up,
    pumped,
    refuse,
)


@pytest.fixture
def short(replicator, raft):
    """A leader whose log begins at 8, beside a follower that has 4."""
    raft.log.forget_before(8)
    pumped(replicator, raft)
    refuse(replicator, raft, 4)
    return replicator


def taken(replicator, raft, piece, offset=None, *, refused=False, peer=B):
    replicator.piece_taken(
        peer.id,
        {
            "transfer": piece["transfer"],
            "offset": piece["offset"] + len(piece["data"]) if offset is None else offset,
            "refused": refused,
            "sent_at": raft.now(),
        },
    )


def test_who_lacks_what_the_log_has_lost_gets_the_snapshot_piece_by_piece(short, raft, opened):
    offsets = []
    for _ in range(3):
        (piece,) = pumped(short, raft)
        assert piece["type"] == "snapshot_piece"
        assert not pumped(short, raft)
        offsets.append((piece["offset"], len(piece["data"]), piece["last"]))
        taken(short, raft, piece)
    assert offsets == [(0, 262_144, False), (262_144, 262_144, False), (524_288, 75_712, True)]
    assert raft.counters["snapshots_sent"] == 1
    assert [one.closed for one in opened] == [True]
    (said,) = pumped(short, raft)
    assert (said["type"], said["prevLogIdx"]) == ("append_entries", 8)


def test_a_piece_without_an_answer_is_sent_again_and_heartbeats_go_on(short, raft):
    (piece,) = pumped(short, raft)
    raft.clock.pass_s(HEARTBEAT_S * 1.1)
    assert [m["type"] for m in pumped(short, raft)] == ["heartbeat"]
    raft.clock.pass_s(STUCK_S)
    (again,) = pumped(short, raft)
    assert (again["offset"], again["data"], again["transfer"]) == (0, piece["data"], piece["transfer"])


def test_an_answer_to_another_transfer_or_to_an_old_piece_moves_nothing(short, raft):
    (first,) = pumped(short, raft)
    taken(short, raft, {**first, "transfer": 99})
    assert not pumped(short, raft)
    taken(short, raft, first)
    (second,) = pumped(short, raft)
    taken(short, raft, first)
    taken(short, raft, first, offset=10**9)
    assert not pumped(short, raft)
    taken(short, raft, second)
    assert [m["offset"] for m in pumped(short, raft)] == [524_288]


def test_a_refused_snapshot_is_given_up_and_the_follower_asked_where_it_stands(short, raft, opened):
    (piece,) = pumped(short, raft)
    taken(short, raft, piece, refused=True)
    assert raft.counters["snapshots_sent"] == 0
    (said,) = pumped(short, raft)
    assert (said["type"], said["prevLogIdx"]) == ("append_entries", 8)
    raft.clock.pass_s(0.01)
    refuse(short, raft, 4)
    (again,) = pumped(short, raft)
    assert (again["type"], again["offset"]) == ("snapshot_piece", 0)
    assert again["transfer"] != piece["transfer"]
    assert [one.closed for one in opened] == [True, False]


@pytest.mark.parametrize("how", ["link", "end", "removed"])
def test_a_transfer_that_is_over_is_closed(short, raft, opened, how):
    pumped(short, raft)
    if how == "link":
        short.linked(B.id)
    elif how == "end":
        short.end()
    else:
        raft.configuration = THREE.without(B.id)
        short.adopt()
    assert [one.closed for one in opened] == [True]


def test_a_new_link_begins_the_snapshot_anew(short, raft):
    (piece,) = pumped(short, raft)
    taken(short, raft, piece)
    short.linked(B.id)
    (again,) = pumped(short, raft)
    assert (again["offset"], again["transfer"] == piece["transfer"]) == (0, False)


def test_a_follower_that_caught_up_without_its_snapshot_is_believed_when_it_refuses(short, raft, opened):
    pumped(short, raft)
    answer(short, raft, 9)  # from before the link was lost
    (said,) = pumped(short, raft)
    assert said["prevLogIdx"] == 9
    assert [one.closed for one in opened] == [True]
    raft.clock.pass_s(0.01)
    refuse(short, raft, 8)
    assert [m["prevLogIdx"] for m in pumped(short, raft)] == [8]


def test_a_follower_that_wants_the_snapshot_gets_it(replicator, raft):
    caught_up(replicator, raft)
    replicator.followers[B.id].wants_snapshot = True
    (piece,) = pumped(replicator, raft)
    assert piece["type"] == "snapshot_piece"
    taken(replicator, raft, piece, refused=True)
    (said,) = pumped(replicator, raft)
    assert (said["type"], said["prevLogIdx"]) == ("append_entries", 10)


def test_a_follower_that_wants_a_snapshot_that_there_is_not_gets_the_log_meanwhile(raft):
    replicator = Replicator(raft, HEARTBEAT_S, lambda: None)
    replicator.begin()
    caught_up(replicator, raft)
    replicator.followers[B.id].wants_snapshot = True
    raft.log.add(1)
    (said,) = pumped(replicator, raft)
    assert [entry[1] for entry in said["entries"]] == [11]


def test_one_that_needs_a_snapshot_that_there_is_not_yet_gets_heartbeats(raft):
    raft.log.forget_before(8)
    replicator = Replicator(raft, HEARTBEAT_S, lambda: None)
    replicator.begin()
    pumped(replicator, raft)
    refuse(replicator, raft, 4)
    assert [m["type"] for m in pumped(replicator, raft)] == ["heartbeat"]
    assert not pumped(replicator, raft)
