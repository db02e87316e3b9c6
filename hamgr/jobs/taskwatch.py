"""Wakes whoever waits for one task of a job, without having all others look as well."""

import asyncio

from hamgr.raft.port import Replica
from statemachine.model import Task
from statemachine.words import JobId, NodeName

LOOK_PAUSE_S = 0.05
"""The least time between two looks at a job: many small changes are one look."""


class TaskWatch:
    """Compares a job's tasks with what its waiters know; `run` beside them."""

    def __init__(self, replica: Replica, job: JobId) -> None:
        self._replica = replica
        self._job = job
        self._waiting: dict[NodeName, tuple[Task, asyncio.Event]] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            version = self._replica.version
            job = self._replica.state.jobs.get(self._job)
            for name, (task, event) in tuple(self._waiting.items()):
                if job is None or job.tasks.get(name) is not task:
                    event.set()
            await self._replica.changed(version)
            await asyncio.sleep(LOOK_PAUSE_S)

    async def changed(self, name: NodeName, known: Task) -> None:
        """Wait until the task is not what the caller knows, or its job was forgotten; one waiter a task."""
        job = self._replica.state.jobs.get(self._job)
        if job is None or job.tasks.get(name) is not known:
            return
        event = asyncio.Event()
        self._waiting[name] = known, event
        try:
            await event.wait()
        finally:
            del self._waiting[name]
