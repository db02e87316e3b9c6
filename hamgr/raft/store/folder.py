"""The data folder of a replica: who may use it, the snapshot in it, and whether it can be trusted.

1. One process at a time: `lock` is held with flock(2) for as long as the replica runs.
2. A snapshot is encoded by `statemachine.codec`, never pickled, and carries a SHA-256; it takes the place
   of the one before it by rename, after fsync, and the rename is on the disk before the log is cut.
3. What cannot be read is never taken for empty: a replica that forgot its log or its vote would count for
   a quorum that it is no part of. `settle` refuses with `CannotStart`, and then has changed nothing.
"""

import fcntl
import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import msgpack

from hamgr.raft.port import CannotStart
from hamgr.raft.store.journal import Journal
from hamgr.raft.store.records import LogEntry
from hamgr.raft.store.recovery import JournalDamaged, Recovered, recover
from hamgr.raft.store.storage import DiskFailed, Storage
from statemachine import codec
from statemachine.model import State

logger = logging.getLogger(__name__)

MAGIC = b"HAMGRSN1"
DIGEST_BYTES = 32
FOREIGN_MAGIC = b"PYSYNCOBJ"
"""How the journal of the bare consensus library begins, which earlier versions kept here."""


class SnapshotDamaged(ValueError):
    """The bytes are not a whole snapshot of this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A state, the log entry `last` that was the last to be applied to it, and the one before that."""

    state: State
    last: LogEntry
    before_last: LogEntry


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Return the file's content."""
    body = msgpack.packb(
        [codec.encode_state(snapshot.state), list(snapshot.last), list(snapshot.before_last)],
        use_bin_type=True,
    )
    return MAGIC + hashlib.sha256(body).digest() + bytes(body)


def decode_snapshot(data: bytes) -> Snapshot:
    """Return the snapshot that `data` holds, or raise `SnapshotDamaged`."""
    body = _checked_body(data)
    try:
        state, last, before_last = msgpack.unpackb(body, raw=False, max_bin_len=len(body))
        snapshot = Snapshot(
            state=codec.decode_state(state), last=_log_entry(last), before_last=_log_entry(before_last)
        )
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise SnapshotDamaged(f"its content cannot be decoded: {error}") from error
    if snapshot.last[1] != snapshot.before_last[1] + 1:
        raise SnapshotDamaged("its place in the log is no place")
    return snapshot


def _checked_body(data: bytes) -> bytes:
    digest, body = data[len(MAGIC) : len(MAGIC) + DIGEST_BYTES], data[len(MAGIC) + DIGEST_BYTES :]
    if not data.startswith(MAGIC):
        raise SnapshotDamaged("it does not begin as a snapshot of this version does")
    if hashlib.sha256(body).digest() != digest:
        raise SnapshotDamaged("its checksum does not match")
    return body


def _log_entry(fields: list[object]) -> LogEntry:
    match fields:
        case [bytes(command), int(index), int(term)]:
            return command, index, term
    raise SnapshotDamaged("its place in the log is missing")


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

    def settle(self) -> Journal:
        """Check what is stored, and return the journal, without what the snapshot holds already.

        A process that dies between its snapshot and the cut of its log leaves more than the library wants
        to find: it would drop the whole journal, entries after the snapshot included.

        Raises:
            CannotStart: The snapshot or the journal cannot be read, or they do not fit together.
        """
        snapshot = self._stored_snapshot()
        recovered = self._stored_journal()
        if recovered is None:
            if snapshot is not None:
                raise self._damaged("a snapshot is there but the journal is gone")
        else:
            self._check_that_they_fit(recovered, snapshot)
        try:
            for left_over in ("journal.new", "snapshot.new", "snapshot.received"):
                self._storage.remove(self._path / left_over)
            if recovered is not None and recovered.dropped_bytes:
                logger.warning(
                    "%s: dropped the last %d bytes, which a crash left incomplete and nobody was told of",
                    self.journal_path,
                    recovered.dropped_bytes,
                )
            journal = Journal(self._storage, self.journal_path, recovered)
            if snapshot is not None and snapshot.last in journal[1:]:
                place = journal[:].index(snapshot.before_last)
                if place:
                    journal.deleteEntriesTo(place)
        except (OSError, DiskFailed) as error:
            raise CannotStart(f"the data folder {self._path} cannot be written: {error}") from error
        return journal

    def load(self) -> Snapshot:
        """Return the stored snapshot, or raise `SnapshotDamaged`."""
        return decode_snapshot(self._storage.read(self.snapshot_path))

    def read_snapshot(self) -> bytes:
        """Return the stored snapshot, encoded; raises `SnapshotDamaged`."""
        try:
            data = self._storage.read(self.snapshot_path)
            _checked_body(data)
        except (OSError, SnapshotDamaged) as error:
            raise SnapshotDamaged(f"{self.snapshot_path} cannot be read any more: {error}") from error
        return data

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
        finally:
            self._storage.close(file)
        return path

    def put_in_force(self, staged: Path) -> None:
        """Make what `stage` returned the current snapshot; raises `DiskFailed`."""
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

    def _check_that_they_fit(self, recovered: Recovered, snapshot: Snapshot | None) -> None:
        log = recovered.entries
        reach = 0 if snapshot is None else snapshot.last[1]
        first = log[0][1] if log else 1
        if first > 1 and reach <= first:
            raise self._damaged(f"the journal begins at entry {first} and no snapshot leads up to it")
        if snapshot is not None and reach <= min(recovered.barrier.commit, first + len(log) - 1):
            place = reach - first
            if log[place - 1 : place + 1] != [snapshot.before_last, snapshot.last]:
                raise self._damaged(f"the journal and the snapshot disagree about entry {reach}")

    def _damaged(self, what: str) -> CannotStart:
        return CannotStart(
            f"what is stored in {self._path} cannot be trusted: {what}; "
            "if the other replicas are well, move the folder away and let this one fetch the state anew"
        )

    def _foreign(self) -> CannotStart:
        return CannotStart(
            f"{self._path} holds the log of an earlier version of hamgr, which this one does not read; "
            "move the folder away on every replica, and set the cluster up anew"
        )
