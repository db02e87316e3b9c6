"""Stand-ins for what the API asks besides the replica: logs, looks at nodes, and nodes themselves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from backends.ports import BackendError, Host, Look
from hamgr.jobs.sights import NodeSeen, Seen, Verdict
from hamgr.logs.asking import Cursor, LogQuery
from hamgr.logs.figures import LogFigures
from hamgr.logs.pieces import Attempt
from statemachine import phases
from statemachine.model import Job, State
from statemachine.words import NodeName


@dataclass
class Line:
    node: str
    step: str
    attempt: int
    offset: int
    data: bytes
    note: str = ""
    skipped_bytes: int = 0

    @property
    def end(self) -> Cursor:
        offset = self.offset + len(self.data) + self.skipped_bytes
        return Cursor(step=self.step, attempt=self.attempt, offset=offset)


@dataclass
class FakeLogs:
    lines: list[Line] = field(default_factory=list)
    asked: int = 0
    hold: asyncio.Event | None = None
    records: dict[Attempt, bytes] = field(default_factory=dict)
    figures: LogFigures = field(default_factory=LogFigures)
    since: Cursor | None = None

    async def follow(self, job: str, query: LogQuery) -> AsyncIterator[Line]:
        self.asked += 1
        self.since = query.since
        for line in self.lines:
            if query.node in (None, line.node) and query.wants(line.step, line.attempt):
                yield line
        if query.follow and self.hold is not None:
            await self.hold.wait()

    async def stored(self, wanted: Sequence[Attempt]) -> bytes:
        return b"".join(self.records[attempt] for attempt in wanted if attempt in self.records)


class FakeLookout:
    """Looks that see what a test wants: verdict and diff of the work steps, by node or for all (`*`)."""

    def __init__(self) -> None:
        self.sees: dict[str, tuple[Verdict, str]] = {}
        self.errors: dict[str, str] = {}
        self.meanwhile: Callable[[], None] = lambda: None
        self.timeouts_s: list[float] = []
        self.hold: asyncio.Event | None = None
        self.cancelled = asyncio.Event()

    async def look(
        self, state: State, job: Job, *, timeout_s: float, looked: Callable[[], None]
    ) -> list[NodeSeen]:
        self.meanwhile()
        self.timeouts_s.append(timeout_s)
        seen = []
        try:
            for name in job.tasks:
                seen.append(self._node(state, job, name))
                looked()
                if self.hold is not None:
                    await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return seen

    def _node(self, state: State, job: Job, name: NodeName) -> NodeSeen:
        verdict, diff = self.sees.get(name) or self.sees.get("*") or (Verdict.WOULD_CHANGE, "")
        error = self.errors.get(name, "")
        steps = [
            Seen(step=step, verdict=Verdict.UNKNOWN, proof=True)
            if phase in phases.PROOFS
            else Seen(step=step, verdict=Verdict.UNKNOWN if error else verdict, diff="" if error else diff)
            for phase in phases.way(job)
            for step in phases.steps(state, job, state.nodes[name], phase)
        ]
        return NodeSeen(node=name, steps=tuple(steps), error=error)


class FakeNodes:
    """Nodes that answer a command as a test wants; all are well and say who they are."""

    def __init__(self) -> None:
        self.answers: dict[str, Look | BackendError] = {}
        self.asked: list[tuple[str, bytes, bool]] = []
        self.hold: asyncio.Event | None = None

    async def look(
        self, host: Host, script: bytes, *, timeout_s: float, output_bytes_max: int, once: bool = False
    ) -> Look:
        self.asked.append((host.name, script, once))
        answer = self.answers.get(host.name) or Look(exit_code=0, output=f"I am {host.name}\n".encode())
        if self.hold is not None and host.name not in self.answers:
            await self.hold.wait()
        if isinstance(answer, BackendError):
            raise answer
        return answer
