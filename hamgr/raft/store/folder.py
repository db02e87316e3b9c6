"""The data folder of a replica: who may use it, the snapshot in it, and whether it can be trusted.

1. One process at a time: `lock` is held with flock(2) for as long as the replica runs.
2. A snapshot takes the place of the one before it by rename, after fsync, and the rename is on the disk
   before the log is cut.
3. What cannot be read is never taken for empty: a replica that forgot its log or its vote would count for
   a quorum that it is no part of. `settle` refuses with `CannotStart`, and then has changed nothing.
"""

import contextlib
import fcntl
import logging
import os
from pathlib import Path

from hamgr.raft.port import CannotStart
from hamgr.raft.store.fit import misfit
from hamgr.raft.store.journal import Journal
from hamgr.raft.store.recovery import JournalDamaged, Recovered, recover
from hamgr.raft.store.snapshot import (
    Snapshot,
    SnapshotDamaged,
    decode_snapshot,
    encode_snapshot,
)
from hamgr.raft.store.storage import DiskFailed, Storage
from hamgr.raft.store.transfer import IncomingSnapshot, OutgoingSnapshot

__all__ = ["Folder", "Snapshot", "SnapshotDamaged", "decode_snapshot", "encode_snapshot"]

logger = logging.getLogger(__name__)

LEFT_OVERS = ("journal.new", "snapshot.new", "snapshot.received", "starts.new")
"""What was being written when a process died; nothing was promised of it."""
ANEW = "remove this replica from the cluster, and add it again with a folder of its own made anew"
"""The only way back into the cluster for who lost what was promised."""
FOREIGN_MAGIC = b"PYSYNCOBJ"
"""How the journal of the bare consensus library begins, which earlier versions kept here."""


class Folder:
    """The data folder, locked for this process until `close`."""

    def __init__(self, path: Path, storage: Storage | None = None) -> None:
        """Make, lock and check the folder.

        Raises:
            CannotStart: It cannot be written, or another process holds it.
        """
        self.journal_path = path / "journal"
        self.snapshot_path = path / "snapshot"
        self._path = path
        self._storage = storage or Storage()
        self._incoming: IncomingSnapshot | None = None
        self._checked: Snapshot | None = None
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
            self._storage.sync_folder(path.parent)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CannotStart(f"the data folder {path} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise CannotStart(
                f"the data folder {path} is in use by another process; give each replica its own"
            ) from error

    def close(self) -> None:
        """Let other processes use the folder."""
        os.close(self._lock)

    def settle(self, identity: bytes | None = None) -> Journal:
        """Check what is stored, and return the journal; it may hold entries that the snapshot holds too.

        Args:
            identity: Which journal it must be; None: any, and a new one if there is none.

        Raises:
            CannotStart: The snapshot or the journal cannot be read, or they do not fit together.
        """
        snapshot = self._stored_snapshot()
        recovered = self._stored_journal()
        why = misfit(recovered, snapshot, identity)
        if why:
            raise self._damaged(why)
        self._checked = snapshot  # for the first `load`: decoding a large state takes long
        try:
            for left_over in LEFT_OVERS:
                self._storage.remove(self._path / left_over)
            if recovered is not None and recovered.dropped_bytes:
                logger.warning(
                    "%s: dropped the last %d bytes, which a crash left incomplete and nobody was told of",
                    self.journal_path,
                    recovered.dropped_bytes,
                )
            return Journal(self._storage, self.journal_path, recovered)
        except (OSError, DiskFailed) as error:
            raise CannotStart(f"the data folder {self._path} cannot be written: {error}") from error

    def load(self) -> Snapshot:
        """Return the stored snapshot, or raise `SnapshotDamaged`."""
        checked, self._checked = self._checked, None
        return checked or decode_snapshot(self._storage.read(self.snapshot_path))

    def stage(self, content: bytes, origin: str) -> Path:
        """Write an encoded snapshot beside the current one, durably; raises `OSError`.

        Args:
            origin: Ours (`new`) and one from the leader (`received`) may be written at the same time.
        """
        path = self.snapshot_path.with_suffix(f".{origin}")
        file = self._storage.create(path)
        try:
            self._storage.append(file, content)
            self._storage.sync(file)
        except OSError:
            self.discard(path)
            raise
        finally:
            self._storage.close(file)
        return path

    def receiving(self) -> IncomingSnapshot:
        """Begin to receive a snapshot; one that was being received is abandoned. Raises `DiskFailed`."""
        if self._incoming is not None:
            self._incoming.abandon()
        self._incoming = IncomingSnapshot(self._storage, self.snapshot_path.with_suffix(".received"))
        return self._incoming

    def open_snapshot(self) -> OutgoingSnapshot:
        """Open the snapshot in force to send it; raises `SnapshotDamaged`."""
        return OutgoingSnapshot(self._storage, self.snapshot_path)

    def discard(self, staged: Path) -> None:
        """Remove what `stage` returned, if that can be done; the next start does it otherwise."""
        with contextlib.suppress(OSError):
            self._storage.remove(staged)

    def put_in_force(self, staged: Path) -> None:
        """Make what `stage` returned the current snapshot; raises `DiskFailed`."""
        self._checked = None
        try:
            self._storage.replace(staged, self.snapshot_path)
            self._storage.sync_folder(self._path)
        except OSError as error:
            raise DiskFailed(self.snapshot_path, error) from error

    def _stored_snapshot(self) -> Snapshot | None:
        if not self.snapshot_path.exists():
            return None
        try:
            return self.load()
        except (OSError, SnapshotDamaged) as error:
            raise self._damaged(f"the snapshot {self.snapshot_path} cannot be read: {error}") from error

    def _stored_journal(self) -> Recovered | None:
        if self.journal_path.with_suffix(".meta").exists():
            raise self._foreign()
        if not self.journal_path.exists():
            return None
        try:
            data = self._storage.read(self.journal_path)
            if data.startswith(FOREIGN_MAGIC):
                raise self._foreign()
            return recover(self.journal_path, data)
        except (OSError, JournalDamaged) as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, what: str) -> CannotStart:
        return CannotStart(
            f"what is stored in {self._path} cannot be trusted: {what}; "
            f"see `hamgrd check {self._path}`, and if the other replicas are well, {ANEW}"
        )

    def _foreign(self) -> CannotStart:
        return CannotStart(
            f"{self._path} holds the log of an earlier version of hamgr, which this one does not read; "
            "move the folder away on every replica, and set the cluster up anew"
        )
