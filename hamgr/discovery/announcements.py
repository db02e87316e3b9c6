"""Announcements become few discoveries, however many machines boot at once.

1. What comes within `BATCH_S` is one job; at most `RUNNING_MAX` such jobs of this replica run at a time, and
   at most `WAITING_MAX` machines wait for one. More are refused, and come again.
2. A machine that says the same again while its discovery is on its way, or `RECENT_S` after that, gets the
   answer that it got: nothing is asked of the log.
3. What a machine says of itself is only where to look. Who it is, discovery asks it, by its host key.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from hamgr.clock import Clock
from hamgr.raft.port import ConsensusError, NotCommitted, Replica
from statemachine.discovery_commands import SubmitDiscovery
from statemachine.model import Endpoint
from statemachine.outcomes import Accepted
from statemachine.words import JobId, RequestId

BATCH_S = 0.5
BATCH_MAX = 256
RUNNING_MAX = 4
WAITING_MAX = 1_000
RECENT_S = 30.0
RECENT_MAX = 10_000
PROPOSE_TIMEOUT_S = 8.0


class Full(Exception):
    """So many machines wait already that no more can."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Who says that it is there, and where."""

    machine_id: str
    host_key: str
    endpoint: Endpoint


class Announcements:
    """Those of one replica."""

    def __init__(self, *, replica: Replica, clock: Clock, new_request_id: Callable[[], str]) -> None:
        self._replica = replica
        self._clock = clock
        self._new_request_id = new_request_id
        self._waiting: dict[Machine, asyncio.Future[JobId]] = {}
        self._recent: dict[Machine, tuple[float, asyncio.Future[JobId]]] = {}
        self._jobs: list[JobId] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, machine: Machine) -> JobId:
        """Have a machine be discovered; return the job, as soon as there is one.

        Raises:
            Full: Too many wait.
            NotCommitted, OutcomeUnknown: There is no job, or nobody knows; say it again.
        """
        now = asyncio.get_running_loop().time()
        self._tidy(now)
        known = self._recent.get(machine)
        if known is None:
            if len(self._waiting) >= WAITING_MAX or len(self._recent) >= RECENT_MAX:
                raise Full
            future: asyncio.Future[JobId] = asyncio.get_running_loop().create_future()
            self._waiting[machine] = future
            self._recent[machine] = known = now, future
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run())
        return await asyncio.shield(known[1])

    async def close(self) -> None:
        """Stop; who waits is told that nothing was committed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for future in self._waiting.values():
            future.cancel()

    def _tidy(self, now: float) -> None:
        old = [
            machine
            for machine, (at, future) in self._recent.items()
            if future.done() and (now - at > RECENT_S or future.cancelled() or future.exception())
        ]
        for machine in old:
            del self._recent[machine]

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(BATCH_S)
            version = self._replica.version
            while len(self._running()) >= RUNNING_MAX:
                version = await self._replica.changed(version)
            batch = dict(list(self._waiting.items())[:BATCH_MAX])
            for machine in batch:
                del self._waiting[machine]
            await self._submit(batch)

    def _running(self) -> list[JobId]:
        state = self._replica.state
        # a job that this replica has not applied yet runs, as far as it knows
        self._jobs = [job for job in self._jobs if job not in state.jobs or job in state.running]
        return self._jobs

    async def _submit(self, batch: dict[Machine, asyncio.Future[JobId]]) -> None:
        count = "1 machine" if len(batch) == 1 else f"{len(batch)} machines"
        command = SubmitDiscovery(
            request_id=RequestId(self._new_request_id()),
            at=self._clock.now(),
            actor=f"replica {self._replica.name}",
            endpoints=tuple(machine.endpoint for machine in batch),
            reason=f"announced by {count}",
        )
        error: ConsensusError | None = None
        job = JobId("")
        try:
            outcome = await self._replica.propose(command, timeout_s=PROPOSE_TIMEOUT_S)
            if isinstance(outcome, Accepted):
                job = JobId(outcome.ref)
                self._jobs.append(job)
            else:
                error = NotCommitted(outcome.message)
        except ConsensusError as failure:
            error = failure
        for future in batch.values():
            if future.done():
                continue
            if error is None:
                future.set_result(job)
            else:
                future.set_exception(error)
                future.exception()  # whoever waited may be gone; then nobody else asks
