"""The data folder of a replica: who may use it, the snapshot in it, and whether it can be trusted.

1. One process at a time: `lock` is held with flock(2) for as long as the replica runs.
2. A snapshot is encoded by `statemachine.codec`, never pickled, and carries a SHA-256; it takes the place
   of the one before it by rename, after fsync.
3. What cannot be read is never taken for empty: a replica that forgot its log or its vote would count for
   a quorum that it is no part of. `settle` refuses with `CannotStart`.
"""

import fcntl
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import msgpack

from hamgr.raft.journal import JournalDamaged, LogEntry, cut_journal, read_journal, read_votes
from hamgr.raft.port import CannotStart
from statemachine import codec
from statemachine.model import State

MAGIC = b"HAMGRSN1"
DIGEST_BYTES = 32


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
    digest, body = data[len(MAGIC) : len(MAGIC) + DIGEST_BYTES], data[len(MAGIC) + DIGEST_BYTES :]
    if not data.startswith(MAGIC):
        raise SnapshotDamaged("it does not begin as a snapshot of this version does")
    if hashlib.sha256(body).digest() != digest:
        raise SnapshotDamaged("its checksum does not match")
    try:
        state, last, before_last = msgpack.unpackb(body, raw=False, max_bin_len=len(body))
        return Snapshot(
            state=codec.decode_state(state), last=_log_entry(last), before_last=_log_entry(before_last)
        )
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise SnapshotDamaged(f"its content cannot be decoded: {error}") from error


def _log_entry(fields: list[object]) -> LogEntry:
    match fields:
        case [bytes(command), int(index), int(term)]:
            return command, index, term
    raise SnapshotDamaged("its place in the log is missing")


class Folder:
    """The data folder, locked for this process until `close`."""

    def __init__(self, path: Path) -> None:
        """Make, lock and check the folder.

        Raises:
            CannotStart: It cannot be written, or another process holds it.
        """
        self.journal_path = path / "journal"
        self.snapshot_path = path / "snapshot"
        self._path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
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

    def settle(self) -> None:
        """Check what is stored, and cut from the journal what the snapshot holds already.

        The library does the latter a moment after it took a snapshot. Should the process die in between,
        the library would on its next start drop the whole journal, entries after the snapshot included.

        Raises:
            CannotStart: The snapshot, the journal or the vote cannot be read, or do not fit together.
        """
        snapshot = self._stored_snapshot()
        if not self.journal_path.exists():
            if snapshot is not None:
                raise self._damaged("a snapshot is there but the journal is gone")
            return
        try:
            log = read_journal(self.journal_path)
            votes = read_votes(self.journal_path)
        except (OSError, JournalDamaged) as error:
            raise self._damaged(str(error)) from error
        if len(log) > 1 and not votes:
            raise self._damaged("the record of terms and votes is gone")
        if log and log[0][1] > 1 and (snapshot is None or snapshot.last[1] < log[0][1]):
            raise self._damaged(f"the journal begins at entry {log[0][1]} and no snapshot leads up to it")
        if snapshot is not None and snapshot.last in log and snapshot.before_last in log[1:]:
            cut_journal(self.journal_path, log.index(snapshot.before_last))

    def load(self) -> Snapshot:
        """Return the stored snapshot, or raise `SnapshotDamaged`."""
        return decode_snapshot(self.snapshot_path.read_bytes())

    def stage(self, snapshot: Snapshot) -> Path:
        """Write `snapshot` beside the current one, durably; `Path.replace` makes it the current one."""
        path = self.snapshot_path.with_suffix(".new")
        with path.open("wb") as file:
            file.write(encode_snapshot(snapshot))
            file.flush()
            os.fsync(file.fileno())
        return path

    def _stored_snapshot(self) -> Snapshot | None:
        if not self.snapshot_path.exists():
            return None
        try:
            return self.load()
        except (OSError, SnapshotDamaged) as error:
            raise self._damaged(f"the snapshot cannot be read: {error}") from error

    def _damaged(self, what: str) -> CannotStart:
        return CannotStart(
            f"what is stored in {self._path} cannot be trusted: {what}; "
            "if the other replicas are well, move the folder away and let this one fetch the state anew"
        )
