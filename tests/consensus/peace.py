"""A healthy leader with a healthy majority, and replicas that come back to it: nobody may disturb it.

One episode after another: wait until a leader has been at work for a while, take a minority away (by the
network, by a freeze or by a crash), let it come back, and look whether the same one leads in the same term.
"""

from collections.abc import Sequence
from random import Random

from tests.consensus.figures import Figures
from tests.consensus.hosts import Host
from tests.consensus.laws import Broken
from tests.consensus.network import Network
from tests.consensus.schedule import Schedule
from tests.consensus.storm import Storm
from tests.consensus.trail import Trail

HEALTHY_S = 1.0
AWAY_S = (0.3, 2.5)
AFTERWARDS_S = 0.8
LAW = "who comes back does not disturb a leader that has a healthy majority (dissertation, section 9.6)"


class Peace:
    """What happens in a world without a storm."""

    def __init__(
        self,
        seed: str,
        hosts: Sequence[Host],
        storm: Storm,
        network: Network,
        schedule: Schedule,
        figures: Figures,
        trail: Trail,
    ) -> None:
        self._random = Random(f"{seed}/peace")
        self._hosts, self._storm, self._network = hosts, storm, network
        self._schedule, self._figures, self._trail = schedule, figures, trail
        self._stopped = False
        self._healthy: tuple[str, int] = ("", 0)

    def begin(self) -> None:
        self._healthy = self._leader()
        self._schedule.after(HEALTHY_S, self._take_away)

    def stop(self) -> None:
        self._stopped = True

    def _leader(self) -> tuple[str, int]:
        leading = [(host.core.term, host.name) for host in self._hosts if host.core and host.core.leads]
        return max(leading)[::-1] if len(leading) == 1 else ("", 0)

    def _take_away(self) -> None:
        if self._stopped:
            return
        leader = self._leader()
        alive = [host for host in self._hosts if host.alive]
        others = [host for host in alive if host.name != leader[0]]
        if leader != self._healthy or not leader[0] or len(others) < 2:
            self.begin()
            return
        taken = self._random.sample(others, self._random.randint(1, len(others) // 2))
        away_s = self._random.uniform(*AWAY_S)
        how = self._random.choice((self._cut_off, self._cut_off, self._freeze, self._kill))
        self._trail.note("*", "taken away:", "".join(host.name for host in taken), how.__name__)
        how(taken, away_s)
        self._schedule.after(away_s + AFTERWARDS_S, self._look, leader)

    def _look(self, leader: tuple[str, int]) -> None:
        if self._stopped:
            return
        if any(host.name == leader[0] and host.core and host.core.renounced for host in self._hosts):
            self.begin()  # nobody disturbed it: it has met a command that its version does not know
            return
        if self._leader() != leader:
            how = f"{leader[0]} led in term {leader[1]}, now {self._leader()} do"
            raise Broken(LAW, how)
        self._figures.count("came back to a healthy leader")
        self.begin()

    def _cut_off(self, taken: list[Host], away_s: float) -> None:
        ids = {host.id for host in taken}
        pairs = [(a.id, b.id) for a in self._hosts for b in self._hosts if (a.id in ids) != (b.id in ids)]
        if self._random.random() < 0.3:
            pairs = [pair for pair in pairs if pair[1] in ids]  # they can speak, and hear nothing
        for pair in pairs:
            self._network.block(*pair)
        self._schedule.after(away_s, self._heal, pairs)

    def _heal(self, pairs: list[tuple[str, str]]) -> None:
        for pair in pairs:
            self._network.unblock(*pair)

    def _freeze(self, taken: list[Host], away_s: float) -> None:
        for host in taken:
            host.freeze(away_s)

    def _kill(self, taken: list[Host], away_s: float) -> None:
        for host in taken:
            self._storm.strike(host, power_too=False, down_s=away_s)
