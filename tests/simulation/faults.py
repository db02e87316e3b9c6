"""What goes wrong, when: a storm of faults drawn from the seed, and the calm after it.

`Storm` decides; it does everything through the handles of the world it is given.
"""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Protocol

from tests.simulation.consensus import Consensus, Doubt
from tests.simulation.figures import CRASH_BOUNDARIES
from tests.simulation.network import Network, Weather
from tests.simulation.nodes import Machine
from tests.simulation.replicas import Process

FAULT_EVERY_S = 20.0
SKEW_S = (-21_600.0, -3600.0, -30.0, -2.0, 0.5, 20.0, 900.0, 18_000.0)


class Handles(Protocol):
    """What a storm can reach."""

    consensus: Consensus
    network: Network
    processes: dict[str, Process]
    machines: list[Machine]
    armed: tuple[str, str] | None
    """Where the next replica that gets there is struck, and how."""
    only_boundary: tuple[str, str] | None
    """The same, for worlds that are about one boundary."""

    def count(self, name: str) -> None: ...
    def crash(self, name: str, *, down_s: float) -> None: ...
    def cut_off(self, name: str, *, for_s: float) -> None: ...
    def down(self, machine: Machine, *, for_s: float) -> None: ...
    def reboot(self, machine: Machine) -> None: ...
    def move(self, machine: Machine) -> None: ...
    def address_of(self, machine: Machine) -> str: ...
    def later(self, delay_s: float, call: Callable[[], object]) -> None: ...


class Storm:
    """One fault after another until the calm."""

    def __init__(self, random: Random, world: Handles, *, weather: Weather | None) -> None:
        self._random = random
        self._world = world
        self._fixed_weather = weather

    async def rage(self, until_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._weather()
        acts: list[tuple[Callable[[], None], int]] = [
            (self._arm, 12),
            (self._crash_leader, 3),
            (self._crash_follower, 2),
            (self._isolate_leader, 3),
            (self._depose, 3),
            (self._node_down, 4),
            (self._node_gone, 1),
            (self._node_reboot, 3),
            (self._host_key, 1),
            (self._node_move, 2),
            (self._cut_link, 2),
            (self._clock, 2),
            (self._weather, 4),
            (self._doubt, 4),
        ]
        choices, weights = zip(*acts, strict=True)
        while loop.time() < until_s:
            await asyncio.sleep(self._random.expovariate(1 / FAULT_EVERY_S))
            self._random.choices(choices, weights)[0]()

    def calm(self) -> None:
        """End all faults but the lasting ones (dead machines, changed keys, wrong clocks)."""
        world = self._world
        world.armed = world.only_boundary = None
        world.network.weather = Weather()
        world.consensus.doubt = Doubt()
        for name, process in world.processes.items():
            if process.life is None:
                process.begin()
            world.consensus.heal(name)
            if process.life is not None:
                process.life.link.cut.clear()
        for machine in world.machines:
            if not machine.gone:
                world.network.executor.set_up(machine, True)

    def _arm(self) -> None:
        place = (self._random.choice(CRASH_BOUNDARIES), self._random.choice(("crash", "crash", "isolate")))
        self._world.armed = self._world.only_boundary or place

    def _crash_leader(self) -> None:
        if leader := self._world.consensus.leader:
            self._world.count("leader crashed")
            self._world.crash(leader, down_s=self._random.uniform(0.5, 60.0))

    def _crash_follower(self) -> None:
        leader = self._world.consensus.leader
        others = [name for name, process in self._world.processes.items() if process.life and name != leader]
        if others:
            self._world.count("follower crashed")
            self._world.crash(self._random.choice(others), down_s=self._random.uniform(0.5, 60.0))

    def _isolate_leader(self) -> None:
        if leader := self._world.consensus.leader:
            self._world.count("leader isolated")
            self._world.cut_off(leader, for_s=self._random.choice((2.0, 15.0, 90.0)))

    def _depose(self) -> None:
        """Elect another; the old leader hears of it a moment later."""
        consensus = self._world.consensus
        others = [name for name in consensus.able() if name != consensus.leader]
        if others and (leader := consensus.leader):
            self._world.count("leader deposed")
            self._world.cut_off(leader, for_s=self._random.uniform(0.0, 1.0))
            if consensus.has_quorum():
                consensus.elect(self._random.choice(others))

    def _machine(self) -> Machine:
        return self._random.choice(self._world.machines)

    def _node_down(self) -> None:
        self._world.count("node down")
        self._world.down(self._machine(), for_s=self._random.choice((1.0, 10.0, 40.0, 200.0)))

    def _node_gone(self) -> None:
        machine = self._machine()
        if sum(other.gone for other in self._world.machines) * 3 < len(self._world.machines):
            self._world.count("node gone for ever")
            machine.gone = True
            self._world.network.executor.set_up(machine, False)

    def _node_reboot(self) -> None:
        self._world.count("node rebooted")
        self._world.reboot(self._machine())

    def _host_key(self) -> None:
        machine = self._machine()
        self._world.count("host key changed")
        machine.host_key = f"ssh-ed25519 {machine.name}-{self._random.randint(1, 10**6)}"

    def _node_move(self) -> None:
        self._world.count("node moved")
        self._world.move(self._machine())

    def _cut_link(self) -> None:
        process = self._random.choice(list(self._world.processes.values()))
        if process.life is not None:
            self._world.count("link cut")
            address = self._world.address_of(self._machine())
            cut = process.life.link.cut
            cut.add(address)
            self._world.later(self._random.choice((5.0, 50.0, 300.0)), lambda: cut.discard(address))

    def _clock(self) -> None:
        self._world.count("clock jumped")
        self._random.choice(list(self._world.processes.values())).clock.skew_s = self._random.choice(SKEW_S)

    def _weather(self) -> None:
        bad = self._random.choice((0.0, 0.02, 0.1))
        self._world.network.weather = self._fixed_weather or Weather(
            refused=bad, answer_lost=bad, slow=2 * bad, late=self._random.choice((0.0, 0.0, 0.05))
        )

    def _doubt(self) -> None:
        bad = self._random.choice((0.0, 0.02, 0.1))
        self._world.consensus.doubt = Doubt(answer_lost=bad, dropped=bad, refused=bad, late=bad)
