"""A snapshot on its way to another replica, or from one: piece by piece from file to file.

1. What is sent is one file from beginning to end, whatever is put in force meanwhile: the descriptor stays.
2. What is received is written beside the snapshot in force, and changes nothing until it is whole, checked,
   synced and put in force by the owner.
"""

import os
import threading
from pathlib import Path

from hamgr.raft.store.snapshot import (
    FORMAT_1_MAGIC,
    HEADER_BYTES,
    SNAPSHOT_BYTES_MAX,
    Snapshot,
    SnapshotDamaged,
    checked_parts,
    decode_header,
    decode_snapshot,
)
from hamgr.raft.store.storage import DiskFailed, Storage


class OutgoingSnapshot:
    """The stored snapshot, open to be sent.

    Attributes:
        size_bytes: What is to be sent.
    """

    def __init__(self, storage: Storage, path: Path) -> None:
        """Open and check it; see `Folder.open_snapshot`."""
        self._path = path
        self._storage = storage
        try:
            self._file = storage.open_to_read(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            content = storage.read_at(self._file, 0, os.fstat(self._file).st_size)
            checked_parts(content)
        except (OSError, SnapshotDamaged) as error:
            self.close()
            raise _unreadable(path, error) from error
        self.size_bytes = len(content)

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`, fewer only at the end.

        Raises:
            SnapshotDamaged: The disk gave less than it had at the beginning.
        """
        wanted = max(0, min(count, self.size_bytes - offset))
        try:
            data = self._storage.read_at(self._file, offset, wanted)
        except OSError as error:
            raise _unreadable(self._path, error) from error
        if len(data) != wanted:
            raise SnapshotDamaged(f"{self._path} cannot be read any more: it ends at {offset + len(data)}")
        return data

    def close(self) -> None:
        """Close the file; may be called again."""
        if self._file >= 0:
            self._storage.close(self._file)
            self._file = -1


class IncomingSnapshot:
    """One that is being received.

    Attributes:
        path: Where it is; to be put in force when `finish` has returned.
        size_bytes: How much of it has come so far.
    """

    def __init__(self, storage: Storage, path: Path) -> None:
        """Begin an empty file; see `Folder.receiving`."""
        self.path = path
        self.size_bytes = 0
        self._storage = storage
        self._beginning = b""
        self._size_bytes_max = SNAPSHOT_BYTES_MAX
        self._abandoned = False
        self._check: _Check | None = None
        try:
            self._file = storage.create(path)
        except OSError as error:
            raise DiskFailed(path, error) from error

    def write(self, offset: int, data: bytes) -> None:
        """Take the next piece.

        Raises:
            SnapshotDamaged: It does not follow the piece before it, or no snapshot begins so, or there is
                more than its header announces. What came so far is of no use; `abandon` it.
            DiskFailed: It could not be written; the replica must stop.
        """
        if offset != self.size_bytes:
            raise SnapshotDamaged(f"a piece begins at {offset}, but {self.size_bytes} bytes have come")
        if len(self._beginning) < HEADER_BYTES:
            self._beginning += data[: HEADER_BYTES - len(self._beginning)]
            self._check_beginning()
        if offset + len(data) > self._size_bytes_max:
            raise SnapshotDamaged(f"it has more than the {self._size_bytes_max} bytes that it may have")
        try:
            self._storage.append(self._file, data)
        except OSError as error:
            raise DiskFailed(self.path, error) from error
        self.size_bytes += len(data)

    def check_beside(self) -> None:
        """Begin what `finish` does in a thread of its own: a large state takes longer than an election.

        May be called again. Nothing may be written from now on.
        """
        if self._check is None:
            self._check = _Check(self._storage, self._file, self.path)
            self._check.start()

    @property
    def checked(self) -> bool:
        """What `check_beside` began is done; `finish` returns at once."""
        return self._check is not None and not self._check.is_alive()

    def finish(self) -> Snapshot:
        """Return the snapshot, which is whole and synced, but not in force yet; the file is closed.

        Raises:
            SnapshotDamaged: It is not whole or cannot be decoded; nothing of it is left.
            DiskFailed: It could not be synced or read back; the replica must stop.
        """
        check, self._check = self._check, None
        if check is not None:
            check.join()
        else:
            check = _Check(self._storage, self._file, self.path)
            check.run()
        if check.snapshot is not None:
            self._close()
            return check.snapshot
        self.abandon()
        if isinstance(check.error, OSError):
            raise DiskFailed(self.path, check.error) from check.error
        raise SnapshotDamaged(str(check.error)) from check.error

    def abandon(self) -> None:
        """Forget what has come, or what is finished and not wanted after all; may be called again.

        Raises:
            DiskFailed: It could not be removed.
        """
        if self._check is not None:
            self._check.join()
            self._check = None
        self._close()
        if self._abandoned:
            return
        self._abandoned = True
        try:
            self._storage.remove(self.path)
        except OSError as error:
            raise DiskFailed(self.path, error) from error

    def _check_beginning(self) -> None:
        if len(self._beginning) < HEADER_BYTES or self._beginning.startswith(FORMAT_1_MAGIC):
            return
        self._size_bytes_max = decode_header(self._beginning).size_bytes

    def _close(self) -> None:
        if self._file >= 0:
            self._storage.close(self._file)
            self._file = -1


class _Check(threading.Thread):
    """Syncs, reads back and decodes; when it is over, either `snapshot` or `error` is set."""

    def __init__(self, storage: Storage, file: int, path: Path) -> None:
        super().__init__(name="received snapshot", daemon=True)
        self.snapshot: Snapshot | None = None
        self.error: Exception | None = None
        self._storage, self._file, self._path = storage, file, path

    def run(self) -> None:
        try:
            self._storage.sync(self._file)
            self.snapshot = decode_snapshot(self._storage.read(self._path))
        except (OSError, SnapshotDamaged) as error:
            self.error = error


def _unreadable(path: Path, error: Exception) -> SnapshotDamaged:
    return SnapshotDamaged(f"{path} cannot be read any more: {error}")
