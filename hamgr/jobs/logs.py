"""What attempts printed, read from the nodes: backlog and follow, the same on every replica.

1. The node is where an attempt's output is kept until the log has acknowledged its result, so any replica
   can answer, and a leader change loses and repeats nothing: a line's cursor is (attempt, offset).
2. When a node cannot be read, the tail that the replicated state keeps is given instead, and says so.
3. Bounded: one chunk per node in flight, whoever reads slowly.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from backends.ports import AttemptKey, BackendError, NodeExecutor
from hamgr.jobs.worker import host_of, node_job
from hamgr.raft.port import Replica
from statemachine import plans
from statemachine.model import Result, State, Task
from statemachine.words import TASK_ENDED, JobId, JobKind, NodeName

CHUNK_BYTES_MAX = 64 * 1024
QUEUE_CHUNKS_MAX = 64
FOLLOW_PAUSE_S = 0.5
"""Before a node whose log could not be followed is asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A piece of one attempt's output.

    Attributes:
        offset: Where `data` begins in the attempt's output.
        note: Why this is not the node's own copy; empty when it is.
    """

    node: NodeName
    step: str
    attempt: int
    offset: int
    data: bytes
    note: str = ""


class NodeLogs:
    """Reads the logs of a job's tasks."""

    def __init__(self, *, replica: Replica, executor: NodeExecutor) -> None:
        self._replica = replica
        self._executor = executor

    async def follow(self, job: JobId, node: NodeName | None, *, follow: bool) -> AsyncIterator[LogLine]:
        """Yield what the job's attempts printed, node by node in order; with `follow`, until it ends."""
        tasks = self._replica.state.jobs[job].tasks
        names = [name for name in tasks if node is None or name == node]
        if self._replica.state.jobs[job].kind is JobKind.DISCOVER:
            return
        queue: asyncio.Queue[LogLine | None] = asyncio.Queue(QUEUE_CHUNKS_MAX)

        async def feed(name: NodeName) -> None:
            async for line in self._task(job, name, follow=follow):
                await queue.put(line)
            await queue.put(None)

        async with asyncio.TaskGroup() as group:
            feeds = [group.create_task(feed(name)) for name in names]
            try:
                left = len(feeds)
                while left:
                    line = await queue.get()
                    if line is None:
                        left -= 1
                    else:
                        yield line
            finally:
                for task in feeds:
                    task.cancel()

    async def _task(self, job: JobId, name: NodeName, *, follow: bool) -> AsyncIterator[LogLine]:
        read: dict[tuple[str, int], int] = {}
        ended: set[tuple[str, int]] = set()
        while True:
            version = self._replica.version
            state = self._replica.state
            if job not in state.jobs:
                return
            task = state.jobs[job].tasks[name]
            for result in task.results:
                attempt = (result.step, result.attempt)
                if attempt not in ended:
                    ended.add(attempt)
                    async for line in self._ended(state, job, name, result, offset=read.get(attempt, 0)):
                        yield line
            if task.state in TASK_ENDED or not follow:
                return
            running = _running(state, job, task)
            if running is not None and running not in read:
                read[running] = 0
                async for line in self._live(job, name, running):
                    read[running] = line.offset + len(line.data)
                    yield line
            await self._replica.changed(version)

    async def _ended(
        self, state: State, job: JobId, name: NodeName, result: Result, *, offset: int
    ) -> AsyncIterator[LogLine]:
        key = AttemptKey(job=node_job(state, job), step=result.step, attempt=result.attempt)
        try:
            while True:
                chunk = await self._executor.read_log(
                    host_of(state.nodes[name]), key, offset=offset, bytes_max=CHUNK_BYTES_MAX
                )
                if not chunk.data:
                    return
                yield _line(name, key, chunk.offset, chunk.data)
                offset = chunk.offset + len(chunk.data)
        except (BackendError, KeyError) as error:
            if result.output_tail and not offset:
                note = f"the last part only, since the node's copy cannot be read: {error}"
                yield _line(name, key, 0, result.output_tail.encode(), note=note)

    async def _live(self, job: JobId, name: NodeName, attempt: tuple[str, int]) -> AsyncIterator[LogLine]:
        """Follow a running attempt; what trouble leaves out is read when its result is there."""
        state = self._replica.state
        key = AttemptKey(job=node_job(state, job), step=attempt[0], attempt=attempt[1])
        offset = 0
        while True:
            try:
                async for chunk in self._executor.follow(host_of(state.nodes[name]), key, offset=offset):
                    if chunk.data:
                        yield _line(name, key, chunk.offset, chunk.data)
                        offset = chunk.offset + len(chunk.data)
            except BackendError:
                state = self._replica.state
                if job not in state.jobs or _running(state, job, state.jobs[job].tasks[name]) != attempt:
                    return
                await asyncio.sleep(FOLLOW_PAUSE_S)
            else:
                return


def _running(state: State, job: JobId, task: Task) -> tuple[str, int] | None:
    planned = plans.owed_step(state, state.jobs[job], task)
    if planned is None or task.launched_at is None or task.state in TASK_ENDED:
        return None
    return plans.result_key(planned, task), task.attempt


def _line(name: NodeName, key: AttemptKey, offset: int, data: bytes, note: str = "") -> LogLine:
    return LogLine(node=name, step=key.step, attempt=key.attempt, offset=offset, data=data, note=note)
