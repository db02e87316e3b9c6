"""The thread that ticks the library and applies what is committed.

1. The state, its version and the leadership are written by this thread alone, and each is swapped as a
   whole: another thread sees the old or the new one.
2. After anything has changed, `on_news` is called from this thread.
3. An exception out of the library or from the disk ends the thread: memory and disk may disagree from
   there on. `failure` then says why, nothing is applied any more, and no promise leaves.
"""

import logging
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Container
from concurrent.futures import Future

from pysyncobj import SyncObjException

from hamgr.raft.old_core import Core
from hamgr.raft.port import CannotStart, Leadership
from hamgr.raft.settings import StockSettings
from hamgr.raft.store.compaction import Compactor
from hamgr.raft.store.folder import Folder, SnapshotDamaged
from hamgr.raft.store.journal import LogBroken
from hamgr.raft.store.storage import DiskFailed
from statemachine import machine
from statemachine.model import State

logger = logging.getLogger(__name__)

NOBODY = Leadership(term=0, leader="", leads=False)
HANDOVER_S_MAX = 0.3


class Driver:
    """Owns the data folder, the library and the state; runs from `start` to `stop`."""

    def __init__(
        self, settings: StockSettings, *, watched: Container[bytes], on_news: Callable[[], None]
    ) -> None:
        """Prepare only.

        Args:
            watched: Entries whose outcomes somebody waits for; they appear in `applied`.
        """
        self.state = State()
        self.version = 0
        self.leadership = NOBODY
        self.connected: frozenset[str] = frozenset()
        self.failure = ""
        self.applied: deque[tuple[bytes, bytes]] = deque()
        self._settings = settings
        self._names = {address: name for name, (address, _) in settings.peers.items()}
        self._names[settings.address] = settings.name
        self._watched = watched
        self._on_news = on_news
        self._core: Core | None = None
        self._started: Future[None] = Future()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"raft-{settings.name}", daemon=True)
        self._compactor: Compactor | None = None

    def start(self) -> Future[None]:
        """Start the thread; the future ends when the replica takes part, or in `CannotStart`."""
        self._thread.start()
        return self._started

    def stop(self) -> None:
        """Ask the thread to end, and wait until it has."""
        self._stopping.set()
        core = self._core
        if core is not None:
            core.wake()
        self._thread.join()

    def submit(self, entry: bytes, answer: Callable[[object, int], None]) -> None:
        """Hand an entry over; see `Core.submit`. Only between the end of `start` and `stop`."""
        if self._core is not None:
            self._core.submit(entry, answer)

    # The thread.

    def _run(self) -> None:
        try:
            folder = Folder(self._settings.data_dir)
        except CannotStart as error:
            self._started.set_exception(error)
            return
        try:
            self._compactor = Compactor(
                folder, entries=self._settings.snapshot_entries, size_bytes=self._settings.snapshot_bytes
            )
            core = self._open(folder, self._compactor)
        except CannotStart as error:
            folder.close()
            self._started.set_exception(error)
            return
        try:
            self._core = core
            self._started.set_result(None)
            self._tick_until_stopped(core, self._compactor)
        except (DiskFailed, LogBroken, SnapshotDamaged) as error:
            self.failure = str(error)
            logger.error("replica %s stops: %s", self._settings.name, error)  # noqa: TRY400 - the sentence says all
        except Exception as error:
            logger.exception("replica %s stops: its consensus library failed", self._settings.name)
            self.failure = self.failure or f"the consensus library failed: {type(error).__name__}"
        finally:
            self._core = None
            self._compactor.close()
            core.close()
            folder.close()
            self.leadership = Leadership(term=self.leadership.term, leader="", leads=False)
            self.connected = frozenset()
            self._tell()

    def _open(self, folder: Folder, compactor: Compactor) -> Core:
        _check_port(self._settings.address)
        journal = folder.settle()
        try:
            return Core(
                self._settings,
                folder=folder,
                journal=journal,
                obey=lambda entry: self._obey(entry, compactor),
                restore=lambda state: self._restore(state, compactor),
            )
        except (SyncObjException, OSError, ValueError) as error:
            raise CannotStart(f"replica {self._settings.name} cannot take part: {error}") from error

    def _tick_until_stopped(self, core: Core, compactor: Compactor) -> None:
        while not self._stopping.is_set():
            self._tick(core)
            compactor.advance(core)
        _hand_over(core)
        core.conclude()

    def _tick(self, core: Core) -> None:
        core.tick(self._settings.heartbeat_s)
        leader = self._names.get(core.leader_address(), "")
        leadership = Leadership(term=core.term(), leader=leader, leads=core.leads())
        connected = core.connected_addresses()
        if leadership != self.leadership or connected != self.connected:
            self.leadership, self.connected = leadership, connected
            self._tell()

    def _tell(self) -> None:
        self.version += 1
        self._on_news()

    def _obey(self, entry: bytes, compactor: Compactor) -> None:
        state, outcome, bug = machine.apply_entry(self.state, entry)
        if bug is not None:
            place = traceback.extract_tb(bug.__traceback__)[-1]
            logger.error(
                "entry %d could not be applied, and was answered so: %s in %s, line %s",
                state.index,
                type(bug).__name__,
                place.name,
                place.lineno,
            )
        self.state = state
        self.version += 1
        index = self._core.raftLastApplied + 1 if self._core is not None else 1
        compactor.count(index, entry, state)
        if entry in self._watched:
            self.applied.append((entry, outcome))
        self._on_news()  # now: the tick may yet wait for messages

    def _restore(self, state: State, compactor: Compactor) -> None:
        compactor.abandon()
        self.state = state
        self._tell()


def _check_port(address: str) -> None:
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
            probe.listen(1)
        except OSError as error:
            raise CannotStart(
                f"{address} cannot be used ({error.strerror}); stop what uses it, or choose another port"
            ) from error


def _hand_over(core: Core) -> None:
    """Ask the follower that knows most to lead, so that the others need not wait for an election."""
    deadline = time.monotonic() + HANDOVER_S_MAX
    asked = False
    while core.leads() and core.connected_addresses() and time.monotonic() < deadline:
        asked = asked or core.give_leadership_away()
        core.tick(HANDOVER_S_MAX / 20)
