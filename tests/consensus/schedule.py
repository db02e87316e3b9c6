"""Virtual time: what is to happen next happens now.

1. What happens, and in which order, is a function of what was scheduled; nothing waits and nothing is real.
2. Time passes for ever: a cluster has timers, so a schedule that runs empty is a mistake of the simulation.
"""

import heapq
from collections.abc import Callable
from typing import Any


class Schedule:
    """Begins at 0.0 s.

    Attributes:
        now: Virtual seconds.
        steps: How many things have happened.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._numbers = 0
        self._coming: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []

    def at(self, when: float, call: Callable[..., object], *arguments: Any) -> None:
        """Call at `when`, or next if that has passed; in the order of calling when it is the same time."""
        self._numbers += 1
        heapq.heappush(self._coming, (max(when, self.now), self._numbers, call, arguments))

    def after(self, delay_s: float, call: Callable[..., object], *arguments: Any) -> None:
        self.at(self.now + delay_s, call, *arguments)

    def run_until(self, end: float) -> None:
        """Let everything happen that is due before `end`, which is the time afterwards."""
        while self._coming[0][0] < end:
            when, _number, call, arguments = heapq.heappop(self._coming)
            self.now = when
            self.steps += 1
            call(*arguments)
        self.now = end

    def run_for(self, delay_s: float) -> None:
        self.run_until(self.now + delay_s)

    def run_while(self, holds: Callable[[], bool], *, seconds_max: float, look_every_s: float = 0.01) -> bool:
        """Run until `holds()` is false, which is then returned, or for `seconds_max` at most."""
        end = self.now + seconds_max
        while (still := holds()) and self.now < end:
            self.run_for(look_every_s)
        return still
