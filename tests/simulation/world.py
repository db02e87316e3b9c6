"""One seeded world: replicas, machines, people and faults in one thread, and the verdict on what happened.

`judge(seed)` builds it, lets it storm, calms it, waits until the jobs have ended, and returns what broke.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from hamgr.jobs.attempt import AttemptSettings
from statemachine import requests
from statemachine.commands import Command
from statemachine.model import State
from statemachine.outcomes import Outcome
from statemachine.words import Digest, NodeName
from tests.simulation import laws, virtual_time
from tests.simulation.consensus import Consensus
from tests.simulation.faults import Storm
from tests.simulation.figures import Figures, happened
from tests.simulation.network import Network, Weather
from tests.simulation.nodes import Fate, Launch, Machine
from tests.simulation.operators import Operators
from tests.simulation.orders import Nature, Order, nature_of
from tests.simulation.replicas import Process
from tests.statemachine.rollout_laws import Ledger

STORM_S = 600.0
SETTLED_S_MAX = 2400.0
"""Every job ends within this time after the last fault."""
REST_S = 30.0
"""After the last job: orders that are still on their way arrive, and workers end."""
REPLAYED_EVERY = 5
"""In one of so many worlds the log is replayed as bytes, through a snapshot; replicas are compared in all."""
ROLLING_EVERY = 3
"""One of so many worlds has more nodes, on which less fails by itself, and people who mostly roll out."""
STRIKE_EVERY_S = 30.0
"""How soon a world that is about one boundary strikes there again."""
BROKEN_MAX = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a world.

    Attributes:
        broken: The laws that it broke, in words; empty when all is well.
        trace: Digest of everything that happened, with its time.
    """

    seed: int
    broken: tuple[str, ...]
    figures: Figures
    trace: str

    def __str__(self) -> str:
        return (
            f"seed {self.seed}:\n" + "\n".join(self.broken) + "\nreplay it: "
            f"python -m tests.simulation --start {self.seed} --seeds 1 --verbose"
        )


class World:
    """Everything that there is under one seed; use `judge`."""

    def __init__(
        self,
        seed: int,
        *,
        replicas: int = 3,
        nodes: int | None = None,
        tell: Callable[[str], None] | None = None,
        only_boundary: tuple[str, str] | None = None,
        weather: Weather | None = None,
        by_evidence_alone: bool = False,
    ) -> None:
        self.seed = f"world {seed}"
        random = Random(self.seed)
        self.figures = Figures(runs=1)
        self.broken: list[str] = []
        self.armed = only_boundary
        self.only_boundary = only_boundary
        self._by_evidence_alone = by_evidence_alone
        self._failed = asyncio.Event()
        self._replayed = seed % REPLAYED_EVERY == 0
        self._random = Random(f"{self.seed}/world")
        self._trace = hashlib.sha256()
        self._tell = tell
        self._records = laws.Records()
        self._ledger = Ledger()
        self.network = Network(Random(f"{self.seed}/network"), self.count)
        names = [f"r{number}" for number in range(1, replicas + 1)]
        self.consensus = Consensus(
            names, random=Random(f"{self.seed}/log"), count=self.count, observe=self._observe
        )
        settings = AttemptSettings(unreachable_deadline_s=random.choice((5.0, 20.0, 60.0)))
        self.processes = {
            name: Process(
                name=name,
                consensus=self.consensus,
                network=self.network,
                reach=self._reach,
                died=self._died,
                settings=settings,
            )
            for name in names
        }
        self._rolls = seed % ROLLING_EVERY == 0
        self._hardship: dict[str, float] = {}
        self._addresses: dict[str, str] = {}
        self._moves = 0
        count = nodes or random.randint(*((6, 9) if self._rolls else (2, 6)))
        self.machines = [self._machine(f"n{n}", random) for n in range(count)]
        self._by_id = {machine.machine_id: machine for machine in self.machines}
        self.storm = Storm(Random(f"{self.seed}/storm"), self, weather=weather)
        self.operators = Operators(
            seed=self.seed,
            consensus=self.consensus,
            addresses=lambda: list(self._addresses.values()),
            count=self.count,
            mostly_roll=self._rolls,
        )

    def _machine(self, name: str, random: Random) -> Machine:
        fate = Fate(
            nature=self._nature,
            manifest=lambda digest: self.consensus.final.bundles[Digest(digest)].manifest,
            launched=self._launched,
            count=self.count,
            broken=self._break,
        )
        machine = Machine(name=name, fate=fate)
        hardships = (0.0, 0.0, 0.03, 0.08) if self._rolls else (0.0, 0.05, 0.2, 0.4)
        self._hardship[machine.machine_id] = random.choice(hardships)
        self._place(machine, f"10.0.0.{len(self._addresses) + 1}")
        return machine

    def _place(self, machine: Machine, address: str) -> None:
        self._addresses[machine.machine_id] = address
        self.network.executor.attach(machine, address)

    def _nature(self, machine: str, order: Order) -> Nature:
        return nature_of(self.seed, machine, order, hardship=self._hardship[machine])

    # What happened, written down

    def count(self, name: str) -> None:
        self.figures.counts[name] += 1
        self.note(name)

    def note(self, what: str) -> None:
        """Write into the trace that something happened now."""
        line = f"{asyncio.get_running_loop().time():.6f} {what}"
        self._trace.update(line.encode())
        if self._tell is not None:
            self._tell(line)

    def complain(self, problem: str) -> None:
        """Take what the product calls an error of its own for a broken law."""
        self._break(problem)

    def _break(self, problem: str) -> None:
        self._failed.set()
        if len(self.broken) < BROKEN_MAX:
            self.note(f"BROKEN {problem}")
            self.broken.append(f"{asyncio.get_running_loop().time():.3f} s: {problem}")

    def _observe(self, entry: bytes, before: State, command: Command, after: State, outcome: Outcome) -> None:
        now = asyncio.get_running_loop().time()
        self.figures.counts["entries"] += 1
        self._trace.update(f"{now:.6f}".encode() + entry)
        if self._tell is not None:
            self._tell(f"{now:.6f} entry {after.index} {command} -> {outcome}")
        if not self._by_evidence_alone:
            for problem in laws.invariants(before, command, after, outcome):
                self._break(problem)
        for problem in self._ledger.entry(before, command, after, outcome):
            self._break(problem)
        if requests.recall(before, command.request_id) is not None:
            self.count("entry came twice")
            return
        for what in happened(before, command, after, outcome):
            self.figures.counts[what] += 1
        node = before.nodes.get(getattr(command, "node", NodeName("")))
        machine = self._by_id.get(node.machine_id) if node else None
        if (result := getattr(command, "result", None)) is not None:
            self.figures.counts[f"result {result.ending}"] += 1
        for problem in self._records.entry(before, command, outcome, machine, now):
            self._break(problem)
        for job in before.running:
            if job not in after.running:
                self.figures.counts[f"job {after.jobs[job].state}"] += 1

    def _launched(self, machine: Machine, launch: Launch, nature: Nature) -> None:
        self.figures.counts["launches"] += 1
        self.note(f"launch on {machine.name}: {launch}")
        for problem in self._records.launched(machine, launch):
            self._break(problem)
        if nature.reboots and nature.lasts_s:
            self.later(nature.lasts_s / 2, lambda: self.reboot(machine))

    def _died(self, name: str, error: BaseException) -> None:
        self._break(f"the manager of {name} died: {error!r}")

    # What can befall it

    def later(self, delay_s: float, call: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_later(delay_s, call)

    def address_of(self, machine: Machine) -> str:
        return self._addresses[machine.machine_id]

    def _reach(self, name: str, boundary: str, subject: str) -> None:
        """A replica passes a boundary; it may be its last one, or the one at which it loses the others."""
        process = self.processes[name]
        if process.life is None:
            raise asyncio.CancelledError
        if self.armed is None:
            return
        at, action = self.armed
        if at == "running" and boundary == "sent run":
            self.armed = None
            self.later(self._random.uniform(0.0, 5.0), lambda: self._strike(name, at, action))
        elif at == boundary:
            self.armed = None
            self._strike(name, at, action)
            if action == "crash":
                raise asyncio.CancelledError

    def _strike(self, name: str, boundary: str, action: str) -> None:
        if self.processes[name].life is None:
            return
        self.count(f"{'crash' if action == 'crash' else 'isolated'} at {boundary}")
        if self.only_boundary:
            self.later(STRIKE_EVERY_S, self._arm_again)
        if action == "crash":
            self.crash(name, down_s=self._random.uniform(0.5, 30.0))
        else:
            self.cut_off(name, for_s=self._random.uniform(5.0, 120.0))

    def _arm_again(self) -> None:
        self.armed = self.only_boundary

    def crash(self, name: str, *, down_s: float) -> None:
        process = self.processes[name]
        process.crash()
        self.later(down_s, lambda: None if process.life else process.begin())

    def cut_off(self, name: str, *, for_s: float) -> None:
        self.consensus.isolate(name)
        self.later(for_s, lambda: self.consensus.heal(name))

    def down(self, machine: Machine, *, for_s: float) -> None:
        self.network.executor.set_up(machine, False)
        self.later(for_s, lambda: None if machine.gone else self.network.executor.set_up(machine, True))

    def reboot(self, machine: Machine) -> None:
        if any(launch.ends_at > asyncio.get_running_loop().time() for launch in machine.evidence):
            self.count("node rebooted in mid-step")
        self.network.executor.reboot(machine)
        self.down(machine, for_s=self._random.uniform(3.0, 30.0))

    def move(self, machine: Machine) -> None:
        self.network.executor.detach(self.address_of(machine))
        self._moves += 1
        self._place(machine, f"10.0.1.{self._moves}")

    async def _elections(self) -> None:
        """Have somebody lead, a while after nobody did."""
        while True:
            await asyncio.sleep(1.0)
            if not self.consensus.leader:
                await asyncio.sleep(self._random.uniform(0.0, 3.0))
                able = self.consensus.able()
                if able and not self.consensus.leader:
                    self.consensus.elect(self._random.choice(able))

    # One run

    async def live(self) -> None:
        """Live through the storm, and until everything has ended after it."""
        loop = asyncio.get_running_loop()
        elections = loop.create_task(self._elections(), name="elections")
        for process in self.processes.values():
            process.begin()
        await asyncio.sleep(2.0)
        whole = loop.create_task(self._storm_and_calm(), name="storm")
        failed = loop.create_task(self._failed.wait(), name="failed")
        await asyncio.wait({whole, failed}, return_when=asyncio.FIRST_COMPLETED)
        if whole.done():
            await whole
            self._judge()
        self.figures.virtual_s = loop.time()
        for task in (whole, failed, elections):
            task.cancel()
        for process in self.processes.values():
            process.crash()
        await asyncio.sleep(1.0)

    async def _storm_and_calm(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(self._people(), self.storm.rage(STORM_S))
        self.storm.calm()
        calm_at = loop.time()
        tending = loop.create_task(self.operators.tend(), name="tending")
        while self.consensus.final.running and loop.time() < calm_at + SETTLED_S_MAX:
            await asyncio.sleep(1.0)
        tending.cancel()
        self.figures.settled_s_max = loop.time() - calm_at
        await asyncio.sleep(REST_S)

    async def _people(self) -> None:
        await self.operators.begin()
        await self.operators.storm(STORM_S)

    def _judge(self) -> None:
        now, final = asyncio.get_running_loop().time(), self.consensus.final
        for problem in (
            *laws.at_rest(final),
            *(laws.replay(self.consensus.entries, final) if self._replayed else ()),
            *laws.in_service(final, self._by_id, now),
        ):
            self._break(problem)
        for name, process in self.processes.items():
            if not process.idle:
                self._break(
                    f"{name} still has workers: {process.life.manager._running if process.life else ''}"
                )
            if process.life is not None and self.consensus.replica(name).state != final:
                self._break(f"{name} ends in another state")

    def verdict(self, seed: int) -> Verdict:
        return Verdict(
            seed=seed, broken=tuple(self.broken), figures=self.figures, trace=self._trace.hexdigest()
        )


def judge(
    seed: int,
    *,
    tell: Callable[[str], None] | None = None,
    only_boundary: tuple[str, str] | None = None,
    weather: Weather | None = None,
    by_evidence_alone: bool = False,
) -> Verdict:
    """Run the world of `seed` and return what became of it.

    Args:
        tell: Called with each line of what happens.
        only_boundary: Where leaders are struck, again and again, and how (`crash` or `isolate`).
        weather: What the way to the nodes is like all the time; None lets it change.
        by_evidence_alone: Leave the state machine's own invariants out, to see whether the rest notices.
    """
    random = Random(f"shape {seed}")
    world = World(
        seed,
        replicas=random.choice((1, 3, 3, 3, 3, 3, 3, 5)),
        tell=tell,
        only_boundary=only_boundary,
        weather=weather,
        by_evidence_alone=by_evidence_alone,
    )
    complaints = _Complaints(world)
    logging.getLogger("hamgr").addHandler(complaints)
    try:
        virtual_time.run(world.live())
    except virtual_time.Stuck as error:
        world.broken.append(f"the world stands still: {error}")
    finally:
        logging.getLogger("hamgr").removeHandler(complaints)
    return world.verdict(seed)


class _Complaints(logging.Handler):
    """Take an error in the product's own log for a broken law: a worker that failed of itself."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._world.complain(f"{record.getMessage()}: {error!r}")
