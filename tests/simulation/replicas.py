"""Processes: one life of one replica, with the product's manager and workers inside."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from hamgr.jobs.attempt import AttemptSettings
from hamgr.jobs.proposer import Proposer
from hamgr.jobs.worker import Tools
from hamgr.manager import Manager
from tests.simulation.consensus import Consensus
from tests.simulation.network import Link, Network
from tests.simulation.orders import OrderSource
from tests.simulation.virtual_time import VirtualClock

CLUSTER = "simulated"


@dataclass(slots=True, kw_only=True)
class Life:
    """What dies with a process."""

    link: Link
    manager: Manager
    task: asyncio.Task[None]


class Process:
    """A replica's process: it lives, crashes and lives again."""

    def __init__(
        self,
        *,
        name: str,
        consensus: Consensus,
        network: Network,
        reach: Callable[[str, str, str], None],
        died: Callable[[str, BaseException], None],
        settings: AttemptSettings,
    ) -> None:
        self.name = name
        self.clock = VirtualClock()
        self._consensus = consensus
        self._network = network
        self._reach = reach
        self._died = died
        self._settings = settings
        self._lives = 0
        self.life: Life | None = None

    def begin(self) -> None:
        """Start the process; nothing of an earlier life is left in it."""
        assert self.life is None
        self._lives += 1
        self._consensus.restart(self.name)
        replica = self._consensus.replica(self.name)
        life, made = f"{self.name}-{self._lives}", iter(range(1_000_000))
        link = Link(
            network=self._network,
            sender=life,
            reach=lambda at, subject: self._reach(self.name, at, subject),
        )
        tools = Tools(
            replica=replica,
            proposer=Proposer(replica=replica, clock=self.clock, new_id=lambda: f"{life}-{next(made)}"),
            executor=link,
            scripts=OrderSource(),
            clock=self.clock,
            failpoints=link.reach,
            settings=self._settings,
        )
        manager = Manager(tools=tools, new_cluster=CLUSTER, workers_max=16)
        task = asyncio.get_running_loop().create_task(manager.run(), name=life)
        task.add_done_callback(self._ended)
        self.life = Life(link=link, manager=manager, task=task)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._died(self.name, error)

    def crash(self) -> None:
        """End the process at once: it says nothing any more, and what it sent is on its way."""
        if self.life is None:
            return
        life, self.life = self.life, None
        life.link.alive = False
        self._consensus.crash(self.name)
        life.task.cancel()

    @property
    def idle(self) -> bool:
        """Whether no worker of a job is left; duties beside the jobs may wait for their moment."""
        return self.life is None or not any(job.startswith("j-") for job, _ in self.life.manager._running)
