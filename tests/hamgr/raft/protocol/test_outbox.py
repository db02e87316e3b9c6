"""What leaves at once, and what waits for the disk."""

import pytest

from hamgr.raft.protocol.messages import KINDS
from hamgr.raft.protocol.outbox import PROMISES_NOTHING, Outbox
from tests.hamgr.raft.protocol.kit import A, B

PROMISES = {
    "next_node_idx",  # these entries are on the disk
    "snapshot_taken",  # and so is this snapshot
    "request_vote",  # a vote for the sender
    "response_vote",  # a vote
}


@pytest.fixture
def sent():
    return []


@pytest.fixture
def outbox(sent):
    return Outbox(lambda to, message: sent.append((to, message)))


def test_every_kind_of_message_either_promises_something_or_not():
    assert set(KINDS) - PROMISES_NOTHING == PROMISES
    assert set(KINDS) >= PROMISES_NOTHING


@pytest.mark.parametrize("kind", [*sorted(PROMISES), "of a later version"])
def test_a_promise_and_what_nobody_has_thought_of_waits(outbox, sent, kind):
    outbox.put(A.id, {"type": kind})
    assert sent == []
    assert outbox.waiting
    outbox.release()
    assert sent == [(A.id, {"type": kind})]
    assert not outbox.waiting
    outbox.release()
    assert len(sent) == 1


@pytest.mark.parametrize("kind", sorted(PROMISES_NOTHING))
def test_what_promises_nothing_leaves_at_once(outbox, sent, kind):
    outbox.put(B.id, {"type": kind})
    assert sent == [(B.id, {"type": kind})]
    assert not outbox.waiting


def test_what_waited_leaves_in_its_order(outbox, sent):
    for number in range(3):
        outbox.put(B.id, {"type": "next_node_idx", "next_node_idx": number})
    outbox.release()
    assert [message["next_node_idx"] for _to, message in sent] == [0, 1, 2]


def test_what_is_put_while_others_leave_waits_for_the_next_sync():
    sent = []

    def send(to, message):
        sent.append(message["type"])
        if len(sent) == 1:
            outbox.put(to, {"type": "response_vote"})

    outbox = Outbox(send)
    outbox.put(A.id, {"type": "next_node_idx"})
    outbox.release()
    assert (sent, outbox.waiting) == (["next_node_idx"], True)
