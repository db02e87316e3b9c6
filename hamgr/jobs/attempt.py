"""One attempt of one step on one node, from its announcement to its recorded end (DESIGN 5).

1. An attempt is announced in the log before the node hears of it, and launched at most once: the runner
   adopts an attempt that it knows.
2. Connection trouble ends nothing: the same attempt is asked for again, until `unreachable_deadline_s`
   has passed without an answer, counted from the node's last byte where the executor knows when that was.
   Then, and only then, it is recorded as unreachable.
3. The step's time-out counts from the announcement, across leaders. What runs longer is killed on the
   node first and recorded afterwards.
4. An attempt that was announced is adopted even where its script would be another one today, or none (the
   variables changed under it): what counts is what the node has.
5. While a step restarts the machine, silence and confusion of the node are what was asked for, until the
   step's time-out is over; nothing is told of it before.
6. What is recorded as cancelled or timed out never begins afterwards: when the node does not know the attempt
   and an order to start it may still be on its way, nothing is recorded before a newer epoch is on the node.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from backends.ports import (
    AttemptKey,
    AttemptState,
    AttemptStatus,
    BackendError,
    CommandFailed,
    Host,
    Look,
    NodeBusy,
    NodeExecutor,
    Refused,
    ScriptMismatch,
    TimedOut,
    Unreachable,
)
from hamgr.clock import Clock
from statemachine.jobs.work import StepDue
from statemachine.model import OUTPUT_TAIL_BYTES_MAX, Result
from statemachine.words import Ending

T = TypeVar("T")

WAIT_S_MAX = 30.0
"""How long one call waits for an attempt before it looks again."""
WATCH_PAUSE_S = 0.5
RETRY_PAUSE_S_MIN = 0.2
RETRY_PAUSE_S_MAX = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSettings:
    """Bounds of dealing with one node.

    Attributes:
        unreachable_deadline_s: For how long a node may be silent before the task gives up on it.
        busy_deadline_s: For how long a process that an earlier step left behind is waited for.
    """

    unreachable_deadline_s: float = 60.0
    busy_deadline_s: float = 30.0


class GaveUp(Exception):
    """The node did not let itself be worked on; how the attempt has to be recorded, and why."""

    def __init__(self, ending: Ending, error: str) -> None:
        super().__init__(error)
        self.ending = ending
        self.error = error


class OrderUnderWay(Exception):
    """An order to start may still reach the node; only the fence of a newer claim makes it come too late."""


class NodeCalls:
    """Calls to one node under one claim, repeated through connection trouble.

    `host` is asked anew for each try, so that a node that was discovered at another address is followed.
    """

    def __init__(
        self,
        *,
        executor: NodeExecutor,
        host: Callable[[], Host],
        epoch: int,
        job: str,
        settings: AttemptSettings,
    ) -> None:
        self._executor = executor
        self._host = host
        self._epoch = epoch
        self._job = job
        self._settings = settings
        self._away_until_s = 0.0

    def expect_restart(self, due: StepDue, now: float) -> None:
        """Bear with a node that `due` restarts for what is left of its time-out; with any other as ever.

        Args:
            now: In Unix seconds, by the clock that announces attempts.
        """
        timeout_s = due.step.spec.timeout_s
        left_s = timeout_s if due.launched_at is None else due.launched_at + timeout_s - now
        # Another replica's clock may have announced it: never bear it longer than the step may take.
        left_s = min(left_s, timeout_s) if due.step.spec.reboot else 0.0
        self._away_until_s = asyncio.get_running_loop().time() + left_s

    async def fence(self) -> None:
        """Make the node refuse older epochs, durably."""
        await self._persist(lambda: self._executor.fence(self._host(), self._epoch, job=self._job))

    async def run(self, due: StepDue, script: bytes, wait_s: float) -> AttemptStatus:
        """Start or adopt the attempt and wait for its end, `wait_s` at most.

        Raises:
            ScriptMismatch: It was started already, with another script.
        """
        key = self.key(due)
        return await self._persist(
            lambda: self._executor.run(self._host(), self._epoch, key, script, wait_s=wait_s)
        )

    async def watch(self, due: StepDue, wait_s: float) -> AttemptStatus:
        """Wait for the end of an attempt that was started with another script; `ABSENT` when none was."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + wait_s
        key = self.key(due)
        while True:
            status = await self._persist(lambda: self._executor.status(self._host(), self._epoch, key))
            if status.state is not AttemptState.RUNNING or loop.time() >= give_up_at:
                break
            await asyncio.sleep(WATCH_PAUSE_S)
        if status.state not in (AttemptState.DONE, AttemptState.LOST):
            return status
        tail = await self._persist(
            lambda: self._executor.read_log(
                self._host(),
                key,
                offset=max(0, status.output_bytes - OUTPUT_TAIL_BYTES_MAX),
                bytes_max=OUTPUT_TAIL_BYTES_MAX,
            )
        )
        return replace(status, output=tail.data)

    async def look(self, script: bytes, *, deadline: float, output_bytes_max: int) -> Look | None:
        """Run a script that only looks; None when it has not ended at `deadline`, on the loop's clock."""
        now = asyncio.get_running_loop().time

        async def once() -> Look | None:
            try:
                return await self._executor.look(
                    self._host(),
                    script,
                    timeout_s=max(deadline - now(), 0.0),
                    output_bytes_max=output_bytes_max,
                )
            except TimedOut:
                if now() + RETRY_PAUSE_S_MIN < deadline:
                    raise
                return None

        return await self._persist(once)

    async def kill(self, due: StepDue) -> AttemptStatus:
        """Kill the attempt's processes and say what is left."""
        return await self._persist(lambda: self._executor.kill(self._host(), self._epoch, self.key(due)))

    def key(self, due: StepDue) -> AttemptKey:
        return AttemptKey(job=self._job, step=due.key, attempt=due.attempt)

    async def _persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat `call` until it answers; raise `GaveUp` when it cannot, `StaleEpoch` when we are fenced.

        Time counts from the first failure, less the silence before it: a call may have waited long for a step
        on a node that was well.
        """
        loop = asyncio.get_running_loop()
        began_s: float | None = None
        pause_s = RETRY_PAUSE_S_MIN
        while True:
            try:
                return await call()
            except (Unreachable, TimedOut) as error:
                last: BackendError = error
                ending, deadline_s = Ending.UNREACHABLE, self._settings.unreachable_deadline_s
            except NodeBusy as error:
                last = error
                ending, deadline_s = Ending.REFUSED, self._settings.busy_deadline_s
            except (Refused, CommandFailed) as error:
                if loop.time() + pause_s > self._away_until_s:
                    raise GaveUp(Ending.REFUSED, error.message) from error
                last = error
                ending, deadline_s = Ending.REFUSED, 0.0
            began_s = loop.time() - last.silent_s if began_s is None else began_s
            if loop.time() + pause_s > max(began_s + deadline_s, self._away_until_s):
                raise GaveUp(ending, last.message) from last
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_PAUSE_S_MAX)


class Attempt:
    """Runs one owed attempt; the caller has claimed the task and fenced the node."""

    def __init__(self, *, calls: NodeCalls, clock: Clock, stopping: asyncio.Event) -> None:
        self._calls = calls
        self._clock = clock
        self._stopping = stopping
        self._sent = False
        self._other_script = False

    async def finish(self, due: StepDue, script: bytes | None, launched_at: float) -> Result:
        """Run the announced attempt to its end, and return what is to be recorded.

        Args:
            script: None when it cannot be prepared any more; then it is adopted, but not started.
            launched_at: When it was announced, in Unix seconds.

        Raises:
            OrderUnderWay: It has to end and the node has not heard of it yet: claim anew, then ask again.
            GaveUp, StaleEpoch: The node could not be worked on.
        """
        loop = asyncio.get_running_loop()
        timeout_s, first_left_s = time_left(due, launched_at, self._clock)
        deadline = loop.time() + first_left_s
        while True:
            left_s = deadline - loop.time()
            if left_s <= 0:
                return await self._end(due, Ending.TIMED_OUT, f"ran longer than {timeout_s:g} s")
            status = await self._run_or_stop(due, script, min(left_s, WAIT_S_MAX))
            if status is None:
                return await self._end(due, Ending.CANCELLED, "an operator cancelled the job")
            if status.state is AttemptState.DONE:
                return result_of(due, status)
            if status.state is AttemptState.ABSENT:
                return Result(
                    step=due.key,
                    attempt=due.attempt,
                    ending=Ending.NOT_RUN,
                    error="it was announced, never started, and cannot be prepared any more",
                )
            if status.state is AttemptState.LOST:
                return Result(
                    step=due.key,
                    attempt=due.attempt,
                    ending=Ending.LOST,
                    error=status.reason,
                    output_tail=_text(status.output),
                )

    async def _run_or_stop(self, due: StepDue, script: bytes | None, wait_s: float) -> AttemptStatus | None:
        """Run the attempt for a while; None as soon as an operator wants it to stop."""
        if self._stopping.is_set():
            return None
        return await unless(self._stopping, self._run(due, script, wait_s))

    async def _run(self, due: StepDue, script: bytes | None, wait_s: float) -> AttemptStatus:
        if script is not None and not self._other_script:
            self._sent = True
            try:
                return await self._calls.run(due, script, wait_s)
            except ScriptMismatch:
                self._other_script = True
        return await self._calls.watch(due, wait_s)

    async def _end(self, due: StepDue, ending: Ending, error: str) -> Result:
        """Kill the attempt; one that had ended by itself in the meantime is recorded as it ended."""
        before = await self._calls.kill(due)
        if before.state is AttemptState.DONE and before.exit_code == 0:
            return result_of(due, before)
        if before.state is AttemptState.ABSENT and self._sent:
            raise OrderUnderWay
        return Result(
            step=due.key, attempt=due.attempt, ending=ending, error=error, output_tail=_text(before.output)
        )


async def unless(stopping: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what `work` does; None, and `work` cancelled, where `stopping` is set before it has ended."""
    running = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return await running if running.done() else None
    finally:
        running.cancel()
        stopped.cancel()
        await asyncio.gather(running, stopped, return_exceptions=True)


def time_left(due: StepDue, launched_at: float, clock: Clock) -> tuple[float, float]:
    """Return how long an announced attempt may take, and how much of that is left, in seconds.

    Another replica's clock may have announced it: no more is left than it may take, however wrong that was.
    """
    timeout_s = due.step.spec.timeout_s
    if due.deadline_at is not None:
        timeout_s = max(min(timeout_s, due.deadline_at - launched_at), 0.0)
    return timeout_s, min(launched_at + timeout_s - clock.now(), timeout_s)


def ended(due: StepDue, ending: Ending, error: str) -> Result:
    """Return the result of an attempt that did not end by itself."""
    return Result(step=due.key, attempt=due.attempt, ending=ending, error=error)


def result_of(due: StepDue, status: AttemptStatus) -> Result:
    """Return the result of an attempt that ended by itself."""
    text = _text(status.output)
    lines = text.rstrip().rsplit("\n", 1)
    changed = {"hamgr: changed": True, "hamgr: unchanged": False}.get(lines[-1].strip())
    return Result(
        step=due.key,
        attempt=due.attempt,
        ending=Ending.EXITED,
        exit_code=status.exit_code,
        changed=changed,
        output_tail=text,
    )


def _text(output: bytes) -> str:
    """Return the end of an output as text that any log can carry."""
    text = output[-OUTPUT_TAIL_BYTES_MAX:].decode(errors="replace")
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
