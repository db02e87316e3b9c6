"""Wall time for records that people read; nothing safe ever rests on it."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Return Unix seconds."""


class SystemClock:
    """The machine's own clock, which may be set at any moment."""

    def now(self) -> float:
        return time.time()


class Setting:
    """Tells whether a clock was set: whether it ran otherwise than the event loop's since the last look."""

    SET_S_MIN = 1.0
    """Less is how a clock is disciplined (adjtimex(2))."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_s: float | None = None

    def noticed(self) -> bool:
        """Return whether it was set since the last call; at the first call nobody knows, and it is True."""
        ahead_s = self._clock.now() - asyncio.get_running_loop().time()
        before_s, self._ahead_s = self._ahead_s, ahead_s
        return before_s is None or abs(ahead_s - before_s) >= self.SET_S_MIN


class SteadyClock:
    """Another clock as it was when this one was made, and from there on as fast as the event loop's.

    Stamps and deadlines of one piece of work agree with each other under it, whatever the machine's clock
    is set to meanwhile (CLOCK_MONOTONIC, clock_gettime(2)).
    """

    def __init__(self, clock: Clock) -> None:
        self._monotonic = asyncio.get_running_loop().time
        self._ahead_s = clock.now() - self._monotonic()

    def now(self) -> float:
        return self._ahead_s + self._monotonic()
