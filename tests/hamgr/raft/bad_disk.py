"""Disks that fail: one that returns errors, and one that forgets what was not synced when power is lost."""

import errno
import itertools
import random
from pathlib import Path

from hamgr.raft.store.recovery import SECTOR_BYTES
from hamgr.raft.store.storage import Storage


class FailingStorage(Storage):
    """Real, until `fail` is the name of a method, which then raises `error`."""

    def __init__(self) -> None:
        self.fail = ""
        self.error = errno.EIO
        self.calls = []

    def _pass(self, name: str) -> None:
        self.calls.append(name)
        if name == self.fail:
            raise OSError(self.error, "as the test wants it")

    def create(self, path):
        self._pass("create")
        return super().create(path)

    def append(self, file, data):
        self._pass("append")
        super().append(file, data)

    def sync(self, file):
        self._pass("sync")
        super().sync(file)

    def replace(self, source, target):
        self._pass("replace")
        super().replace(source, target)

    def sync_folder(self, path):
        self._pass("sync_folder")
        super().sync_folder(path)


class PowerCut(BaseException):
    """Nothing after this point happened."""


class LossyStorage(Storage):
    """Files that are real, and the knowledge of what would be left of them.

    `lose_power` leaves of each file what was synced, and of what was written since: nothing, a beginning, or
    all of it with sectors that read as zeros. Of the renames since the last `sync_folder` it undoes some.

    Attributes:
        fuse: After so many operations `PowerCut` is raised, before or after the operation.
    """

    def __init__(self, attic: Path, random: random.Random) -> None:
        attic.mkdir(parents=True)
        self._attic = attic
        self._random = random
        self._numbers = itertools.count()
        self._synced = {}
        self._renames = []
        self.fuse = None

    def _blow(self, operation, *arguments):
        if self.fuse is None:
            return operation(*arguments)
        self.fuse -= 1
        if self.fuse > 0:
            return operation(*arguments)
        self.fuse = None
        if self._random.random() < 0.5:
            operation(*arguments)
        raise PowerCut

    def create(self, path):
        file = super().create(path)
        self._synced[Path(f"/proc/self/fd/{file}").stat().st_ino] = 0
        return file

    def open(self, path):
        status = path.stat()
        self._synced.setdefault(status.st_ino, status.st_size)
        return super().open(path)

    def truncate(self, file, size_bytes):
        super().truncate(file, size_bytes)
        inode = Path(f"/proc/self/fd/{file}").stat().st_ino
        self._synced[inode] = min(self._synced[inode], size_bytes)

    def append(self, file, data):
        self._blow(super().append, file, data)

    def sync(self, file):
        self._blow(self._sync, file)

    def _sync(self, file):
        status = Path(f"/proc/self/fd/{file}").stat()
        self._synced[status.st_ino] = status.st_size

    def replace(self, source, target):
        self._blow(self._replace, source, target)

    def _replace(self, source, target):
        before = None
        if target.exists():
            before = self._attic / str(next(self._numbers))
            before.hardlink_to(target)
        self._renames.append((target, before))
        super().replace(source, target)

    def sync_folder(self, path):
        self._blow(self._sync_folder, path)

    def _sync_folder(self, path):
        for rename in [rename for rename in self._renames if rename[0].parent == path]:
            self._renames.remove(rename)
            if rename[1] is not None:
                rename[1].unlink()

    def synced_bytes(self, path: Path) -> bytes:
        """Return what is on the disk under the file's present name for sure."""
        size = self._synced.get(path.stat().st_ino, 0)
        return path.read_bytes()[:size]

    def lose_power(self, folder: Path) -> None:
        self.fuse = None
        kept = self._random.randint(0, len(self._renames))
        for target, before in reversed(self._renames[kept:]):
            if before is None:
                target.unlink()
            else:
                before.replace(target)
        self._renames.clear()
        for path in folder.iterdir():
            if path.name != "lock":
                self._forget(path)

    def _forget(self, path: Path) -> None:
        inode, data = path.stat().st_ino, bytearray(path.read_bytes())
        synced = self._synced.get(inode, 0)
        match self._random.randrange(3):
            case 0:
                del data[synced:]
            case 1:
                del data[self._random.randint(synced, len(data)) :]
            case 2:
                for sector in range(synced // SECTOR_BYTES * SECTOR_BYTES, len(data), SECTOR_BYTES):
                    if self._random.random() < 0.5:
                        start, end = max(sector, synced), min(sector + SECTOR_BYTES, len(data))
                        data[start:end] = bytes(end - start)
        with path.open("r+b") as file:
            file.write(data)
            file.truncate()
        self._synced[inode] = len(data)
