"""One command on many nodes, now, outside of any job.

1. The command is sent to a node once. When its answer is lost, or does not come in time, its end is told as
   unknown, and nobody sends it again.
2. Nothing is locked and nothing stored on the node; a job may be at work there at the same time.
3. Bounded: `NODES_AT_ONCE` nodes at a time for all callers, output and time as the caller says. timeout(1)
   ends on the node what runs too long, even when nobody listens any more.
4. Secrets of the node's bundles are masked in what a caller gets.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass

from backends.ports import LOOK_TAIL_BYTES, BackendError, Look, NodeExecutor, TimedOut
from hamgr.jobs.worker import host_of
from hamgr.logs.concealed import Masks
from hamgr.logs.masking import Mask
from statemachine.model import State
from statemachine.words import JobId, NodeName

NODES_AT_ONCE = 256
TOGETHER_BYTES_MAX = 256 * 1024
"""No further answer is told together with others that have so much."""
NO_JOB = JobId("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What became of the command on one node.

    Attributes:
        exit_code: None when there was none, or nobody knows it.
        output: Both streams; `truncated`: a part in the middle is left out.
        error: Why there is no exit code; empty when there is one.
        unknown: It may have run, to its end or not.
        seconds: From when its turn came.
    """

    node: NodeName
    exit_code: int | None = None
    output: bytes = b""
    truncated: bool = False
    error: str = ""
    unknown: bool = False
    seconds: float = 0.0


class Adhoc:
    """Runs commands through an executor."""

    def __init__(self, *, executor: NodeExecutor) -> None:
        self._executor = executor
        self._places = asyncio.Semaphore(NODES_AT_ONCE)
        self._masks = Masks()

    async def run(
        self,
        state: State,
        nodes: Sequence[NodeName],
        script: bytes,
        *,
        timeout_s: float,
        output_bytes_max: int,
        at_once: int,
    ) -> AsyncGenerator[list[Ran]]:
        """Yield what became of `script` on the nodes, as they end: those together that ended meanwhile.

        Whoever stops listening has nothing more begun; what runs goes on until its end or `timeout_s`.

        Args:
            at_once: At most so many nodes at a time.
        """
        ended: asyncio.Queue[Ran] = asyncio.Queue()
        left = iter(nodes)

        async def work(left: Iterator[NodeName]) -> None:
            for name in left:
                async with self._places:
                    ended.put_nowait(await self._one(state, name, script, timeout_s, output_bytes_max))

        tasks = [asyncio.create_task(work(left)) for _ in range(min(at_once, len(nodes)))]
        try:
            told = 0
            while told < len(nodes):
                together = [await ended.get()]
                size_bytes = len(together[0].output)
                while not ended.empty() and size_bytes < TOGETHER_BYTES_MAX:
                    together.append(ended.get_nowait())
                    size_bytes += len(together[-1].output)
                told += len(together)
                yield together
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(
        self, state: State, name: NodeName, script: bytes, timeout_s: float, output_bytes_max: int
    ) -> Ran:
        began = time.monotonic()
        try:
            look = await self._executor.look(
                host_of(state.nodes[name]),
                script,
                timeout_s=timeout_s,
                output_bytes_max=output_bytes_max,
                once=True,
            )
        except BackendError as failure:
            unknown = isinstance(failure, TimedOut)
            seconds = time.monotonic() - began
            return Ran(node=name, error=failure.message, unknown=unknown, seconds=seconds)
        mask = self._masks.of(state, name, NO_JOB)
        error = "" if look.exit_code is not None else "it printed without end and was cut off"
        return Ran(
            node=name,
            exit_code=look.exit_code,
            output=_masked(mask, look, output_bytes_max),
            truncated=look.truncated,
            error=error,
            unknown=look.exit_code is None,
            seconds=time.monotonic() - began,
        )


def _masked(mask: Mask, look: Look, output_bytes_max: int) -> bytes:
    if not mask or not look.truncated:
        return mask.apply(look.output)
    seam = output_bytes_max - LOOK_TAIL_BYTES
    head = mask.excerpt(look.output[:seam], cut_before=False, cut_after=True)
    return head + mask.excerpt(look.output[seam:], cut_before=True, cut_after=False)
