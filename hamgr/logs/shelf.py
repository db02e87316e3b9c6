"""The store for a caller that must not block: records gathered, written together, failures remembered.

1. What was added counts as stored only when `flush` has said so; until then it is held in memory, and other
   replicas can have it from there.
2. A disk that cannot take it is left alone for `FAILURE_PAUSE_S`; one line says when that begins and ends.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence

from hamgr.logs import records
from hamgr.logs.pieces import Attempt, Kept
from hamgr.logs.sources import ANSWER_BYTES_MAX
from hamgr.logs.store import LogDamaged, LogStore, StoreUnusable, number_of
from statemachine.model import State
from statemachine.words import JobId

log = logging.getLogger(__name__)

FAILURE_PAUSE_S = 30.0
GATHERED_BYTES_MAX = 8 * 1024 * 1024
"""With more than this, `add` asks for a `flush`; and where that fails, no more is worth reading."""


class Shelf:
    """The stored logs, as the loops of a replica use them.

    Attributes:
        failure: Why nothing can be stored now; empty while all is well.
        retry_at: When the loop's clock lets the disk be tried again.
    """

    def __init__(self, store: LogStore, *, failure_pause_s: float = FAILURE_PAUSE_S) -> None:
        self._store = store
        self._failure_pause_s = failure_pause_s
        self._gathered: dict[Attempt, bytes] = {}
        self._gathered_bytes = 0
        self._writing: dict[Attempt, bytes] = {}
        self._opened = False
        self._flushing = asyncio.Lock()
        self.failure = ""
        self.retry_at = 0.0

    @property
    def stored_bytes(self) -> int:
        return self._store.stored_bytes

    @property
    def damaged(self) -> int:
        return self._store.damaged

    async def open(self, now: float) -> None:
        """Learn what is stored; where the folder cannot be used, go on without; `flush` tries again."""
        try:
            await asyncio.to_thread(self._store.open)
            self._opened = True
        except StoreUnusable as error:
            self._fail(error, now)

    def usable(self, now: float) -> bool:
        """Say whether it is worth trying to store something."""
        return not self.failure or now >= self.retry_at

    @property
    def full(self) -> bool:
        """Say whether as much waits to be written as may."""
        return self._gathered_bytes >= GATHERED_BYTES_MAX

    def settled(self, attempt: Attempt) -> bool:
        """Say whether nobody has to read an output: it is stored, or waits to be."""
        return attempt in self._gathered or attempt in self._writing or self._store.settled(attempt)

    async def get(self, attempt: Attempt) -> Kept | None:
        """Return what is stored or waits to be; None when there is nothing that can be believed."""
        held = self._held(attempt)
        if held is not None:
            return await asyncio.to_thread(records.decode, held)
        try:
            return await asyncio.to_thread(self._store.get, attempt)
        except (LogDamaged, StoreUnusable) as error:
            log.warning("%s", error)
            return None

    def _held(self, attempt: Attempt) -> bytes | None:
        return self._gathered.get(attempt) or self._writing.get(attempt)

    async def records(self, wanted: Sequence[Attempt]) -> bytes:
        """Return stored records one after the other, `ANSWER_BYTES_MAX` and one more at most."""
        return await asyncio.to_thread(self._records, wanted)

    def _records(self, wanted: Sequence[Attempt]) -> bytes:
        found, size = [], 0
        for attempt in wanted:
            try:
                record = self._held(attempt) or self._store.record(attempt)
            except StoreUnusable as error:
                log.warning("%s", error)
                break
            if record is not None:
                found.append(record)
                size += len(record)
            if size >= ANSWER_BYTES_MAX:
                break
        return b"".join(found)

    def add(self, stored: dict[Attempt, bytes]) -> bool:
        """Gather records for the next `flush`; True when that should not wait any longer."""
        self._gathered |= stored
        self._gathered_bytes += sum(map(len, stored.values()))
        return self.full

    async def flush(self, now: float) -> list[Attempt]:
        """Write what was gathered; return what is on the disk now. What cannot be written goes on waiting."""
        async with self._flushing:
            if not self.usable(now):
                return []
            self._writing, self._gathered, self._gathered_bytes = self._gathered, {}, 0
            written: list[Attempt] = []
            try:
                written = await self._write(now)
            finally:
                for attempt in written:
                    del self._writing[attempt]
                self._gathered = self._writing | self._gathered
                self._gathered_bytes = sum(map(len, self._gathered.values()))
                self._writing = {}
            return written

    def shed(self) -> list[Attempt]:
        """Forget the older half of what waits to be written, and return what it was."""
        forgotten = list(self._gathered)[: (len(self._gathered) + 1) // 2]
        for attempt in forgotten:
            self._gathered_bytes -= len(self._gathered.pop(attempt))
        return forgotten

    async def _write(self, now: float) -> list[Attempt]:
        if not self._opened:
            await self.open(now)
        by_job: dict[str, dict[Attempt, bytes]] = defaultdict(dict)
        for attempt, record in self._writing.items():
            by_job[attempt.job][attempt] = record
        written: list[Attempt] = []
        for job, stored in by_job.items() if self._opened else ():
            try:
                await asyncio.to_thread(self._store.put, job, stored)
            except StoreUnusable as error:
                self._fail(error, now)
                break
            written += stored
            self._recover()
        return written

    def _fail(self, error: StoreUnusable, now: float) -> None:
        if not self.failure:
            log.error("job logs cannot be stored, jobs go on without: %s", error)
        self.failure, self.retry_at = str(error), now + self._failure_pause_s

    def _recover(self) -> None:
        if self.failure:
            log.warning("job logs are stored again")
        self.failure = ""

    def forget(self, state: State) -> None:
        """Remove the logs of jobs that the state has forgotten, and of other clusters."""
        if not state.cluster:
            return
        for name in self._store.jobs():
            job = name.removeprefix(f"{state.cluster}-")
            number = number_of(name)
            # A job that the state does not know yet is younger than what this replica has applied.
            known = job != name and (number is None or number > state.job_count or JobId(job) in state.jobs)
            if not known:
                try:
                    self._store.forget(name)
                except StoreUnusable as error:
                    log.warning("%s", error)
