"""Brings a schedule's misfortunes upon a cluster, at their times, and undoes every one of them."""

import random
import time
from collections.abc import Callable, Sequence

from tests.histories.cluster import SeparateCluster
from tests.histories.schedule import CUTS, Kind, Misfortune, Part

POLL_S = 0.01
LOG_CHARS_SHOWN = 2_000
CLOCKS_AHEAD_S = (-6 * 3_600.0, -2.0, 2.0, 6 * 3_600.0, 20 * 365 * 86_400.0)
"""Twenty years are more than any certificate lasts."""


class Nemesis:
    """Works in the calling thread; blocks until the schedule is over.

    Attributes:
        done: What was really done, with the seconds since the begin, for people.
        deaths: Replicas that ended although nobody killed them, with the end of their logs.
    """

    def __init__(self, cluster: SeparateCluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._victims: dict[Misfortune, list[str]] = {}
        self.done: list[str] = []
        self.deaths: list[str] = []

    def run(self, plan: Sequence[Misfortune], is_over: Callable[[], bool]) -> None:
        """Carry `plan` out, or until `is_over`; at the end, whatever happened, nothing of it is left."""
        self._begun_s = time.monotonic()
        events = [(one.begins_s, self._begin, one) for one in plan]
        events += [(one.ends_s, self._end, one) for one in plan]
        try:
            for at_s, act, one in sorted(events, key=lambda event: event[0]):
                while time.monotonic() < self._begun_s + at_s:
                    if is_over():
                        return
                    time.sleep(POLL_S)
                self._notice_deaths()
                act(one)
        finally:
            for one in list(self._victims):
                self._end(one)
            self._notice_deaths()

    def _begin(self, one: Misfortune) -> None:
        victims = self._choose(one.part)
        self._victims[one] = victims
        self._tell(f"{one.kind} {' '.join(victims)} ({one.part})")
        sites = self._cluster.sites
        match one.kind:
            case Kind.KILL:
                for name in victims:
                    self._cluster.kill(name)
            case Kind.FREEZE:
                for name in victims:
                    self._cluster.freeze(name)
            case Kind.ISOLATE if one.part is Part.ALL:
                sites.shatter()
            case Kind.ISOLATE:
                sites.isolate(*victims)
            case Kind.DEAFEN:
                sites.deafen(*victims)
            case Kind.SILENCE:
                sites.silence(*victims)
            case Kind.BLOCK:
                sites.block(victims[0], self._rng.choice(self._others(victims[0])))
            case Kind.DEMOTE:
                self._tell(self._cluster.vote(victims[0], votes=False))
            case Kind.CLOCK:
                self._cluster.set_clock(*victims, ahead_s=self._rng.choice(CLOCKS_AHEAD_S))

    def _end(self, one: Misfortune) -> None:
        victims = self._victims.pop(one)
        if one.kind in CUTS:
            self._cluster.sites.heal()
        for name in victims:
            if one.kind is Kind.KILL and self._cluster.processes.ended(name) is not None:
                self._cluster.processes.start_replica(name)
            elif one.kind is Kind.DEMOTE:
                self._tell(self._cluster.vote(name, votes=True))
            elif one.kind is Kind.CLOCK:
                self._cluster.set_clock(name, ahead_s=0.0)
            elif one.kind is Kind.FREEZE and self._cluster.processes.ended(name) is None:
                self._cluster.thaw(name)
        self._tell(f"undone: {one.kind} {' '.join(victims)}")

    def _notice_deaths(self) -> None:
        """Write down who is dead and not by our hand, and start it again."""
        killed = {n for one, victims in self._victims.items() if one.kind is Kind.KILL for n in victims}
        for name in {*self._cluster.names} - killed:
            if (status := self._cluster.processes.ended(name)) is not None:
                plan = next(plan for plan in self._cluster.layout.replicas if plan.name == name)
                log = plan.log.read_text()[-LOG_CHARS_SHOWN:]
                self.deaths.append(f"replica {name} ended by itself with {status}:\n{log}")
                self._cluster.processes.start_replica(name)

    def _choose(self, part: Part) -> list[str]:
        names = list(self._cluster.names)
        if part is Part.ALL:
            return names
        leader = self._cluster.leader() or self._rng.choice(names)
        return [leader] if part is Part.LEADER else [self._rng.choice(self._others(leader))]

    def _others(self, name: str) -> list[str]:
        return [other for other in self._cluster.names if other != name]

    def _tell(self, what: str) -> None:
        self.done.append(f"{time.monotonic() - self._begun_s:6.2f} s  {what}")
