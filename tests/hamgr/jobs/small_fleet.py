"""Managers of a small fleet in virtual time, for what depends on clocks and on who leads."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from backends.memory.executor import MemoryExecutor
from backends.memory.node import MemoryNode
from hamgr.jobs.attempt import AttemptSettings
from hamgr.jobs.proposer import Proposer
from hamgr.jobs.worker import Tools
from hamgr.manager import Manager
from statemachine.jobs.work import StepDue
from statemachine.model import Node, State
from statemachine.words import JobId, NodeName
from tests.hamgr.api.rig import Cluster, LocalReplica
from tests.simulation import virtual_time
from tests.simulation.virtual_time import VirtualClock
from tests.statemachine.fleet import AT, Fleet, component, key_of, manifest


class Scripts:
    """Every step is the same script, which the nodes here do not read."""

    async def script(self, state: State, job: JobId, node: NodeName, due: StepDue) -> bytes:
        return b"true"


class Stopped:
    """A clock that a test sets."""

    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        return self.at


class World:
    """Two web nodes in service, a spare one, and as many managers as a story needs."""

    def __init__(self) -> None:
        fleet = Fleet()
        fleet.at = AT - 1_000
        fleet.bundle(1, manifest(component("app")))
        fleet.in_service("web-1", "web-2")
        fleet.discovered("spare")
        self.cluster = Cluster()
        self.cluster.state = fleet.state
        self.replica = LocalReplica(self.cluster)
        self.executor = MemoryExecutor()
        self.clock = VirtualClock()
        """The leader's."""
        self.machines = {}
        for name in fleet.state.nodes:
            machine = MemoryNode(name, host_key=key_of(name), machine_id=f"id-{name}")
            self.executor.attach(machine, f"{name}.example")
            self.machines[str(name)] = machine
        self._ids = itertools.count(1)
        self._running: asyncio.Task[None] | None = None

    def tools(self, clock: Stopped | VirtualClock) -> Tools:
        return Tools(
            replica=self.replica,
            proposer=Proposer(replica=self.replica, clock=clock, new_id=lambda: f"m-{next(self._ids)}"),
            executor=self.executor,
            scripts=Scripts(),
            clock=clock,
            failpoints=lambda *_: None,
            settings=AttemptSettings(unreachable_deadline_s=5.0),
        )

    async def lead(self) -> None:
        """Let another leader take over, whose clock is right; the one before ends wherever it is."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        self.cluster.term += 1
        self.clock = VirtualClock()
        manager = Manager(tools=self.tools(self.clock), new_cluster="testcluster")
        self._running = asyncio.get_running_loop().create_task(manager.run())

    def ask(self, make: Callable[..., object], **fields: object) -> str:
        stamps = {"request_id": f"ask-{next(self._ids)}", "at": VirtualClock().now(), "actor": "ann"}
        return str(self.cluster.apply(make(**stamps, **fields)).ref)

    def node(self, name: str) -> Node:
        return self.cluster.state.nodes[NodeName(name)]

    async def until(self, holds: Callable[[], bool], *, within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while not holds():
                await asyncio.sleep(0.5)


def story(tell: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        world = World()
        await world.lead()
        await tell(world)

    virtual_time.run(main())
