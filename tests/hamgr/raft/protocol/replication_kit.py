"""The answers of the followers of a leader that was elected a moment ago (`replicator` in conftest)."""

from tests.hamgr.raft.protocol.kit import B

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
