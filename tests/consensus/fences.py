"""What switches a host off for another one: truthful, slow, and sometimes of no use.

1. When it says that a host is off, that host was off at some moment between the call and the answer. It may
   have been switched on again by then: somebody always does, sooner or later.
2. It may fail, having switched the host off or not. It may take long. Two may be at work at once.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tests.consensus.figures import Figures
from tests.consensus.hosts import Host
from tests.consensus.schedule import Schedule
from tests.consensus.storm import Storm
from tests.consensus.trail import Trail

TAKES_S = (0.05, 0.5)
SLOW_S = 4.0
FAILS, IS_SLOW = 0.15, 0.25
ON_AGAIN_S = (0.01, 3.0)


class Fences:
    """The controls of every host's power.

    Attributes:
        there: Replicas have a fencing command.
        lies: It says that hosts are off, and does nothing.
        busy: The lives of hosts whose command is at work.
    """

    def __init__(
        self,
        seed: str,
        hosts: Sequence[Host],
        storm: Storm,
        schedule: Schedule,
        figures: Figures,
        trail: Trail,
        *,
        there: bool,
    ) -> None:
        self.there, self.lies = there, False
        self._over = False
        self.fails, self.is_slow = FAILS, IS_SLOW
        self.busy: set[tuple[str, int]] = set()
        self._random = Random(f"{seed}/fences")
        self._hosts, self._storm = hosts, storm
        self._schedule, self._figures, self._trail = schedule, figures, trail

    def calm(self) -> None:
        """Switch nobody off any more."""
        self._over = True

    def fence(self, host: Host, target: str, then: Callable[..., None], *arguments: Any) -> None:
        """Have `target` switched off by a process of `host`.

        `then` is called with the host, its core and the arguments, if it goes well and that process still
        lives. Each process has one command at work at most; more are not begun.
        """
        life = host.name, host.life
        if life in self.busy or self._over or not self.there:
            return
        self.busy.add(life)
        victim = next(one for one in self._hosts if one.id == target)
        self._trail.note(host.name, "fences", victim.name)
        self._figures.count("fence called")
        takes_s = self._random.uniform(*TAKES_S)
        before_s, after_s = 0.0, takes_s
        if self._random.random() < self.is_slow:
            before_s = self._random.uniform(0.0, SLOW_S)
            after_s = self._random.uniform(0.0, SLOW_S)
        fails = self._random.random() < self.fails
        works = not fails or self._random.random() < 0.5
        self._schedule.after(
            before_s, self._switch, victim, works, after_s, life, host, fails, then, arguments
        )

    def _switch(self, victim: Host, works: bool, *rest: Any) -> None:
        if self._over:
            return
        if works and not self.lies:
            if victim.local > self._schedule.now:  # what it is about to finish, it finishes
                self._schedule.at(victim.local, self._switch, victim, works, *rest)
                return
            victim.lose_power()
            self._storm.revive(victim, self._random.uniform(*ON_AGAIN_S))
        after_s, life, host, fails, then, arguments = rest
        self._schedule.after(after_s, self._answer, life, host, fails, then, arguments)

    def _answer(
        self, life: tuple[str, int], host: Host, fails: bool, then: Callable[..., None], arguments: Any
    ) -> None:
        self.busy.discard(life)
        self._trail.note(host.name, "has fenced:", "failed" if fails else "done")
        self._figures.count("fence failed" if fails else "fenced")
        if not fails and (host.name, host.life) == life and host.alive:
            host.call(lambda _host, core, _machine: then(host, core, *arguments))
