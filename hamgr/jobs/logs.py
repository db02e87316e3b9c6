"""What attempts printed: backlog and follow, the same on every replica.

1. An output is taken from where it is: the replicated state (short ones are whole there), this replica's
   store, another replica's, the node; the tail that the state keeps is the last resort, and says so.
2. A piece's cursor is (attempt, offset) in the whole output, whichever of them it came from; so a change of
   the leader, of the replica or of the source loses and repeats nothing.
3. Bounded: one chunk per node in flight, whoever reads slowly, and `NODES_AT_ONCE` nodes read for backlogs.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from backends.ports import AttemptKey, BackendError, NodeExecutor
from hamgr.jobs.taskwatch import TaskWatch
from hamgr.jobs.worker import host_of, node_job
from hamgr.logs.asking import LogLine, LogQuery
from hamgr.logs.figures import LogFigures
from hamgr.logs.pieces import Attempt, Kept
from hamgr.logs.whole import whole_in_state
from hamgr.raft.port import Replica
from statemachine import phases
from statemachine.model import Result, State, Task
from statemachine.words import TASK_ENDED, JobId, JobKind, NodeName

CHUNK_BYTES_MAX = 64 * 1024
QUEUE_CHUNKS_MAX = 64
FOLLOW_PAUSE_S = 0.5
"""Before a node whose log could not be followed is asked again."""
NODES_AT_ONCE = 16

AttemptId = tuple[str, int]


class KeptLogs(Protocol):
    """What replicas have stored; see `hamgr.logs.keeper`."""

    @property
    def figures(self) -> LogFigures: ...

    async def find(self, attempt: Attempt) -> Kept | None: ...

    async def stored(self, wanted: Sequence[Attempt]) -> bytes: ...


class NodeLogs:
    """Reads the logs of a job's tasks."""

    def __init__(self, *, replica: Replica, executor: NodeExecutor, kept: KeptLogs) -> None:
        self._replica = replica
        self._executor = executor
        self._kept = kept
        self._reading = asyncio.Semaphore(NODES_AT_ONCE)

    @property
    def figures(self) -> LogFigures:
        """What there is to measure of the stored logs."""
        return self._kept.figures

    async def stored(self, wanted: Sequence[Attempt]) -> bytes:
        """Return the records that this replica has of `wanted`, for another replica."""
        return await self._kept.stored(wanted)

    async def follow(self, job: JobId, query: LogQuery) -> AsyncIterator[LogLine]:
        """Yield what the job's attempts printed, node by node in order; with `follow`, until it ends."""
        found = self._replica.state.jobs[job]
        names = [name for name in found.tasks if query.node in (None, name)]
        if found.kind is JobKind.DISCOVER:
            return
        queue: asyncio.Queue[LogLine | None] = asyncio.Queue(QUEUE_CHUNKS_MAX)
        watch = TaskWatch(self._replica, job)

        async def feed(name: NodeName) -> None:
            async for line in _TaskLog(self, job, name, query, watch).lines():
                await queue.put(line)
            await queue.put(None)

        async with asyncio.TaskGroup() as group:
            feeds = [group.create_task(feed(name)) for name in names]
            feeds.append(group.create_task(watch.run()))
            try:
                left = len(names)
                while left:
                    line = await queue.get()
                    if line is None:
                        left -= 1
                    else:
                        yield line
            finally:
                for task in feeds:
                    task.cancel()

    async def ended(self, job: JobId, name: NodeName, result: Result, offset: int) -> AsyncIterator[LogLine]:
        """Yield the output of an attempt whose result is recorded, from `offset` on."""
        if whole_in_state(result):
            data = result.output_tail.encode()[offset:]
            if data:
                yield _line(name, result.step, result.attempt, offset, data)
            return
        state = self._replica.state
        kept = await self._kept.find(Attempt(node_job(state, job), name, result.step, result.attempt))
        if kept is not None and not kept.note:
            for part in kept.parts(offset, bytes_max=CHUNK_BYTES_MAX):
                gap = part.skipped_bytes
                yield LogLine(
                    node=name,
                    step=result.step,
                    attempt=result.attempt,
                    offset=part.offset,
                    data=part.data,
                    skipped_bytes=gap,
                    note=f"{gap} bytes are left out here: the output was too long to be kept" if gap else "",
                )
            return
        async for line in self._from_node(state, job, name, result, offset):
            yield line

    async def _from_node(
        self, state: State, job: JobId, name: NodeName, result: Result, offset: int
    ) -> AsyncIterator[LogLine]:
        key = AttemptKey(job=node_job(state, job), step=result.step, attempt=result.attempt)
        try:
            while True:
                async with self._reading:
                    chunk = await self._executor.read_log(
                        host_of(state.nodes[name]), key, offset=offset, bytes_max=CHUNK_BYTES_MAX
                    )
                if not chunk.data:
                    return
                yield _line(name, key.step, key.attempt, chunk.offset, chunk.data)
                offset = chunk.offset + len(chunk.data)
        except (BackendError, KeyError) as error:
            if result.output_tail and not offset:
                note = f"the last part only, since it is not stored and the node cannot be read: {error}"
                yield _line(name, key.step, key.attempt, 0, result.output_tail.encode(), note)

    async def live(
        self, job: JobId, name: NodeName, attempt: AttemptId, offset: int
    ) -> AsyncIterator[LogLine]:
        """Follow a running attempt; what trouble leaves out is read when its result is there."""
        state = self._replica.state
        key = AttemptKey(job=node_job(state, job), step=attempt[0], attempt=attempt[1])
        while True:
            try:
                async for chunk in self._executor.follow(host_of(state.nodes[name]), key, offset=offset):
                    if chunk.data:
                        yield _line(name, key.step, key.attempt, chunk.offset, chunk.data)
                        offset = chunk.offset + len(chunk.data)
            except (BackendError, KeyError):
                state = self._replica.state
                if job not in state.jobs or running(state, job, state.jobs[job].tasks[name]) != attempt:
                    return
                await asyncio.sleep(FOLLOW_PAUSE_S)
            else:
                return

    def task(self, job: JobId, name: NodeName) -> tuple[State, Task] | None:
        """Return a task as it is now; None when its job was forgotten."""
        state = self._replica.state
        return (state, state.jobs[job].tasks[name]) if job in state.jobs else None


class _TaskLog:
    """One node's part of a log, as it is told to one reader."""

    def __init__(self, logs: NodeLogs, job: JobId, name: NodeName, query: LogQuery, watch: TaskWatch) -> None:
        self._logs = logs
        self._job = job
        self._name = name
        self._query = query
        self._watch = watch
        self._read: dict[AttemptId, int] = {}
        self._over: set[AttemptId] = set()
        self._followed: set[AttemptId] = set()

    async def lines(self) -> AsyncIterator[LogLine]:
        self._resume()
        while (found := self._logs.task(self._job, self._name)) is not None:
            state, task = found
            for result in task.results:
                attempt = (result.step, result.attempt)
                if attempt in self._over or not self._query.wants(*attempt):
                    continue
                self._over.add(attempt)
                async for line in self._logs.ended(self._job, self._name, result, self._read.pop(attempt, 0)):
                    yield line
            if task.state in TASK_ENDED or not self._query.follow:
                return
            now = running(state, self._job, task)
            if now is not None and now not in self._followed and self._query.wants(*now):
                self._followed.add(now)
                async for line in self._logs.live(self._job, self._name, now, self._read.get(now, 0)):
                    self._read[now] = line.offset + len(line.data)
                    yield line
            await self._watch.changed(self._name, task)

    def _resume(self) -> None:
        """Pass over what the reader has; where its cursor is not known any more, begin at the beginning."""
        since, found = self._query.since, self._logs.task(self._job, self._name)
        if since is None or found is None:
            return
        state, task = found
        place = (since.step, since.attempt)
        known = [(result.step, result.attempt) for result in task.results]
        if place not in known and place != running(state, self._job, task):
            return
        self._over.update(known[: known.index(place)] if place in known else known)
        self._read[place] = since.offset


def running(state: State, job: JobId, task: Task) -> AttemptId | None:
    """Return the attempt of `task` that may be running now."""
    planned = phases.owed_step(state, state.jobs[job], task)
    if planned is None or task.launched_at is None or task.state in TASK_ENDED:
        return None
    return phases.result_key(planned, task), task.attempt


def _line(name: NodeName, step: str, attempt: int, offset: int, data: bytes, note: str = "") -> LogLine:
    return LogLine(node=name, step=step, attempt=attempt, offset=offset, data=data, note=note)
