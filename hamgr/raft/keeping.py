"""What a replica keeps of its state: snapshots of it, and whether it is the one that the majority has.

1. Each snapshot's digest is told to all members, and each of theirs is compared with ours.
2. As long as this replica is at fault nothing is snapshotted: its files are those that somebody looks at.
"""

import asyncio
from collections.abc import Callable

from hamgr.raft.core.core import Core
from hamgr.raft.divergence import Divergence
from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.settings import RaftSettings
from hamgr.raft.store.compaction import Compactor
from hamgr.raft.store.folder import Folder
from statemachine.model import State


class Keeper:
    """Belongs to the thread of consensus; gauges look at it from others.

    Attributes:
        core: What it keeps the log of, and speaks through; None before it is open and after it was closed.
        snapshot_index: What the newest snapshot holds: everything up to here.
    """

    def __init__(self, settings: RaftSettings, *, stir: Callable[[], None]) -> None:
        """Prepare only.

        Args:
            stir: Called when the core has something to do.
        """
        self.core: Core | None = None
        self.snapshot_index = 0
        self._settings = settings
        self._stir = stir
        self._divergence = Divergence(settings.data_dir, me=settings.me)
        self._compactor: Compactor | None = None

    @property
    def diverged(self) -> str:
        """Why nothing may be served; empty when the state is what it should be."""
        return self._divergence.found

    @property
    def divergences(self) -> int:
        """How often it was not."""
        return self._divergence.count

    @property
    def snapshot_s(self) -> float | None:
        """How long the last snapshot took to be made; None before the first."""
        return None if self._compactor is None else self._compactor.seconds

    def open(self, folder: Folder) -> None:
        """Keep snapshots in `folder`."""
        self._compactor = Compactor(
            folder,
            entries=self._settings.snapshot_entries,
            size_bytes=self._settings.snapshot_bytes,
            on_digest=self._tell,
        )

    def close(self) -> None:
        """Wait until nothing is being written any more."""
        self.core = None
        if self._compactor is not None:
            self._compactor.close()

    def advance(self) -> None:
        """Put a snapshot that is ready in force; begin one when it is due.

        Raises:
            DiskFailed: As `Compactor.advance`.
        """
        if self._compactor is not None and self.core is not None and not self.diverged:
            self._compactor.advance(self.core)

    def count(self, index: int, entry: bytes, state: State) -> None:
        """Note what an entry of the log made of the state; to be called for every index, in order."""
        if self._compactor is not None and not self.diverged:
            self._compactor.count(index, entry, state)

    def restored(self, index: int) -> None:
        """Note that another replica's snapshot, of everything up to `index`, took the place of the state."""
        self.snapshot_index = index
        if self._compactor is not None:
            self._compactor.abandon()
        self._divergence.ended()

    def take_digest(self, sender: ReplicaId, index: int, digest: bytes) -> None:
        """Compare what another replica's state hashes to."""
        if self.core is not None:
            self._judge(self._divergence.heard(sender, index, digest, self.core.configuration.voter_ids))

    def _tell(self, index: int, digest: bytes) -> None:
        self.snapshot_index = index
        if self.core is not None:
            self.core.broadcast({"type": "digest", "index": index, "digest": digest})
            self._judge(self._divergence.note(index, digest, self.core.configuration.voter_ids))

    def _judge(self, at_fault: bool) -> None:
        if at_fault:
            kept = asyncio.get_running_loop().run_in_executor(None, self._divergence.keep_files)
            kept.add_done_callback(lambda _kept: self._resynchronise())

    def _resynchronise(self) -> None:
        if self.core is not None:
            self.core.resynchronise()
            self._stir()
