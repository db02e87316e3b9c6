"""The few things that we ask of a file system, in one class, so that a test can be a bad disk.

1. Nothing is on the disk before `sync` (a file's content) or `sync_folder` (its name) came back.
2. After an error in writing or syncing, nobody knows what the disk holds (the kernel may drop what it could
   not write and report success the next time). So nothing is tried twice: `DiskFailed` is for good.
"""

import os
from pathlib import Path


class DiskFailed(Exception):
    """The disk refused a write or a sync; the replica must stop. The message is one sentence."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"{path} could not be written safely ({error.strerror}); "
            "free space or replace the disk, then start the replica again"
        )


class Storage:
    """The real one. Every method raises `OSError` when the system does."""

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def create(self, path: Path) -> int:
        """Open an empty file for appending, in place of any that has this name."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def open(self, path: Path) -> int:
        """Open a file that is there for appending."""
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)

    def open_to_read(self, path: Path) -> int:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read_at(self, file: int, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`, fewer only where the file ends."""
        found = bytearray()
        while len(found) < count and (more := os.pread(file, count - len(found), offset + len(found))):
            found += more
        return bytes(found)

    def append(self, file: int, data: bytes) -> None:
        """Write all of `data` at the end."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]

    def truncate(self, file: int, size_bytes: int) -> None:
        os.ftruncate(file, size_bytes)

    def sync(self, file: int) -> None:
        """Return when the content and the size are on the disk."""
        os.fdatasync(file)

    def close(self, file: int) -> None:
        os.close(file)

    def replace(self, source: Path, target: Path) -> None:
        source.replace(target)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def sync_folder(self, path: Path) -> None:
        """Return when the names in the folder are on the disk."""
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
