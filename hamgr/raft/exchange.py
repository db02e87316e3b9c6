"""Snapshots as the library asks for them: sent in pieces, received in pieces, stored before they count.

Stands in the place of the library's own serializer, which puts a received file in force unread and unsynced,
and acknowledges it even when it cannot be loaded.

1. A received snapshot replaces ours only when it is whole, can be decoded, and holds more than we have
   applied. Until it is on the disk, nothing changes.
2. One that is refused is not acknowledged; the leader begins again.
"""

import logging
from collections.abc import Callable
from typing import Any

from pysyncobj.config import SERIALIZER_STATE

from hamgr.raft.store.folder import Folder, Snapshot, SnapshotDamaged, decode_snapshot
from hamgr.raft.store.storage import DiskFailed

logger = logging.getLogger(__name__)

PIECE_BYTES = 256 * 1024
SNAPSHOT_BYTES_MAX = 1 << 30

Piece = tuple[bytes, bool, bool]
"""Data, whether it is the first, whether it is the last (and empty)."""


class Exchange:
    """The library calls the methods with names in camelCase."""

    def __init__(self, folder: Folder, *, applied: Callable[[], int]) -> None:
        """Exchange the snapshot of `folder`; one that ends at `applied()` or before is of no use."""
        self._folder = folder
        self._applied = applied
        self._outgoing: dict[Any, tuple[bytes, int]] = {}
        self._incoming: bytearray | None = None
        self._received: Snapshot | None = None

    def take(self) -> Snapshot:
        """Return the snapshot in force: the one that was just received, or what was stored at the start."""
        snapshot, self._received = self._received or self._folder.load(), None
        return snapshot

    def checkSerializing(self) -> tuple[int, None]:  # noqa: N802 - the library's name
        """Say that the library's own compaction is at rest, as it always is."""
        return SERIALIZER_STATE.NOT_SERIALIZING, None

    def getTransmissionData(self, node: Any) -> Piece:  # noqa: N802 - the library's name
        """Return the next piece for `node`.

        Raises:
            SnapshotDamaged: Ours cannot be read any more; the replica must stop.
        """
        if node not in self._outgoing:
            self._outgoing[node] = (self._folder.read_snapshot(), 0)
        content, sent = self._outgoing[node]
        piece = content[sent : sent + PIECE_BYTES]
        if piece:
            self._outgoing[node] = (content, sent + len(piece))
        else:
            del self._outgoing[node]
        return piece, sent == 0, not piece

    def cancelTransmisstion(self, node: Any) -> None:  # noqa: N802 - the library's spelling
        """Forget what was sent to `node` so far."""
        self._outgoing.pop(node, None)

    def setTransmissionData(self, piece: Piece | None) -> bool:  # noqa: N802 - the library's name
        """Take a piece; True when it was the last one, and the snapshot is in force.

        Raises:
            DiskFailed: It could not be stored; the replica must stop.
        """
        if piece is None:
            return False
        data, is_first, is_last = piece
        if is_first:
            self._incoming = bytearray()
        if self._incoming is None:
            return False
        self._incoming += data
        if len(self._incoming) > SNAPSHOT_BYTES_MAX:
            logger.error("a snapshot of more than %d bytes was refused", SNAPSHOT_BYTES_MAX)
            self._incoming = None
            return False
        if not is_last:
            return False
        content, self._incoming = bytes(self._incoming), None
        return self._accept(content)

    def _accept(self, content: bytes) -> bool:
        try:
            snapshot = decode_snapshot(content)
        except SnapshotDamaged as error:
            logger.error("a snapshot was received and refused: %s", error)  # noqa: TRY400 - the sentence says all
            return False
        if snapshot.last[1] <= self._applied():
            return False
        try:
            staged = self._folder.stage(content, "received")
        except OSError as error:
            raise DiskFailed(self._folder.snapshot_path, error) from error
        self._folder.put_in_force(staged)
        self._received = snapshot
        return True
