"""The logs that a replica keeps: one file a job, records appended, everything checked when it is read.

1. What `put` has answered is on the disk. A crash leaves whole records, or none of what it interrupted.
2. `get` never gives a damaged record for a whole one; it forgets it, so that it is fetched anew.
3. No more than `bytes_max` in all: the oldest jobs' logs go first, each as a whole and for good. The disk
   keeps `reserve_bytes` free for what matters more.
4. Calls block on the disk and may come from several threads; one at a time writes.
"""

import contextlib
import errno
import logging
import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path

from hamgr.logs import records
from hamgr.logs.pieces import Attempt, Kept
from hamgr.logs.scan import Place, read_exactly, scan

log = logging.getLogger(__name__)

JOB_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")
_SUFFIX = ".log"
_DROPPED = b"dropped to make room\n"


class StoreUnusable(Exception):
    """Nothing was stored; the sentence says why."""


class LogDamaged(Exception):
    """What is on the disk is not what was stored; it is forgotten now."""


@dataclass(slots=True)
class _JobFile:
    """What is known of one file.

    Attributes:
        bytes: Its length, up to the end of the last whole record.
        dropped: Its records were removed to make room, and none is to be stored again.
    """

    bytes: int = 0
    places: dict[Attempt, Place] = field(default_factory=dict)
    dropped: bool = False


class LogStore:
    """The folder of stored logs; `open` comes before anything else."""

    def __init__(self, directory: Path, *, bytes_max: int, reserve_bytes: int) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self._reserve_bytes = reserve_bytes
        self._files: dict[str, _JobFile] = {}
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self.damaged = 0
        """Records that were found damaged since the start."""

    @property
    def stored_bytes(self) -> int:
        """How much is stored."""
        with self._lock:
            return sum(file.bytes for file in self._files.values())

    def open(self) -> None:
        """Make the folder and learn what is in it; what a crash cut off is removed.

        Raises:
            StoreUnusable.
        """
        found: dict[str, _JobFile] = {}
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in sorted(self._directory.iterdir()):
                name = path.name.removesuffix(_SUFFIX)
                if path.name.endswith(".new"):
                    path.unlink()
                elif path.name.endswith(_SUFFIX) and JOB_NAME.match(name):
                    found[name] = self._learn(path)
        except OSError as error:
            raise _unusable(self._directory, error) from error
        with self._lock:
            self._files = found

    def _learn(self, path: Path) -> _JobFile:
        with path.open("r+b") as file:
            if file.read(len(_DROPPED)) == _DROPPED:
                return _JobFile(bytes=len(_DROPPED), dropped=True)
            found = scan(file)
            if found.damaged:
                self.damaged += found.damaged
                log.warning("%s: %d stored logs are damaged and will be fetched anew", path, found.damaged)
            if found.end_bytes < os.fstat(file.fileno()).st_size:
                file.truncate(found.end_bytes)
        return _JobFile(bytes=found.end_bytes, places=found.places)

    def jobs(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._files)

    def settled(self, attempt: Attempt) -> bool:
        """Say whether there is nothing left to store: it is here, or was removed to make room."""
        with self._lock:
            file = self._files.get(attempt.job)
            return file is not None and (file.dropped or attempt in file.places)

    def get(self, attempt: Attempt) -> Kept | None:
        """Return what is kept of an attempt's output; None when there is nothing.

        Raises:
            LogDamaged, StoreUnusable.
        """
        record = self.record(attempt)
        if record is None:
            return None
        try:
            return records.decode(record)
        except records.NotARecord as error:
            self._lose(attempt)
            raise LogDamaged(f"{self._path(attempt.job)}: a stored log cannot be used: {error}") from error

    def record(self, attempt: Attempt) -> bytes | None:
        """Return an attempt's record as it is on the disk, unchecked; None when there is none.

        Raises:
            StoreUnusable.
        """
        with self._lock:
            file = self._files.get(attempt.job)
            place = file.places.get(attempt) if file is not None else None
        if place is None:
            return None
        try:
            with self._path(attempt.job).open("rb") as stored:
                return read_exactly(stored, place)
        except FileNotFoundError:
            return None  # it was forgotten just now
        except OSError as error:
            raise _unusable(self._path(attempt.job), error) from error

    def _lose(self, attempt: Attempt) -> None:
        with self._lock:
            file = self._files.get(attempt.job)
            if file is not None and file.places.pop(attempt, None) is not None:
                self.damaged += 1

    def put(self, job: str, stored: dict[Attempt, bytes]) -> None:
        """Append records of one job; those of attempts that are here already are passed over.

        Raises:
            StoreUnusable: Nothing was stored.
        """
        if not JOB_NAME.match(job):
            raise StoreUnusable(f"{job!r} is not the name of a job")
        with self._writing:
            with self._lock:
                file = self._files.setdefault(job, _JobFile())
                new = {a: record for a, record in stored.items() if a not in file.places}
            if file.dropped or not new:
                return
            added = sum(map(len, new.values()))
            self._make_room(job, added)
            try:
                self._append(self._path(job), file, b"".join(new.values()))
            except OSError as error:
                raise _unusable(self._path(job), error) from error
            with self._lock:
                for attempt, record in new.items():
                    file.places[attempt] = Place(file.bytes, len(record))
                    file.bytes += len(record)

    def _append(self, path: Path, file: _JobFile, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                os.ftruncate(descriptor, file.bytes)  # what an attempt to store left behind
                written = 0
                while written < len(data):
                    written += os.pwrite(descriptor, data[written:], file.bytes + written)
                os.fdatasync(descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, file.bytes)
                raise
        finally:
            os.close(descriptor)
        if not file.bytes:
            self._sync_folder()

    def _make_room(self, job: str, added: int) -> None:
        if added > self._bytes_max:
            raise StoreUnusable(f"{added} bytes at once are more than `logs.bytes_max` allows")
        while self.stored_bytes + added > self._bytes_max:
            if not self._drop_oldest(but=job):
                raise StoreUnusable(
                    f"{self._directory}: `logs.bytes_max` ({self._bytes_max}) is used up by one job's log"
                )
        try:
            free = os.statvfs(self._directory)
        except OSError as error:
            raise _unusable(self._directory, error) from error
        free_bytes = free.f_bavail * free.f_frsize
        if free_bytes < added + self._reserve_bytes:
            raise StoreUnusable(
                f"{self._directory}: the disk has {free_bytes} bytes left, and {self._reserve_bytes} are "
                "kept free (`logs.reserve_bytes`); make room"
            )

    def _drop_oldest(self, *, but: str) -> bool:
        """Remove the log of the oldest job that has one, and remember that it is not to come back."""
        with self._lock:
            names = [name for name, file in self._files.items() if name != but and not file.dropped]
            oldest = min(names, key=_age, default="")
        if not oldest:
            return False
        path = self._path(oldest)
        try:
            new = path.with_suffix(".new")
            new.write_bytes(_DROPPED)
            new.replace(path)
        except OSError as error:
            raise _unusable(path, error) from error
        with self._lock:
            self._files[oldest] = _JobFile(bytes=len(_DROPPED), dropped=True)
        log.warning("the log of %s was removed: `logs.bytes_max` (%d) is reached", oldest, self._bytes_max)
        return True

    def forget(self, job: str) -> None:
        """Remove all of a job's log.

        Raises:
            StoreUnusable.
        """
        with self._writing:
            with self._lock:
                self._files.pop(job, None)
            try:
                self._path(job).unlink(missing_ok=True)
            except OSError as error:
                raise _unusable(self._path(job), error) from error

    def _path(self, job: str) -> Path:
        return self._directory / f"{job}{_SUFFIX}"

    def _sync_folder(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def number_of(job: str) -> int | None:
    """Return a job's number from its name on nodes; None when it has none."""
    digits = job.rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else None


def _age(job: str) -> tuple[int, str]:
    return number_of(job) or 0, job


def _unusable(path: Path, error: OSError) -> StoreUnusable:
    advice = "; make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return StoreUnusable(f"{path}: {error.strerror or error}{advice}")
