"""Keeps the log short: takes a snapshot now and then, beside the work, and says what its digest was.

1. A snapshot is due whenever the log's index passes a multiple of `entries`, so that replicas take theirs at
   the same places and can compare them; or when the entries since the last one were many bytes.
2. The state of that very moment is kept. Encoding, hashing and writing it takes longer than an election for
   a large fleet, so a thread of its own does it. Only the exchange of the files and the cut of the log are
   done by the caller of `advance`.
3. A snapshot that could not be written costs nothing but space: it is said once, the log grows on, and the
   next one is tried when it is due. The digest is reported all the same.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hamgr.raft.store.folder import Folder
from hamgr.raft.store.snapshot import Snapshot, encode_parts
from statemachine import codec
from statemachine.model import State

logger = logging.getLogger(__name__)


class Log(Protocol):
    """What is compacted."""

    def snapshot(self, state: State, index: int) -> Snapshot | None:
        """Return `state`, which was reached by the entry at `index`, with its place; None: too early."""

    def snapshot_taken(self, snapshot: Snapshot) -> None:
        """Forget the log up to `snapshot`, which is in force."""


class Compactor:
    """Decides when, and does it; belongs to the thread that applies.

    Attributes:
        seconds: How long the last snapshot that came into force took to be made; None before the first.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        entries: int,
        size_bytes: int,
        on_digest: Callable[[int, bytes], None] = lambda _index, _digest: None,
    ) -> None:
        """Take a snapshot after `entries` entries, or after `size_bytes` bytes of them.

        Args:
            on_digest: Told index and SHA-256 of each encoded state, by `advance`.
        """
        self._folder = folder
        self._entries = entries
        self._bytes_max = size_bytes
        self._on_digest = on_digest
        self._bytes = 0
        self._counted: int | None = None
        self._due: tuple[int, State] | None = None
        self._work: _Staging | None = None
        self._wanted = True
        self._failing = False
        self.seconds: float | None = None

    def count(self, index: int, entry: bytes, state: State) -> None:
        """Note that the entry at the log's `index` was applied or passed over, which gave `state`.

        To be called for every index, so that all replicas agree on when a snapshot is due.
        """
        before = index - 1 if self._counted is None else self._counted
        self._counted = index
        self._bytes += len(entry)
        if index // self._entries > before // self._entries or self._bytes >= self._bytes_max:
            self._due = index, state
            self._bytes = 0

    def advance(self, log: Log) -> None:
        """Put a snapshot that is ready in force; begin one when it is due.

        Raises:
            DiskFailed: It was written, but whether it is in force is not known; the replica must stop.
        """
        if self._work is not None:
            if self._work.is_alive():
                return
            work, self._work = self._work, None
            if self._wanted:
                self._conclude(work, log)
            else:
                self._discard(work)
            self._wanted = True
        if self._due is not None:
            (index, state), self._due = self._due, None
            snapshot = log.snapshot(state, index)
            if snapshot is not None:
                self._work = _Staging(self._folder, snapshot)
                self._work.start()

    def abandon(self) -> None:
        """Forget what is due and what is being written: a newer snapshot came from elsewhere."""
        self._due = None
        self._counted = None
        self._bytes = 0
        self._wanted = self._work is None

    def close(self) -> None:
        """Wait until nothing is being written any more; nothing new comes into force."""
        self.abandon()
        if self._work is not None:
            self._work.join()
            self._discard(self._work)
            self._work = None

    def _discard(self, work: "_Staging") -> None:
        if work.path is not None:
            self._folder.discard(work.path)

    def _conclude(self, work: "_Staging", log: Log) -> None:
        index = work.snapshot.last[1]
        if work.digest:
            self._on_digest(index, work.digest)
        if work.path is None:
            if not self._failing:
                logger.error(
                    "%s: the snapshot at entry %d could not be written (%s); the log grows until one can be, "
                    "so free space on this disk",
                    self._folder.snapshot_path,
                    index,
                    work.error,
                )
            self._failing = True
            return
        if self._failing:
            logger.warning("%s: snapshots can be written again", self._folder.snapshot_path)
        self._failing = False
        self.seconds = work.seconds
        self._folder.put_in_force(work.path)
        log.snapshot_taken(work.snapshot)


class _Staging(threading.Thread):
    """Writes one snapshot; when it is over, either `path` or `error` is set."""

    def __init__(self, folder: Folder, snapshot: Snapshot) -> None:
        super().__init__(name="snapshot", daemon=True)
        self.snapshot = snapshot
        self.digest = b""
        self.seconds = 0.0
        self.path: Path | None = None
        self.error: Exception | None = None
        self._folder = folder

    def run(self) -> None:
        begun = time.perf_counter()
        try:
            state = codec.encode_state(self.snapshot.state)
            self.digest = hashlib.sha256(state).digest()
            self.path = self._folder.stage(encode_parts(self.snapshot, state), "new")
            self.seconds = time.perf_counter() - begun
        except (OSError, ValueError) as error:
            self.error = error
