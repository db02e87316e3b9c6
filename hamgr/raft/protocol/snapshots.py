"""Snapshots between replicas: one piece at a time, each after the answer to the one before it.

1. The follower writes what comes to a file of its own; its state, log and commit index stay as they are
   until the whole is checked and on the disk. (Raft, section 7; the library applies and acknowledges what a
   deposed leader left in the log meanwhile.)
2. A piece that comes twice is answered again and written once; one that does not fit is refused, and the
   leader begins anew.
3. One that holds no more than what is applied already is refused, unless it was asked for.
"""

from collections.abc import Callable
from typing import Any, Protocol

from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.protocol.messages import Message

PIECE_BYTES = 256 * 1024


class Outgoing(Protocol):
    """A stored snapshot, open."""

    @property
    def size_bytes(self) -> int: ...

    def read(self, offset: int, count: int) -> bytes: ...

    def close(self) -> None: ...


SnapshotSource = Callable[[], Outgoing | None]
"""Returns the stored snapshot, open; None when there is none yet."""


class Transfer:
    """A snapshot on its way to one follower."""

    def __init__(self, number: int, outgoing: Outgoing) -> None:
        self.number = number
        self.due = True
        self._outgoing = outgoing
        self._offset = 0

    def piece(self, term: int, now: float) -> Message:
        """Return the piece that is due, or the last one again."""
        self.due = False
        data = self._outgoing.read(self._offset, PIECE_BYTES)
        return {
            "type": "snapshot_piece",
            "term": term,
            "transfer": self.number,
            "offset": self._offset,
            "data": data,
            "last": self._offset + len(data) >= self._outgoing.size_bytes,
            "sent_at": now,
        }

    def taken(self, offset: int) -> bool:
        """Go on at `offset`; True when all was taken."""
        if self._offset < offset <= self._outgoing.size_bytes:
            self._offset, self.due = offset, True
        return self._offset >= self._outgoing.size_bytes

    def close(self) -> None:
        self._outgoing.close()


class Incoming(Protocol):
    """A file that grows."""

    @property
    def size_bytes(self) -> int: ...

    def write(self, offset: int, data: bytes) -> None: ...

    def finish(self) -> Any: ...

    def abandon(self) -> None: ...


class Refused(Exception):
    """The piece is of no use; the leader should begin anew. The message says why."""


class Receiver(Protocol):
    """What the owner of the data folder gives and takes."""

    def begin(self) -> Incoming:
        """Open an empty file for what comes."""

    def install(self, snapshot: Any) -> None:
        """Put a whole snapshot in force; raises `Refused` when it is of no use here."""


class Reception:
    """A snapshot on its way to this follower; there is at most one."""

    def __init__(self, receiver: Receiver, damaged: type[Exception]) -> None:
        """Receive for `receiver`, whose files raise `damaged` for bytes that are no snapshot."""
        self._receiver = receiver
        self._damaged = damaged
        self._transfer: tuple[ReplicaId, int, int] | None = None
        self._incoming: Incoming | None = None
        self._finished_at = -1

    def take(self, sender: ReplicaId, message: Message) -> int:
        """Take a piece; return the offset that is wanted next, the whole size when it is in force.

        Raises:
            Refused: Nothing has changed, and nothing that came is kept.
        """
        transfer = (sender, message["term"], message["transfer"])
        offset, data = message["offset"], message["data"]
        if transfer != self._transfer or (offset == 0 and self._incoming is None and self._finished_at < 0):
            if offset != 0:
                raise Refused("a piece came without those before it")
            self.abandon()
            self._transfer, self._incoming = transfer, self._receiver.begin()
        if self._incoming is None:
            return self._finished_at
        if offset < self._incoming.size_bytes:
            return self._incoming.size_bytes
        try:
            self._incoming.write(offset, data)
            if message["last"]:
                self._finish(self._incoming)
                return self._finished_at
        except self._damaged as error:
            self.abandon()
            raise Refused(str(error)) from error
        return self._incoming.size_bytes

    def abandon(self) -> None:
        """Forget what has come so far."""
        incoming, self._incoming = self._incoming, None
        self._transfer, self._finished_at = None, -1
        if incoming is not None:
            incoming.abandon()

    def _finish(self, incoming: Incoming) -> None:
        size = incoming.size_bytes
        snapshot = incoming.finish()
        self._incoming = None
        try:
            self._receiver.install(snapshot)
        except Refused:
            self._transfer = None
            incoming.abandon()
            raise
        self._finished_at = size
