"""The way to the nodes: it loses, delays and reorders, and what was sent arrives although its sender died.

1. A call belongs to the network as soon as it is made: cancelling the caller, or crashing its replica, does
   not call it back. That is how an order of an ex-leader, or of a cancelled worker, comes late.
2. A dead replica sends nothing: its calls never leave and never return.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from backends.memory.executor import MemoryExecutor
from backends.memory.faults import Fault
from backends.ports import AttemptKey, AttemptStatus, Host, LogChunk, Look, ProbeReport, TimedOut, Unreachable
from tests.simulation.nodes import SENDER, Machine

ANSWER_TIMEOUT_S = 20.0
"""How long a replica waits for any answer, beside the time that it lets a step run."""

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Weather:
    """How bad the way is now: the share of calls that each fault befalls."""

    refused: float = 0.0
    answer_lost: float = 0.0
    slow: float = 0.0
    late: float = 0.0
    """Arrives up to minutes later, when whoever sent it has long gone on."""


class Network:
    """All machines, by address, and the calls that are on their way."""

    def __init__(self, random: Random, count: Callable[[str], None]) -> None:
        self._random = random
        self._count = count
        self.weather = Weather()
        self.executor = MemoryExecutor(fault=self._befall)
        self._under_way: set[asyncio.Task[Any]] = set()

    def _befall(self, host: Host, verb: str) -> Fault:
        roll, weather = self._random.random(), self.weather
        for kind, share in (
            ("refused", weather.refused),
            ("answer_lost", weather.answer_lost),
            ("slow", weather.slow),
            ("late", weather.late),
        ):
            if roll < share:
                self._count(f"node call {kind}")
                return self._fault(kind)
            roll -= share
        return Fault()

    def _fault(self, kind: str) -> Fault:
        if kind == "slow":
            return Fault(delay_s=self._random.uniform(0.1, 5.0))
        if kind == "late":
            return Fault(delay_s=self._random.uniform(10.0, 200.0), answer_lost=self._random.random() < 0.5)
        return Fault(refused=kind == "refused", answer_lost=kind == "answer_lost")

    def carry(self, call: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Take a call over from its caller."""
        task = asyncio.get_running_loop().create_task(call)
        self._under_way.add(task)
        task.add_done_callback(self._arrived)
        return task

    def _arrived(self, task: "asyncio.Task[Any]") -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may be gone; looked at, so that nobody is warned


@dataclass(slots=True, kw_only=True)
class Link:
    """One life of one replica on the network; a `backends.ports.NodeExecutor`.

    Attributes:
        cut: Addresses that this replica cannot reach.
        sender: The replica and which of its lives.
        reach: Called with a boundary and a subject; may end this replica.
    """

    network: Network
    sender: str
    reach: Callable[[str, str], None]
    alive: bool = True
    cut: set[str] = field(default_factory=set)

    async def _call(self, verb: str, host: Host, call: Coroutine[Any, Any, T], wait_s: float = 0.0) -> T:
        if not self.alive:
            call.close()
            await asyncio.get_running_loop().create_future()
        if host.address in self.cut:
            call.close()
            await asyncio.sleep(0.5)
            raise Unreachable(host.name, "no route from this replica")
        SENDER.set(self.sender)
        task = self.network.carry(call)
        self.reach(f"sent {verb}", host.name)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S + wait_s):
                answer = await asyncio.shield(task)
        except TimeoutError:
            raise TimedOut(host.name, "did not answer; what was asked may still arrive") from None
        self.reach(f"heard {verb}", host.name)
        return answer

    async def probe(self, host: Host, *, timeout_s: float) -> ProbeReport:
        return await self._call("probe", host, self.network.executor.probe(host, timeout_s=timeout_s))

    async def fence(self, host: Host, epoch: int, *, job: str) -> None:
        await self._call("fence", host, self.network.executor.fence(host, epoch, job=job))

    async def status(self, host: Host, epoch: int, key: AttemptKey) -> AttemptStatus:
        return await self._call("status", host, self.network.executor.status(host, epoch, key))

    async def run(
        self, host: Host, epoch: int, key: AttemptKey, script: bytes, *, wait_s: float
    ) -> AttemptStatus:
        order = self.network.executor.run(host, epoch, key, script, wait_s=wait_s)
        return await self._call("run", host, order, wait_s)

    async def kill(self, host: Host, epoch: int, key: AttemptKey) -> AttemptStatus:
        return await self._call("kill", host, self.network.executor.kill(host, epoch, key))

    async def read_log(self, host: Host, key: AttemptKey, *, offset: int, bytes_max: int) -> LogChunk:
        order = self.network.executor.read_log(host, key, offset=offset, bytes_max=bytes_max)
        return await self._call("read_log", host, order)

    def follow(self, host: Host, key: AttemptKey, *, offset: int) -> AsyncIterator[LogChunk]:
        return self.network.executor.follow(host, key, offset=offset)

    async def look(
        self, host: Host, script: bytes, *, timeout_s: float, output_bytes_max: int, once: bool = False
    ) -> Look:
        order = self.network.executor.look(
            host, script, timeout_s=timeout_s, output_bytes_max=output_bytes_max, once=once
        )
        return await self._call("look", host, order, timeout_s - ANSWER_TIMEOUT_S)

    async def close(self) -> None:
        self.alive = False


def attach(network: Network, machine: Machine, address: str) -> None:
    """Let `machine` answer at `address`."""
    network.executor.attach(machine, address)
