"""Whether this replica's state is the one that the majority has, judged by digests at agreed indexes.

Pure: no clock, no I/O. Replicas hash their state at the same indexes of the log and tell each other.

1. A replica is at fault when a majority of the voters has one and the same digest at an index where its own
   is another. While no majority agrees, nobody is: the digests may still be on their way.
2. What a peer says can only fill the place of that peer, and each place is bounded.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping

from hamgr.raft.protocol.membership import MEMBERS_MAX, ReplicaId
from hamgr.raft.protocol.messages import DIGEST_BYTES, NUMBER_MAX

KEEP = 8
"""How many digests of each replica are kept; a slow one may be so many snapshots behind."""


class Agreement:
    """What is known of the digests of all replicas."""

    def __init__(self, keep: int = KEEP) -> None:
        """Keep the last `keep` digests of each replica."""
        self._keep = keep
        self._own: OrderedDict[int, bytes] = OrderedDict()
        self._heard: OrderedDict[ReplicaId, OrderedDict[int, bytes]] = OrderedDict()

    def note(self, index: int, digest: bytes) -> None:
        """Take down the digest of our own state at `index`."""
        self._put(self._own, index, digest)

    def heard(self, peer: ReplicaId, index: int, digest: bytes) -> None:
        """Take down what `peer` said; what cannot be an index or a digest is passed over."""
        if not (0 < index < NUMBER_MAX and len(digest) == DIGEST_BYTES):
            return
        self._put(self._heard.setdefault(peer, OrderedDict()), index, digest)
        self._heard.move_to_end(peer)
        if len(self._heard) > MEMBERS_MAX:
            self._heard.popitem(last=False)

    def verdict(self, voters: Collection[ReplicaId], me: ReplicaId) -> int | None:
        """Return the first index at which a majority of `voters` agrees on a digest that is not ours.

        Args:
            me: Counts for the majority if it is a voter; what others said in its name does not.
        """
        others: list[Mapping[int, bytes]] = [self._heard.get(voter, {}) for voter in set(voters) - {me}]
        for index in sorted(self._own):
            said = [digests[index] for digests in others if index in digests]
            for digest in set(said) - {self._own[index]}:
                if said.count(digest) > len(set(voters)) // 2:
                    return index
        return None

    def forget(self) -> None:
        """Forget our own digests: the state was replaced by another replica's."""
        self._own.clear()

    def _put(self, digests: OrderedDict[int, bytes], index: int, digest: bytes) -> None:
        # The oldest to arrive goes first, not the lowest: an index from the far future goes like any other.
        digests[index] = digest
        digests.move_to_end(index)
        if len(digests) > self._keep:
            digests.popitem(last=False)
