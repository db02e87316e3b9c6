"""Holds back what a replica says about its log, its term and its vote until the disk has it.

1. An acknowledgement, a vote and a request for votes promise something that must outlive this process. They
   leave with `release`, which is called after the journal was synced (Raft, section 5, figure 2: "updated
   on stable storage before responding").
2. Entries leave at once: a leader need not have what it sends, as long as it does not count itself, and its
   disk works while those of the followers do.
3. Whatever we have not thought of is held.
"""

from collections.abc import Callable

from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.protocol.messages import Message

PROMISES_NOTHING = frozenset(
    {
        "append_entries",
        "heartbeat",
        "heartbeat_answer",
        "snapshot_piece",
        "timeout_now",
        "pre_vote",
        "pre_vote_answer",
        "later_term",
        "members",
        "following",
        "followed",
        "propose",
        "propose_answer",
        "read_index",
        "read_index_answer",
        "confirm",
        "confirmed",
        "digest",
        "snapshot_wanted",
    }
)


class Outbox:
    """The way out for all messages of a replica."""

    def __init__(self, send: Callable[[ReplicaId, Message], None]) -> None:
        self._send = send
        self._held: list[tuple[ReplicaId, Message]] = []

    @property
    def waiting(self) -> bool:
        """Something is held."""
        return bool(self._held)

    def put(self, to: ReplicaId, message: Message) -> None:
        """Send or hold, by the message's type."""
        if message["type"] in PROMISES_NOTHING:
            self._send(to, message)
        else:
            self._held.append((to, message))

    def release(self) -> None:
        """Send what is held, in order. Everything that it promises must be on the disk."""
        held, self._held = self._held, []
        for to, message in held:
            self._send(to, message)
