"""The leader's loop: look at the state, have workers do what is owed, sleep until something changed.

1. It runs on every replica and works only while that replica leads. Being deposed cancels its workers;
   what they had begun on nodes goes on there, and is adopted by the next leader.
2. What is owed comes from `work.pending` and `upkeep.duties` alone, so there is no other path for recovery.
3. The stamps and deadlines of one task agree with each other, whatever the machine's clock is set to.
4. At most `workers_max` tasks are at work at once, however many are owed.
"""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, replace

from hamgr.clock import SteadyClock
from hamgr.jobs import discovery, upkeep
from hamgr.jobs.calendar import Calendar
from hamgr.jobs.proposer import NotInCharge
from hamgr.jobs.reviews import Reviewer
from hamgr.jobs.worker import TaskWorker, Tools
from statemachine.commands import FoundCluster
from statemachine.jobs import upkeep as upkeep_rules
from statemachine.jobs import work
from statemachine.jobs.upkeep import CordonDue, DebtsDue, Duty
from statemachine.jobs.work import Due, ProbeDue, ReviewDue, TaskDue
from statemachine.model import State
from statemachine.words import TASK_ENDED, JobId, NodeName

LOOP_PAUSE_S = 0.01
"""The least time between two looks at the state: many small changes are one look."""
LOOK_SHARE_MAX = 0.1
"""The most of its time that a manager looks: with a thousand tasks each look takes milliseconds."""
LOOP_PAUSE_S_MAX = 0.25
"""The longest pause, whatever a look took: the process may have been frozen in the middle of it."""
RETRY_PAUSE_S = 1.0
"""How long a task rests after its worker ended without ending the task."""
WORKERS_MAX = 256

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[None]
    worker: TaskWorker | None


class Manager:
    """Keeps the fleet going while this replica leads."""

    def __init__(self, *, tools: Tools, new_cluster: str, workers_max: int = WORKERS_MAX) -> None:
        self._tools = tools
        self._look_anew()
        self._new_cluster = new_cluster
        self._workers_max = workers_max
        self._running: dict[tuple[JobId, NodeName], _Running] = {}
        self._term = 0
        self._nudge = asyncio.Event()

    def _look_anew(self) -> None:
        """Forget what an earlier leadership knew of the clock."""
        self._reviewer = Reviewer(self._tools)
        self._calendar = Calendar(self._tools)

    async def run(self) -> None:
        """Run until cancelled."""
        replica = self._tools.replica
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                version = replica.version
                leadership = replica.leadership
                if not leadership.leads or leadership.term != self._term:
                    await self._drop_all()
                    self._look_anew()
                began_s = loop.time()
                if leadership.leads:
                    self._term = leadership.term
                    self._advance(group, replica.state)
                rest_s = (loop.time() - began_s) / LOOK_SHARE_MAX
                await self._wait(version, min(max(LOOP_PAUSE_S, rest_s), LOOP_PAUSE_S_MAX))

    def _advance(self, group: asyncio.TaskGroup, state: State) -> None:
        if not state.cluster and ("", "") not in self._running:
            self._spawn(group, (JobId(""), NodeName("")), self._found(), None)
        for duty in upkeep_rules.duties(state):
            key = JobId(type(duty).__name__), NodeName("")
            if key not in self._running:
                self._spawn(group, key, self._see_to(duty), None)
        for due in work.pending(state):
            key = _key(due)
            running = self._running.get(key)
            if running is not None:
                self._pass_cancel_on(state, due, running)
            elif len(self._running) < self._workers_max:
                self._begin(group, due, key)

    def _see_to(self, duty: Duty) -> Coroutine[None, None, None]:
        if isinstance(duty, CordonDue):
            return upkeep.expire(self._tools, duty)
        if isinstance(duty, DebtsDue):
            return upkeep.collect(self._tools)
        return self._calendar.see_to(duty)

    def _begin(self, group: asyncio.TaskGroup, due: Due, key: tuple[JobId, NodeName]) -> None:
        if isinstance(due, ProbeDue):
            self._spawn(group, key, discovery.probe(self._tools, due), None)
            return
        if isinstance(due, ReviewDue):
            self._spawn(group, key, self._reviewer.review(due.job), None)
            return
        clock = SteadyClock(self._tools.clock)
        worker = TaskWorker(
            tools=replace(self._tools, clock=clock, proposer=self._tools.proposer.by(clock)),
            job=due.job,
            node=due.node,
            claimant=f"{self._tools.replica.name} in term {self._term}",
        )
        self._spawn(group, key, worker.run(), worker)

    def _pass_cancel_on(self, state: State, due: Due, running: _Running) -> None:
        if running.worker is None or not isinstance(due, TaskDue):
            return
        if state.jobs[due.job].tasks[due.node].cancel:
            running.worker.stopping.set()

    def _spawn(
        self,
        group: asyncio.TaskGroup,
        key: tuple[JobId, NodeName],
        work_: Coroutine[None, None, None],
        worker: TaskWorker | None,
    ) -> None:
        self._running[key] = _Running(group.create_task(self._supervise(key, work_)), worker)

    async def _supervise(self, key: tuple[JobId, NodeName], work_: Coroutine[None, None, None]) -> None:
        """Let one worker fail without harm to the others, and keep a failing one from spinning."""
        failed = False
        try:
            await work_
        except NotInCharge:
            pass
        except Exception:
            failed = True
            log.exception("the worker of job %s on %s failed; it will be tried again", *key)
        if failed or self._unfinished(key):
            await asyncio.sleep(RETRY_PAUSE_S)
        del self._running[key]
        self._nudge.set()

    def _unfinished(self, key: tuple[JobId, NodeName]) -> bool:
        job = self._tools.replica.state.jobs.get(key[0])
        task = job.tasks.get(key[1]) if job is not None else None
        return task is not None and task.state not in TASK_ENDED

    async def _wait(self, version: int, pause_s: float) -> None:
        """Sleep until the replica's state or leadership changed, or a worker came free; then rest."""
        changed = asyncio.ensure_future(self._tools.replica.changed(version))
        nudged = asyncio.ensure_future(self._nudge.wait())
        try:
            await asyncio.wait({changed, nudged}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._nudge.clear()
            changed.cancel()
            nudged.cancel()
            await asyncio.gather(changed, nudged, return_exceptions=True)
        await asyncio.sleep(pause_s)

    async def _found(self) -> None:
        """Give a new cluster its id; the first proposal wins."""
        proposer = self._tools.proposer
        await proposer.settle(proposer.make(FoundCluster, cluster=self._new_cluster))

    async def _drop_all(self) -> None:
        """End all workers; what runs on the nodes goes on there."""
        dropped = [running.task for running in self._running.values()]
        self._running.clear()
        for task in dropped:
            task.cancel()
        await asyncio.gather(*dropped, return_exceptions=True)


def _key(due: Due) -> tuple[JobId, NodeName]:
    if isinstance(due, ReviewDue):
        return due.job, NodeName("")
    return due.job, due.task if isinstance(due, ProbeDue) else due.node
