"""Wall time for records that people read; nothing safe ever rests on it."""

import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Return Unix seconds."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()
