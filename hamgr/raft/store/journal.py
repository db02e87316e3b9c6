"""The log, the term and the vote of a replica, durable.

1. Whatever changes is noted in memory at once, and is on the disk when `sync` came back. Until then nobody
   outside may hear of it: see `outbox`.
2. A batch is written and synced as a whole, and the next one is not begun before: see `recovery` for what
   that is good for. Term and vote are part of every batch, so that no second file can be torn or lost.
3. The file is appended to, never changed in place, neither preallocated nor mapped: a full disk is an
   error, not SIGBUS. Compaction writes a new file and renames it.
4. After an error of the disk the journal is poisoned: every further call raises `DiskFailed`.
5. An entry that is known to be committed is never taken back; a leader that asks for it is not one.
6. Entries are numbered without a gap, so that one is found by its index in one step.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from pysyncobj.journal import Journal as LibraryJournal

from hamgr.raft.store.records import HEADER_BYTES, IDENTITY_BYTES, Barrier, Codec, Header, Kind, LogEntry
from hamgr.raft.store.recovery import Recovered
from hamgr.raft.store.storage import DiskFailed, Storage


class LogBroken(Exception):
    """The library asked for what would break the log; the replica must stop."""


class Journal(LibraryJournal):  # type: ignore[misc]  # the library ships no types
    """A journal that is open; the library calls the methods with names in camelCase.

    Attributes:
        syncs: How often `sync` has asked the disk.
        observe_sync: Told the seconds that each of them took, write included.
    """

    def __init__(
        self,
        storage: Storage,
        path: Path,
        recovered: Recovered | None,
        *,
        identity: bytes | None = None,
        observe_sync: Callable[[float], None] | None = None,
    ) -> None:
        """Make the journal at `path`, or open it as it was recovered, without the bytes that were dropped.

        Args:
            identity: Which journal a new one is; random when None.

        Raises:
            DiskFailed: It cannot be made durable.
        """
        self.syncs = 0
        self.observe_sync = observe_sync
        self._storage = storage
        self._path = path
        self._failure: DiskFailed | None = None
        self._file = -1
        if recovered is None:
            self._header = Header(identity or os.urandom(IDENTITY_BYTES), 0)
            self._written = Barrier()
            self._entries: list[LogEntry] = []
        else:
            self._header = recovered.header
            self._written = recovered.barrier
            self._entries = recovered.entries
        self._term, self._vote = self._written.term, self._written.vote
        self._commit = self._written.commit
        self._codec = Codec(self._header)
        self._size = HEADER_BYTES
        self._noted: list[bytes] = []
        self._commit_is_due = False
        if recovered is None:
            self._rewrite()
        else:
            self._adopt(recovered)

    @property
    def identity(self) -> bytes:
        """Which journal it is; compaction keeps it."""
        return self._header.identity

    @property
    def first(self) -> int:
        """Index of the first entry that is kept; 0 when there is none."""
        return self._entries[0][1] if self._entries else 0

    @property
    def last(self) -> int:
        """Index of the last entry, synced or not; 0 when there is none."""
        return self._entries[-1][1] if self._entries else 0

    @property
    def last_term(self) -> int:
        """Term of the last entry; 0 when there is none."""
        return self._entries[-1][2] if self._entries else 0

    @property
    def size_bytes(self) -> int:
        """How long the file is, or will be at the next `sync` (without its barrier)."""
        return self._size

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at `index`, None when it is not kept here."""
        return self._entries[index - self.first][2] if 0 < self.first <= index <= self.last else None

    def entries_from(self, index: int, bytes_max: int, count_max: int) -> list[LogEntry]:
        """Return entries from `index` on, in order; none when the log ends before it.

        Args:
            bytes_max: Of commands together; the first entry is returned whatever its size.

        Raises:
            IndexError: The entry was forgotten; only the snapshot has it.
        """
        if index < self.first:
            raise IndexError(f"{self._path}: entry {index} is not kept any more; send the snapshot")
        begin = index - self.first
        found: list[LogEntry] = []
        for place in range(begin, min(begin + count_max, len(self._entries))):
            entry = self._entries[place]
            bytes_max -= len(entry[0])
            if found and bytes_max < 0:
                break
            found.append(entry)
        return found

    @property
    def dirty(self) -> bool:
        """There is something that `sync` would write."""
        stands = (self._written.term, self._written.vote)
        return bool(self._noted) or stands != (self._term, self._vote) or self._commit_is_due

    def sync(self) -> None:
        """Return when everything noted so far is on the disk; cheap when nothing is.

        Raises:
            DiskFailed: What of it is on the disk is not known, and never will be.
        """
        if self._failure is not None:
            raise self._failure
        if not self.dirty:
            return
        barrier = self._next_barrier()
        batch = b"".join(self._noted)
        batch += self._codec.encode_barrier(self._size, barrier)
        begun = time.perf_counter()
        try:
            self._storage.append(self._file, batch)
            self._storage.sync(self._file)
        except OSError as error:
            self._poison(error)
        self.syncs += 1
        if self.observe_sync is not None:
            self.observe_sync(time.perf_counter() - begun)
        self._size += len(batch) - sum(map(len, self._noted))
        self._settled(barrier)

    def close(self) -> None:
        """Close the file; what was not synced stays unsaid."""
        if self._file >= 0:
            self._storage.close(self._file)
            self._file = -1

    # Called by the library.

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, place: Any) -> Any:
        return self._entries[place]

    def add(self, command: bytes, idx: int, term: int) -> None:
        if self._entries and (idx != self._entries[-1][1] + 1 or term < self._entries[-1][2]):
            raise LogBroken(
                f"{self._path}: entry {idx} of term {term} cannot follow {self._entries[-1][1:]}; "
                "the replicas disagree, which is a bug"
            )
        self._note(Kind.ENTRY, idx, term, bytes(command))
        self._entries.append((bytes(command), idx, term))

    def clear(self) -> None:
        """Forget all entries; a snapshot that is durable already takes their place."""
        self._note(Kind.CUT, 0, 0)
        self._entries = []

    def deleteEntriesFrom(self, entryFrom: int) -> None:  # noqa: N802, N803 - the library's names
        if entryFrom >= len(self._entries):
            return
        index = self._entries[entryFrom][1]
        if index <= self._commit:
            raise LogBroken(
                f"{self._path}: the leader asked to take back entry {index}, but all up to {self._commit} "
                "are committed; a replica that lost its disk may have voted"
            )
        self._note(Kind.CUT, index, 0)
        del self._entries[entryFrom:]

    def deleteEntriesTo(self, entryTo: int) -> None:  # noqa: N802, N803 - the library's names
        """Forget entries that a durable snapshot holds; everything noted is on the disk afterwards."""
        if self._failure is not None:
            raise self._failure
        self._entries = self._entries[entryTo:]
        self._rewrite()

    def getCurrentTerm(self) -> int:  # noqa: N802 - the library's name
        return self._term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802 - the library's name
        return self._vote

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:  # noqa: N802, N803 - the library's names
        self._term, self._vote = term, votedForNodeId

    def getRaftCommitIndex(self) -> int:  # noqa: N802 - the library's name
        return self._commit

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:  # noqa: N802, N803 - the library's names
        self._commit = raftCommitIndex

    def onOneSecondTimer(self) -> None:  # noqa: N802 - the library's name
        """Have the commit index written, so that a restart begins with a state that is seconds old."""
        self._commit_is_due = self._commit != self._written.commit

    def _destroy(self) -> None:
        self.close()

    # The file.

    def _note(self, kind: Kind, index: int, term: int, payload: bytes = b"") -> None:
        if self._failure is not None:
            raise self._failure
        record = self._codec.encode(self._size, kind, index, term, payload)
        self._noted.append(record)
        self._size += len(record)

    def _next_barrier(self) -> Barrier:
        return Barrier(self._written.sequence + 1, self._commit, self._term, self._vote)

    def _settled(self, barrier: Barrier) -> None:
        self._written = barrier
        self._noted = []
        self._commit_is_due = False

    def _poison(self, error: OSError) -> NoReturn:
        self._failure = DiskFailed(self._path, error)
        raise self._failure from error

    def _adopt(self, recovered: Recovered) -> None:
        """Go on with the file; who wrote it may have died before the sync."""
        try:
            self._file = self._storage.open(self._path)
            if recovered.dropped_bytes:
                self._storage.truncate(self._file, recovered.end)
            self._storage.sync(self._file)
            self._storage.sync_folder(self._path.parent)
        except OSError as error:
            self.close()
            self._poison(error)
        self._size = recovered.end

    def _rewrite(self) -> None:
        """Put a file with nothing but the present log in place of the current one."""
        header = Header(self._header.identity, self._header.generation + 1)
        codec = Codec(header)
        barrier = self._next_barrier()
        content = bytearray(header.encode())
        for command, index, term in self._entries:
            content += codec.encode(len(content), Kind.ENTRY, index, term, command)
        content += codec.encode_barrier(len(content), barrier)
        beside = self._path.with_suffix(".new")
        file = -1
        try:
            file = self._storage.create(beside)
            self._storage.append(file, bytes(content))
            self._storage.sync(file)
            self._storage.replace(beside, self._path)
            self._storage.sync_folder(self._path.parent)
        except OSError as error:
            if file >= 0:
                self._storage.close(file)
            self._poison(error)
        self.close()
        self._file, self._header, self._codec, self._size = file, header, codec, len(content)
        self._settled(barrier)
