"""Notices when a loop had its turn too late: a busy processor, a slow disk, or code that does not give way.

A loop of consensus that is late by an election time-out costs leadership; the loop of everything else makes
clients wait. Both are told from the log and from the figures before they do harm.
"""

import asyncio
import logging
import time

from hamgr.raft.figures import Stalls

logger = logging.getLogger(__name__)

WARNINGS_PAUSE_S = 10.0
"""A loop that is late all the time says so once in so many seconds."""


class Meter:
    """Counts what was too late; written by one thread, read by any."""

    def __init__(self, name: str, limit_s: float) -> None:
        """Watch the loop `name`, which may be late by `limit_s`."""
        self._name = name
        self._limit_s = limit_s
        self._warned_at = float("-inf")
        self.stalls = Stalls()

    def note(self, late_s: float) -> None:
        """Note that a turn came `late_s` after it was due."""
        if late_s <= self._limit_s:
            return
        self.stalls = Stalls(count=self.stalls.count + 1, longest_s=max(late_s, self.stalls.longest_s))
        now = time.monotonic()
        if now - self._warned_at >= WARNINGS_PAUSE_S:
            self._warned_at = now
            logger.warning(
                "the %s loop was late by %.3f s (%d times so far); see which process or disk holds it up",
                self._name,
                late_s,
                self.stalls.count,
            )


class Watch:
    """Measures the loop that it is made on, from `start` to `stop`."""

    def __init__(self, meter: Meter, period_s: float) -> None:
        """Look every `period_s`; what is late by less than the meter's limit costs nothing."""
        self._meter = meter
        self._period_s = period_s
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._arm(asyncio.get_running_loop())

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        due = time.monotonic() + self._period_s
        self._handle = loop.call_later(self._period_s, self._look, loop, due)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._meter.note(time.monotonic() - due)
        self._arm(loop)
