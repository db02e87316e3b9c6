import pytest

from hamgr.raft.protocol.replication import Replicator
from tests.hamgr.raft.protocol.kit import (
    HEARTBEAT_S,
    THREE,
    A,
    B,
    Clock,
    FakeLog,
    FakeRaft,
    Replica,
    library_clock,
)
from tests.hamgr.raft.protocol.replication_kit import Stored


@pytest.fixture
def clock():
    clock = Clock()
    with library_clock(clock):
        yield clock


@pytest.fixture
def make(clock, tmp_path):
    """Makes replicas of one cluster; `make(initial=..., me=...)`."""
    made = []

    def one(initial=THREE, me=A):
        made.append(Replica(tmp_path / f"{me.name}{len(made)}", clock, initial, me))
        return made[-1]

    yield one
    for replica in made:
        replica.stop()


@pytest.fixture
def replica(make):
    """One of three, which follows."""
    return make()


@pytest.fixture
def leader(replica):
    """One of three, elected, with the first entry of its term committed."""
    return replica.lead()


@pytest.fixture
def follower(replica):
    """One that follows `B` in term 5, with entries 1 to 4, all but the last committed."""
    entries = [(b"\x01", 2, 5), (b"\x00x", 3, 5), (b"\x00y", 4, 5)]
    replica.follow(B, 5, *entries, previous=(1, 0), commit=3)
    replica.take()
    return replica


@pytest.fixture
def raft():
    """What a replicator stands on: the leader of term 3, with entries 1 to 10."""
    return FakeRaft(log=FakeLog(*[1] * 9, 3))


@pytest.fixture
def opened():
    """The snapshots that the replicator has opened."""
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
