"""A check of a job that only verifies, made by a look: no fence, no supervisor, nothing stored on the node.

1. It is announced and recorded like any attempt, under the task's claim: what a deposed leader saw is refused
   by the log. On the node it is asked again through lost connections, and two leaders may ask at once; it
   changes nothing there.
2. What it prints is whole in its result. Where that has no room for it, the step is run by the runner, which
   keeps it for the log; unless so much of its time is over already that it might not end again.
3. An attempt that an earlier leader announced is left to the runner, which knows whether it is there.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from backends.ports import OUTPUT_BYTES_MAX, AttemptState, AttemptStatus, Look
from hamgr.clock import Clock
from hamgr.jobs.attempt import NodeCalls, ended, result_of, time_left, unless
from hamgr.logs.whole import whole_in_state
from statemachine import phases
from statemachine.jobs.work import StepDue
from statemachine.model import Job, Result
from statemachine.words import Ending, JobKind, NodeName

CUT_OFF = 128 + 13
"""What ends a check that prints without end: nobody reads it any more (SIGPIPE)."""


def suffices(job: Job, node: NodeName, due: StepDue) -> bool:
    """Say whether a look is enough for the owed attempt."""
    return phases.kind_of(job, node) is JobKind.VERIFY and due.step.spec.check and due.launched_at is None


class Glance:
    """Makes announced checks on one node; `conceal` takes secrets out of what they print."""

    def __init__(
        self,
        *,
        calls: NodeCalls,
        clock: Clock,
        stopping: asyncio.Event,
        epoch: int,
        conceal: Callable[[str], str],
    ) -> None:
        self._calls = calls
        self._clock = clock
        self._stopping = stopping
        self._epoch = epoch
        self._conceal = conceal

    async def finish(self, due: StepDue, script: bytes, launched_at: float) -> Result | None:
        """Look, and return what is to be recorded; None where the runner has to run the step.

        Args:
            launched_at: When it was announced, in Unix seconds.

        Raises:
            GaveUp: The node could not be worked on.
        """
        loop = asyncio.get_running_loop()
        timeout_s, left_s = time_left(due, launched_at, self._clock)
        began, deadline = loop.time(), loop.time() + left_s
        script = self._named(due) + script
        looking = self._calls.look(script, deadline=deadline, output_bytes_max=OUTPUT_BYTES_MAX)
        look = await unless(self._stopping, looking)
        if look is None and self._stopping.is_set():
            return ended(due, Ending.CANCELLED, "an operator cancelled the job")
        if look is None:
            return ended(due, Ending.TIMED_OUT, f"ran longer than {timeout_s:g} s")
        result = self._result(due, look)
        took_s = loop.time() - began
        if look.truncated or not whole_in_state(result):
            return None if loop.time() + took_s < deadline else result
        return result

    def _named(self, due: StepDue) -> bytes:
        """Return shell that gives the script the variables of an attempt."""
        key = self._calls.key(due)
        named = {"EPOCH": self._epoch, "JOB": key.job, "STEP": key.step, "ATTEMPT": key.attempt}
        words = " ".join(f"HAMGR_{name}={value}" for name, value in named.items())  # all of plain characters
        return f"export {words}\n".encode()

    def _result(self, due: StepDue, look: Look) -> Result:
        status = AttemptStatus(
            state=AttemptState.DONE,
            exit_code=CUT_OFF if look.exit_code is None else look.exit_code,
            output=self._conceal(look.output.decode(errors="replace")).encode(),
        )
        result = result_of(due, status)
        return replace(result, error="it printed without end") if look.exit_code is None else result
