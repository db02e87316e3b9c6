"""An event loop whose clock jumps to the next timer as soon as nothing is left to do.

1. No thread, no socket, no real clock: what happens is a function of what was scheduled.
2. A run that can never go on (nothing ready, no timer) and one that never lets time pass raise, rather
   than hang.
"""

import asyncio
import math
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

STEPS_AT_ONE_INSTANT_MAX = 50_000
EPOCH_S = 1_700_000_000.0
"""What wall clocks show when the loop begins."""

T = TypeVar("T")


class Stuck(Exception):
    """Nothing is ready and no timer is set, or time does not pass any more."""


class _Jump:
    """In the place of the selector: instead of waiting, it moves the clock."""

    def __init__(self, loop: "VirtualTimeLoop") -> None:
        self._loop = loop
        self._steps = 0

    def select(self, timeout_s: float | None) -> list[Any]:
        if timeout_s is None:
            raise Stuck("everybody waits for somebody else")
        if timeout_s > 0:
            self._steps = 0
            self._loop.jump()
            return []
        self._steps += 1
        if self._steps > STEPS_AT_ONE_INSTANT_MAX:
            steps, self._steps = self._steps, 0
            raise Stuck(f"{steps} steps at {self._loop.time():.3f} s, and time does not pass")
        return []


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """A loop that begins at 0.0 s and never waits."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._selector = _Jump(self)
        self._clock_resolution = 1e-6  # above what a float can tell apart after years

    def time(self) -> float:
        return self._now_s

    def jump(self) -> None:
        """Move the clock to the next timer."""
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined] # not in typeshed
        self._now_s = max(self._now_s, timers[0].when())

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        """Nobody sleeps in a system call who would have to be woken."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end in a loop of its own, and cancel what it leaves behind."""
    loop = VirtualTimeLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(_cancel_the_rest())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _cancel_the_rest() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@dataclass(slots=True, kw_only=True)
class VirtualClock:
    """A replica's wall clock (`hamgr.clock.Clock`), derived from the loop and wrong by `skew_s`."""

    skew_s: float = 0.0

    def now(self) -> float:
        seconds = EPOCH_S + self.skew_s + asyncio.get_running_loop().time()
        assert math.isfinite(seconds)
        return seconds
