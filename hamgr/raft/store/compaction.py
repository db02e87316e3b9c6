"""Keeps the log short: takes a snapshot now and then, beside the work.

Encoding the state of a large fleet takes longer than an election, so a thread of its own does it, from a
state that nobody changes. Only the exchange of the files and the cut of the log happen between two ticks.
"""

import logging
import threading
from pathlib import Path
from typing import Protocol

from hamgr.raft.store.folder import Folder, Snapshot, encode_snapshot
from statemachine.model import State

logger = logging.getLogger(__name__)


class Log(Protocol):
    """What is compacted."""

    def snapshot(self, state: State) -> Snapshot | None:
        """Return `state` with its place in the log."""

    def snapshot_taken(self, snapshot: Snapshot) -> None:
        """Forget the log up to `snapshot`."""


class Compactor:
    """Decides when, and does it; belongs to the thread that applies."""

    def __init__(self, folder: Folder, *, entries: int, size_bytes: int) -> None:
        """Compact after `entries` entries, or after `size_bytes` bytes of them."""
        self._folder = folder
        self._entries_max = entries
        self._bytes_max = size_bytes
        self._entries = 0
        self._bytes = 0
        self._work: _Staging | None = None

    def count(self, entry: bytes) -> None:
        """Note that `entry` was applied."""
        self._entries += 1
        self._bytes += len(entry)

    def advance(self, log: Log, state: State) -> None:
        """Begin a snapshot of `state` when it is due; put one that is ready in force."""
        if self._work is not None:
            if not self._work.is_alive():
                work, self._work = self._work, None
                self._put_in_force(work, log)
        elif self._entries >= self._entries_max or self._bytes >= self._bytes_max:
            snapshot = log.snapshot(state)
            if snapshot is not None:
                self._entries = self._bytes = 0
                self._work = _Staging(self._folder, snapshot)
                self._work.start()

    def abandon(self) -> None:
        """Forget a snapshot that is being made: a newer one came from elsewhere, or the replica stops."""
        if self._work is not None:
            self._work.join()
            self._work = None

    def _put_in_force(self, work: "_Staging", log: Log) -> None:
        if work.path is None:
            logger.error("no snapshot was stored, the log grows on: %s", work.error)
            return
        self._folder.put_in_force(work.path)
        log.snapshot_taken(work.snapshot)


class _Staging(threading.Thread):
    """Writes one snapshot; when it is over, either `path` or `error` is set."""

    def __init__(self, folder: Folder, snapshot: Snapshot) -> None:
        super().__init__(name="snapshot", daemon=True)
        self.snapshot = snapshot
        self.path: Path | None = None
        self.error: Exception | None = None
        self._folder = folder

    def run(self) -> None:
        try:
            self.path = self._folder.stage(encode_snapshot(self.snapshot), "new")
        except (OSError, ValueError) as error:
            self.error = error
