"""What a replica applies to: the product's state machine, the people who wait for it, and its snapshots."""

import heapq
import itertools
from collections.abc import Callable
from random import Random

from hamgr.raft.store import compaction
from hamgr.raft.store.folder import Folder
from hamgr.raft.store.snapshot import Snapshot
from statemachine import machine
from statemachine.model import State
from statemachine.outcomes import Outcome
from tests.consensus.laws import Laws

Answered = Callable[[Outcome], None]
"""Gets the outcome."""
SNAPSHOT_TAKES_S_MAX = 0.3


class Machine:
    """One life of one replica; a `hamgr.raft.core.core.Machine`.

    Attributes:
        index: The log's index that was applied or passed last.
        stuck_at: The index of a command that this version does not know; 0 when there was none.
    """

    def __init__(
        self, name: str, laws: Laws, folder: Folder, *, compact_every: int, unknown: bytes | None
    ) -> None:
        """Begin with the empty state.

        Args:
            compact_every: A snapshot is taken at each multiple of it.
            unknown: What a command holds that this replica's version does not know.
        """
        self.state = State()
        self.index = 0
        self.stuck_at = 0
        self.may_go_back = False
        """The next snapshot is taken even if it is older than what was applied."""
        self.compactor = compaction.Compactor(
            folder,
            entries=compact_every,
            size_bytes=1 << 30,
            on_digest=lambda index, digest: laws.compared(name, index, digest),
        )
        self._name = name
        self._laws = laws
        self._unknown = unknown
        self._answers: dict[bytes, list[Answered]] = {}
        self._readers: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    # Called by the core.

    def obey(self, index: int, entry: bytes) -> bool:
        if self._unknown is not None and self._unknown in entry:
            self.stuck_at = index
            self._laws.met_unknown(self._name, index)
            return False
        self._laws.applied(self._name, index, entry, after=self.index)
        self.index = index
        self.state, outcome, bug = machine.apply_entry(self.state, entry)
        self._laws.answered(self._name, index, entry, outcome, bug)
        for answered in self._answers.pop(entry, ()):
            answered(outcome)
        self._moved(entry)
        return True

    def passed(self, index: int) -> None:
        self._laws.passed(self._name, index, after=self.index)
        self.index = index
        self._moved(b"")

    def restore(self, state: State, index: int) -> None:
        self._laws.restored(self._name, index, state, after=0 if self.may_go_back else self.index)
        self.may_go_back = False
        self.state, self.index, self.stuck_at = state, index, 0
        self.compactor.abandon()
        self._serve_readers()

    def take_digest(self, sender: str, index: int, digest: bytes) -> None:
        """Nobody tells; the laws compare."""

    def _moved(self, entry: bytes) -> None:
        self.compactor.count(self.index, entry, self.state)
        self._serve_readers()

    def _serve_readers(self) -> None:
        while self._readers and self._readers[0][0] <= self.index:
            heapq.heappop(self._readers)[2]()

    # Called by its host.

    def wait_for(self, entry: bytes, answered: Answered) -> None:
        """Have `answered` called when `entry` is applied here."""
        self._answers.setdefault(entry, []).append(answered)

    def wait_until(self, index: int, reached: Callable[[], None]) -> None:
        """Have `reached` called when everything up to `index` is applied."""
        heapq.heappush(self._readers, (index, next(self._numbers), reached))
        self._serve_readers()


class Staging(compaction._Staging):
    """Writes a snapshot at once, and pretends that a thread is busy with it for a while."""

    def __init__(
        self, folder: Folder, snapshot: Snapshot, *, random: Random, now: Callable[[], float]
    ) -> None:
        super().__init__(folder, snapshot)
        self._now = now
        self._ready_at = now() + random.uniform(0.0, SNAPSHOT_TAKES_S_MAX)

    def start(self) -> None:
        self.run()

    def is_alive(self) -> bool:
        return self._now() < self._ready_at

    def join(self, timeout: float | None = None) -> None:
        """There is no thread to wait for."""
