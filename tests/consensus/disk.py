"""A disk with a will of its own: it takes its time, fails, and forgets what was not synced."""

import errno
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.hamgr.raft.bad_disk import LossyStorage


class Disk(LossyStorage):
    """One host's.

    Attributes:
        sync_s: How long a sync takes at most; about half of it usually.
        steady: It always takes as long.
        full_or_broken: The error of every write and sync from now on; 0 when it is well.
        failed: It has really returned an error since it was last repaired.
    """

    def __init__(self, attic: Path, random: Random, spend: Callable[[float], None]) -> None:
        """Make an empty disk; `spend(seconds)` is told how long its owner has to wait."""
        super().__init__(attic, random)
        self.sync_s = 0.001
        self.steady = False
        self.full_or_broken = 0
        self.failed = False
        self._spend = spend
        self._times = Random(random.random())

    def repair(self) -> None:
        self.full_or_broken, self.failed = 0, False

    def repair_unless_failed(self) -> None:
        """End a fault that nobody has met; who has met one is out of work until somebody repairs the disk."""
        if not self.failed:
            self.repair()

    def _fail(self, *broken_by: int) -> None:
        if self.full_or_broken in broken_by:
            self.failed = True
            raise OSError(self.full_or_broken, "as the simulation wants it")

    def create(self, path: Path) -> int:
        self._fail(errno.EIO, errno.ENOSPC)
        return super().create(path)

    def append(self, file: int, data: bytes) -> None:
        if self.full_or_broken and data:
            super().append(file, data[: self._times.randrange(len(data))])
        self._fail(errno.EIO, errno.ENOSPC)
        super().append(file, data)

    def sync(self, file: int) -> None:
        self._fail(errno.EIO)
        self._spend(self.sync_s * self._share())
        super().sync(file)

    def replace(self, source: Path, target: Path) -> None:
        self._fail(errno.EIO)
        super().replace(source, target)

    def sync_folder(self, path: Path) -> None:
        self._fail(errno.EIO)
        self._spend(self.sync_s * self._share())
        super().sync_folder(path)

    def _share(self) -> float:
        drawn = self._times.random()
        return 1.0 if self.steady else drawn
