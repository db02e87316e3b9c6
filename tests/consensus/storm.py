"""What goes wrong, when: faults drawn from the seed, each of which ends by itself."""

import errno
from collections.abc import Callable, Collection, Sequence
from random import Random

from tests.consensus.figures import Figures
from tests.consensus.hosts import Host
from tests.consensus.network import Network, Weather
from tests.consensus.schedule import Schedule
from tests.consensus.trail import Trail

DOWN_S = (0.02, 1.5)
AWAY_S = (2.0, 5.0)
BETWEEN_LOSSES_S = (1.0, 2.5)
CUT_S = (0.05, 2.5)
APART_S, WITNESS_S = 0.7, 2.0
"""The former is less than what breaks a connection."""


class Storm:
    """One fault after another until the calm."""

    def __init__(
        self,
        seed: str,
        hosts: Sequence[Host],
        network: Network,
        schedule: Schedule,
        figures: Figures,
        trail: Trail,
        *,
        every_s: float,
        only: Collection[str] = (),
    ) -> None:
        """Draw what will happen; nothing but `only`, if anything is named there."""
        self._random = Random(f"{seed}/storm")
        self._hosts = hosts
        self._network = network
        self._schedule, self._figures, self._trail = schedule, figures, trail
        self._blocks: list[tuple[str, str]] = []
        self._over = False
        self._every_s = every_s
        acts: dict[Callable[[], None], int] = {
            self._kill: 4,
            self._cut_power: 4,
            self._cut_power_everywhere: 2,
            self._die_in_a_write: 5,
            self._freeze: 3,
            self._freeze_leader: 2,
            self._slow_disk: 3,
            self._bad_disk: 1,
            self._split: 4,
            self._cut_off_leader: 5,
            self._block_one_way: 4,
            self._stall: 5,
            self._late_witness: 1,
            self._bad_weather: 3,
            self._everything_well: 3,
            self._be_away: 2,
            self._decline: 1,
        }
        self._acts = list(acts)
        # Each world has faults of its own: what always comes together hides what comes alone (swarm testing,
        # Groce et al., 2012).
        self._weights = [weight * self._random.choice((0, 1, 1, 5)) for weight in acts.values()]
        if only:
            self._weights = [int(act.__name__.strip("_") in only) for act in acts]

    def begin(self) -> None:
        self._schedule.after(self._random.expovariate(1 / self._every_s), self._act)

    def calm(self) -> None:
        """End everything that goes wrong."""
        self._over = True
        self._everything_well()
        for host in self._hosts:
            host.thaw()
            host.disk.repair()
            host.disk.sync_s, host.disk.fuse = 0.001, None
            if host.life and not host.alive:
                self._start(host)

    def _act(self) -> None:
        if not self._over and any(self._weights):
            self._random.choices(self._acts, self._weights)[0]()
            self.begin()

    def _note(self, what: str, *details: object) -> None:
        self._figures.count(what)
        self._trail.note("*", what, *details)

    # Hosts.

    def _leaders(self) -> list[Host]:
        return [host for host in self._hosts if host.core is not None and host.core.leads]

    def _alive(self) -> list[Host]:
        return [host for host in self._hosts if host.alive]

    def strike(self, host: Host, *, power_too: bool, down_s: float | None = None) -> None:
        """End a replica and start it again later; what it is about to finish, it finishes."""
        if host.local > self._schedule.now:
            self._schedule.at(host.local, self._strike, host, power_too, down_s)
        else:
            self._strike(host, power_too, down_s)

    def _strike(self, host: Host, power_too: bool, down_s: float | None) -> None:
        if host.alive:
            if power_too:
                host.lose_power()
            elif self._random.random() < 0.3:
                self._figures.count("stopped in order")
                host.stop()
            else:
                host.kill()
        self.revive(host, 0.0 if self._over and down_s is not None else down_s)

    def revive(self, host: Host, down_s: float | None = None) -> None:
        """Have somebody start the replica on `host` after a while."""
        self._schedule.after(self._random.uniform(*DOWN_S) if down_s is None else down_s, self._start, host)

    def _start(self, host: Host) -> None:
        if not host.alive:
            if self._over or self._random.random() < 0.5:
                host.disk.repair()
            elif host.disk.failed:
                self.revive(host)
                return
            if not self._over and self._random.random() < 0.1:
                host.disk.fuse = self._random.randint(1, 6)
            if not host.start():
                self.revive(host)

    def _victim(self) -> Host | None:
        alive = self._alive()
        return self._random.choice(alive) if alive else None

    def _kill(self) -> None:
        if host := self._victim():
            self._note("process killed")
            self.strike(host, power_too=False)

    def _cut_power(self) -> None:
        if host := self._victim():
            self._note("power lost")
            self.strike(host, power_too=True)

    def _cut_power_everywhere(self) -> None:
        self._note("power lost everywhere")
        for host in self._alive():
            self.strike(host, power_too=True)

    def _be_away(self) -> None:
        """Lose a replica for so long that its vote is given up."""
        if host := self._victim():
            self._note("away for long", host.name)
            self.strike(host, power_too=False, down_s=self._random.uniform(*AWAY_S))

    def _decline(self) -> None:
        """Lose one after another, until one is left; they come back in any order."""
        gone = self._random.sample(self._hosts, len(self._hosts) - 1)
        self._note("declines", "".join(host.name for host in gone))
        when = 0.0
        for host in gone:
            down_s = self._random.uniform(*AWAY_S)
            self._schedule.after(when, self._go_away, host, down_s)
            when += self._random.uniform(*BETWEEN_LOSSES_S)

    def _go_away(self, host: Host, down_s: float) -> None:
        if host.alive and not self._over:
            self.strike(host, power_too=True, down_s=down_s)

    def _die_in_a_write(self) -> None:
        if host := self._victim():
            self._note("death in the middle of a write", host.name)
            host.disk.fuse = self._random.randint(1, 12)

    def _freeze(self) -> None:
        if host := self._victim():
            self._note("frozen")
            host.freeze(self._random.choice((0.05, 0.3, 0.8, 2.0)))

    def _freeze_leader(self) -> None:
        for host in self._leaders():
            self._note("frozen")
            host.freeze(self._random.choice((0.3, 0.5, 0.8, 1.2)))

    def _slow_disk(self) -> None:
        if host := self._victim():
            self._note("disk slow")
            host.disk.sync_s = self._random.choice((0.01, 0.05, 0.3))
            self._schedule.after(self._random.uniform(*CUT_S), self._disk_is_fast, host)

    def _disk_is_fast(self, host: Host) -> None:
        host.disk.sync_s = 0.001

    def _bad_disk(self) -> None:
        if host := self._victim():
            full = self._random.random() < 0.5
            self._note("disk full" if full else "disk broken", host.name)
            host.disk.full_or_broken = errno.ENOSPC if full else errno.EIO
            self._schedule.after(self._random.uniform(*CUT_S), host.disk.repair_unless_failed)

    # Network.

    def _block(self, pairs: list[tuple[str, str]], for_s: float | None = None) -> None:
        for pair in pairs:
            self._network.block(*pair)
            self._blocks.append(pair)
        for_s = self._random.uniform(*CUT_S) if for_s is None else for_s
        self._schedule.after(for_s, self._unblock, pairs)

    def _unblock(self, pairs: list[tuple[str, str]]) -> None:
        for pair in pairs:
            if pair in self._blocks:
                self._blocks.remove(pair)
                self._network.unblock(*pair)

    def _everything_well(self) -> None:
        self._trail.note("*", "the network is well")
        self._unblock(list(self._blocks))
        self._network.weather = Weather()

    def _split(self) -> None:
        sides = {host.id: self._random.random() < 0.5 for host in self._hosts}
        self._note("cluster split", "".join(host.name for host in self._hosts if sides[host.id]))
        self._block([(a, b) for a in sides for b in sides if sides[a] != sides[b]])

    def _cut_off_leader(self) -> None:
        if leaders := self._leaders():
            leader = self._random.choice(leaders)
            self._note("leader cut off", leader.name)
            others = [host.id for host in self._hosts if host is not leader]
            ways = self._random.choice(("in", "out", "both", "both"))
            pairs = [(leader.id, other) for other in others if ways != "in"]
            self._block(pairs + [(other, leader.id) for other in others if ways != "out"])

    def _block_one_way(self) -> None:
        if len(self._hosts) > 1:
            a, b = self._random.sample(self._hosts, 2)
            self._note("one way blocked", a.name, b.name)
            self._block([(a.id, b.id)])

    def _stall(self) -> None:
        if len(self._hosts) > 1:
            a, b = self._random.sample(self._hosts, 2)
            self._note("link stalled", a.name, b.name)
            self._network.stall(a.id, b.id, for_s=self._random.uniform(0.02, 1.5))

    def _late_witness(self) -> None:
        """Have a follower's answers to its leader arrive when that one leads again, in a later term.

        Meanwhile the others elect one of them, who hands leadership back, and the follower hears of nothing.
        """
        leaders = self._leaders()
        if len(self._hosts) < 5 or not leaders:
            return
        leader = leaders[0]
        witness, *others = self._random.sample([host for host in self._hosts if host is not leader], 4)
        self._note("late witness", leader.name, witness.name)
        self._network.stall(witness.id, leader.id, for_s=WITNESS_S)
        for apart in (leader, witness):
            pairs = [pair for other in others for pair in ((apart.id, other.id), (other.id, apart.id))]
            self._block(pairs, for_s=APART_S if apart is leader else WITNESS_S)
        self._schedule.after(APART_S, self._network.stall, leader.id, witness.id, WITNESS_S)
        for when in (1.2, 1.4, 1.6):
            self._schedule.after(when * APART_S, self._hand_over, leader)

    def _hand_over(self, to: Host) -> None:
        for host in self._leaders():
            if host is not to:
                host.call(lambda _host, core, _machine: core.transfer(to.id))

    def _bad_weather(self) -> None:
        self._note("bad weather")
        self._network.weather = Weather(
            delay_s=self._random.choice((0.0002, 0.005, 0.04)),
            jitter_s=self._random.choice((0.0005, 0.01, 0.1)),
            duplicate=self._random.choice((0.0, 0.02, 0.2)),
        )
