"""What is global in the product and its library, lent to one replica at a time: clock, dice, threads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

from pysyncobj import syncobj

from hamgr.raft.store import compaction
from hamgr.raft.store.folder import Folder
from hamgr.raft.store.snapshot import Snapshot
from tests.consensus.machine import Staging


class _Dice:
    """Stands where the library expects its random module."""

    def __init__(self, random: Random) -> None:
        self.random = random.random


@contextmanager
def lent_to(clock: Callable[[], float], local: Callable[[], float], random: Random) -> Iterator[None]:
    """Have the library read `clock` and draw from `random`, and snapshots be written without a thread."""

    def staging(folder: Folder, snapshot: Snapshot) -> Staging:
        return Staging(folder, snapshot, random=random, now=local)

    before = syncobj.monotonicTime, syncobj.random, compaction._Staging
    syncobj.monotonicTime, syncobj.random, compaction._Staging = clock, _Dice(random), staging
    try:
        yield
    finally:
        syncobj.monotonicTime, syncobj.random, compaction._Staging = before
