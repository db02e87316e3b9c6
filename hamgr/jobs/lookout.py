"""Looks at the nodes of a job that nobody has begun: what would each step change there?

1. Nothing is changed, locked or stored on a node, and a node that cannot be looked at is an answer, no error.
2. Bounded: `NODES_AT_ONCE` looks at a time for all callers, `NODE_TIMEOUT_S` for a node, a deadline for a
   plan, `STEP_BYTES_MAX` of output for a step and `DIFFS_BYTES_MAX` for all of a plan. What falls outside of
   a bound is said to.
3. All steps of a node are one look; only where its output is too long are they looked at one by one.
4. What a step before would change is not there yet: each step is held against the node as it is now.
"""

import asyncio
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from backends.ports import BackendError, Look, NodeExecutor, TimedOut
from hamgr.jobs.scripts import CannotPrepare
from hamgr.jobs.sights import STEP_BYTES_MAX, NodeSeen, Seen, Verdict, note_of, read_look, with_handlers
from hamgr.jobs.worker import host_of
from hamgr.logs.concealed import secret_values
from hamgr.logs.masking import Mask
from statemachine import phases
from statemachine.model import Job, Node, State
from statemachine.phases import PROOFS, PlannedStep
from statemachine.words import NodeName, Presence

NODES_AT_ONCE = 64
NODE_TIMEOUT_S = 20.0
NODE_BYTES_MAX = 4 * STEP_BYTES_MAX
DIFFS_BYTES_MAX = 8 * 1024 * 1024
_MARK_BYTES = 16


class Previews(Protocol):
    """Where read-only forms of steps come from."""

    async def previews(
        self, state: State, job: Job, node: Node, steps: Sequence[PlannedStep]
    ) -> list[bytes | CannotPrepare]:
        """Return for each step the script that prints what it would change, and then its verdict (`sights`).

        Where a step could not be begun either, there is the reason in its place.
        """


@dataclass(slots=True)
class _Budget:
    """What is left for diffs; equal ones are kept, and counted, once."""

    left: int
    known: dict[str, str] = field(default_factory=dict)

    def keep(self, seen: Seen) -> Seen:
        if not seen.diff:
            return seen
        if seen.diff not in self.known:
            if len(seen.diff) > self.left:
                note = "its diff is left out, since the plan has too many; plan for fewer nodes"
                return replace(seen, diff="", note=note)
            self.left -= len(seen.diff)
            self.known[seen.diff] = seen.diff
        return replace(seen, diff=self.known[seen.diff])


class Lookout:
    """Looks at nodes through an executor."""

    def __init__(self, *, executor: NodeExecutor, previews: Previews) -> None:
        self._executor = executor
        self._previews = previews
        self._places = asyncio.Semaphore(NODES_AT_ONCE)

    async def look(
        self, state: State, job: Job, *, timeout_s: float, looked: Callable[[], None] = lambda: None
    ) -> list[NodeSeen]:
        """Return what `job` would do, node by node in its order.

        Args:
            state: As it would be with the job, which has not begun.
            timeout_s: Nodes that were not looked at by then are told as such.
            looked: Called after each node.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        budget = _Budget(left=DIFFS_BYTES_MAX)

        async def one(name: NodeName) -> NodeSeen:
            async with self._places:
                seen = await self._node(state, job, state.nodes[name], deadline)
            looked()
            return replace(seen, steps=tuple(budget.keep(step) for step in seen.steps))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(name)) for name in job.tasks]
        return [task.result() for task in tasks]

    async def _node(self, state: State, job: Job, node: Node, deadline: float) -> NodeSeen:
        work: list[PlannedStep] = []
        found: dict[str, Seen] = {}
        for phase in phases.way(job):
            for step in phases.steps(state, job, node, phase):
                found[step.key] = Seen(
                    step=step, verdict=Verdict.UNKNOWN, proof=phase in PROOFS, note="it was not looked at"
                )
                if phase in PROOFS:
                    found[step.key] = replace(found[step.key], note="")
                elif not step.spec.handler:
                    work.append(step)
        error = ""
        mask = Mask(secret_values(state, node, job))
        scripts: list[tuple[PlannedStep, bytes]] = []
        for step, script in zip(work, await self._previews.previews(state, job, node, work), strict=True):
            if isinstance(script, bytes):
                scripts.append((step, script))
            else:
                note = note_of(mask.text(f"it cannot be prepared: {script}"))
                found[step.key] = replace(found[step.key], note=note, broken=True)
        if node.presence is Presence.UNREACHABLE:
            error = note_of(f"could not look: it is unreachable: {node.presence_reason or 'no answer'}")
        elif scripts:
            try:
                for seen in await self._looks(node, scripts, mask, deadline):
                    found[seen.step.key] = seen
            except BackendError as failure:
                error = note_of(f"could not look: {failure.message}")
        return NodeSeen(node=node.name, steps=tuple(with_handlers(tuple(found.values()))), error=error)

    async def _looks(
        self, node: Node, scripts: Sequence[tuple[PlannedStep, bytes]], mask: Mask, deadline: float
    ) -> list[Seen]:
        mark = secrets.token_hex(_MARK_BYTES).encode()
        together = b"".join(_part(script, mark) for _, script in scripts)
        look = await self._ask(node, together, NODE_BYTES_MAX, deadline)
        parts = re.split(rb"\n%b ([0-9]+)\n" % mark, look.output)
        if not look.truncated and len(parts) == 2 * len(scripts) + 1:
            pairs = zip(scripts, parts[0::2], parts[1::2], strict=False)
            return [
                read_look(step, Look(exit_code=int(code), output=output), mask)
                for (step, _), output, code in pairs
            ]
        return [
            read_look(step, await self._ask(node, script, STEP_BYTES_MAX, deadline), mask)
            for step, script in scripts
        ]

    async def _ask(self, node: Node, script: bytes, bytes_max: int, deadline: float) -> Look:
        left_s = deadline - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise TimedOut(node.name, "there was no time left for it; plan for fewer nodes at once")
        timeout_s = min(left_s, NODE_TIMEOUT_S)
        return await self._executor.look(
            host_of(node), script, timeout_s=timeout_s, output_bytes_max=bytes_max
        )


def _part(script: bytes, mark: bytes) -> bytes:
    """Return one of several scripts: it ends alone, and its exit status follows its output."""
    return b"(\n%b\n) </dev/null 2>&1\nprintf '\\n%%s %%s\\n' %b $?\n" % (script, mark)
