"""A leader that was elected a moment ago, and the answers of its followers."""

import pytest

from hamgr.raft.protocol.replication import Replicator
from tests.hamgr.raft.protocol.kit import HEARTBEAT_S, B, FakeLog, FakeRaft

ROUND_TRIP_S = 0.001


class Stored:
    """A snapshot of 600,000 bytes."""

    size_bytes = 600_000

    def __init__(self):
        self.closed = False

    def read(self, offset, count):
        return bytes(min(count, self.size_bytes - offset))

    def close(self):
        self.closed = True


@pytest.fixture
def raft():
    return FakeRaft(log=FakeLog(*[1] * 9, 3))


@pytest.fixture
def opened():
    return []


@pytest.fixture
def replicator(raft, opened):
    """Of a leader that was elected a moment ago."""

    def source():
        opened.append(Stored())
        return opened[-1]

    replicator = Replicator(raft, HEARTBEAT_S, source)
    replicator.begin()
    return replicator


def answer(replicator, raft, to, *, success=True, reset=False, index=None, sent_at=None, peer=B):
    raft.clock.pass_s(ROUND_TRIP_S)
    replicator.answered(
        peer.id,
        {
            "success": success,
            "reset": reset,
            "next_node_idx": (index if index is not None else to) + 1,
            "sent_at": raft.now() - ROUND_TRIP_S if sent_at is None else sent_at,
        },
    )


def refuse(replicator, raft, commit, **more):
    answer(replicator, raft, commit, success=False, reset=True, **more)


def caught_up(replicator, raft, peer=B):
    replicator.pump()
    raft.take()
    answer(replicator, raft, raft.log.last, peer=peer)
    replicator.pump()
    raft.take()


def pumped(replicator, raft, peer=B):
    replicator.pump()
    return raft.take(peer.id)
