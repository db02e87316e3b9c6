"""`ports.NodeExecutor` over nodes in memory, with a place for every fault that a network has.

It waits only through the event loop, so a loop with virtual time runs years of it in seconds, and nothing
but the fault hook and the nodes' behaviours decides what happens.
"""

import asyncio
import math
import re
from collections.abc import AsyncIterator

from backends.memory.faults import Fault, FaultHook
from backends.memory.node import MemoryNode
from backends.ports import (
    LOOK_TAIL_BYTES,
    SCRIPT_BYTES_MAX,
    AttemptKey,
    AttemptState,
    AttemptStatus,
    BackendError,
    CommandFailed,
    Host,
    LogChunk,
    Look,
    ProbeReport,
    Refused,
    TimedOut,
    Unreachable,
)

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")
_CHUNK_BYTES_MAX = 64 * 1024
_POLL_S = 0.05


class MemoryExecutor:
    """Finds nodes by address and port, as a network does: what answers there need not be what we expect."""

    def __init__(
        self,
        *,
        fault: FaultHook | None = None,
        round_trip_s: float = 0.001,
        answer_timeout_s: float = 20.0,
    ) -> None:
        """Start without nodes.

        Args:
            fault: Decides what befalls each call; None: nothing does.
            round_trip_s: How long every call takes at least.
            answer_timeout_s: How long a caller waits for a node that does not answer.
        """
        self._fault = fault
        self._round_trip_s = round_trip_s
        self._answer_timeout_s = answer_timeout_s
        self._nodes: dict[tuple[str, int], MemoryNode] = {}
        self._changed: dict[MemoryNode, asyncio.Event] = {}
        self._closed = False

    def attach(self, node: MemoryNode, address: str, port: int = 22) -> Host:
        """Let `node` answer at an address from now on, and return it as a host with its key pinned."""
        self._nodes[(address, port)] = node
        return Host(name=node.name, address=address, port=port, host_key=node.host_key)

    def detach(self, address: str, port: int = 22) -> None:
        """Let nothing answer at an address."""
        self._nodes.pop((address, port), None)

    def set_up(self, node: MemoryNode, up: bool) -> None:  # noqa: FBT001, RUF100 (a switch is set to on or off)
        """Cut the node off, or connect it again; what it runs goes on."""
        node.up = up
        self._wake(node)

    def reboot(self, node: MemoryNode) -> None:
        """Boot the node anew: what it runs is lost."""
        node.restart(now=self._now())
        self._wake(node)

    async def probe(self, host: Host, *, timeout_s: float) -> ProbeReport:
        fault = await self._travel(host, "probe")
        node = self._reach(host, fault)
        if host.host_key and host.host_key != node.host_key:
            raise _wrong_key(host)
        self._let_in(host, node)
        if fault.answer_lost:
            await asyncio.sleep(timeout_s)
            raise TimedOut(host.name, f"did not answer within {timeout_s:g} s")
        return ProbeReport(
            host_key=node.host_key,
            machine_id=node.machine_id,
            hostname=node.name,
            epoch=node.epoch,
            facts={
                "hostname": node.name,
                "boot_id": f"{node.name}-{node.boot}",
                "systemd": False,
                **node.facts,
            },
        )

    async def fence(self, host: Host, epoch: int, *, job: str) -> None:
        _check_name(job)
        node, fault = await self._enter(host, "fence")
        node.fence(epoch, job=job, now=self._now())
        await self._leave(host, fault)

    async def status(self, host: Host, epoch: int, key: AttemptKey) -> AttemptStatus:
        _check_key(key)
        node, fault = await self._enter(host, "status")
        found = node.status(epoch, key, now=self._now())
        await self._leave(host, fault)
        return found

    async def run(
        self, host: Host, epoch: int, key: AttemptKey, script: bytes, *, wait_s: float
    ) -> AttemptStatus:
        _check_key(key)
        if len(script) > SCRIPT_BYTES_MAX:
            raise CommandFailed(host.name, f"the script exceeds {SCRIPT_BYTES_MAX} bytes; it was not sent")
        node, fault = await self._enter(host, "run")
        adopted = node.start(epoch, key, script, now=self._now())
        await self._leave(host, fault)
        give_up_at = self._now() + wait_s
        while node.look(key, now=self._now()).state is AttemptState.RUNNING and self._now() < give_up_at:
            await self._until(node, min(give_up_at, node.ends_at(key)))
            if not node.up:
                await self._until_up(host, node)
                node.start(epoch, key, script, now=self._now())  # as the real one: again, with the same key
        return node.look(key, now=self._now(), adopted=adopted, output=True)

    async def kill(self, host: Host, epoch: int, key: AttemptKey) -> AttemptStatus:
        _check_key(key)
        node, fault = await self._enter(host, "kill")
        found = node.kill(epoch, key, now=self._now())
        self._wake(node)
        await self._leave(host, fault)
        return found

    async def read_log(self, host: Host, key: AttemptKey, *, offset: int, bytes_max: int) -> LogChunk:
        _check_key(key)
        node, fault = await self._enter(host, "read_log")
        chunk = node.read_log(key, offset=offset, bytes_max=bytes_max, now=self._now())
        await self._leave(host, fault)
        return chunk

    async def follow(self, host: Host, key: AttemptKey, *, offset: int) -> AsyncIterator[LogChunk]:
        while True:
            chunk = await self.read_log(host, key, offset=offset, bytes_max=_CHUNK_BYTES_MAX)
            if chunk.data or chunk.complete:
                yield chunk
            if chunk.complete:
                return
            offset += len(chunk.data)
            if not chunk.data:
                await asyncio.sleep(_POLL_S)

    async def look(
        self,
        host: Host,
        script: bytes,
        *,
        timeout_s: float,
        output_bytes_max: int,
        once: bool = False,  # noqa: ARG002 - what is lost here is never sent again
    ) -> Look:
        if len(script) > SCRIPT_BYTES_MAX:
            raise CommandFailed(host.name, f"the script exceeds {SCRIPT_BYTES_MAX} bytes; it was not sent")
        node, fault = await self._enter(host, "look")
        duration_s, exit_code, output = node.sight(script)
        if fault.answer_lost or duration_s >= timeout_s:
            await asyncio.sleep(timeout_s)
            raise TimedOut(host.name, f"had not looked in {timeout_s:g} s")
        await asyncio.sleep(duration_s)
        if len(output) <= output_bytes_max:
            return Look(exit_code=exit_code, output=output)
        head = output[: output_bytes_max - LOOK_TAIL_BYTES]
        return Look(exit_code=exit_code, output=head + output[-LOOK_TAIL_BYTES:], truncated=True)

    async def close(self) -> None:
        self._closed = True

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _wake(self, node: MemoryNode) -> None:
        self._changed.pop(node, asyncio.Event()).set()

    async def _until(self, node: MemoryNode, at: float) -> None:
        """Wait until `at`, or until something befalls the node."""
        event = self._changed.setdefault(node, asyncio.Event())
        if math.isinf(at):
            await event.wait()
            return
        try:
            async with asyncio.timeout_at(at):
                await event.wait()
        except TimeoutError:
            return

    async def _until_up(self, host: Host, node: MemoryNode) -> None:
        give_up_at = self._now() + self._answer_timeout_s
        while not node.up:
            if self._now() >= give_up_at:
                raise TimedOut(host.name, "was lost while it ran the step, and did not come back in time")
            await self._until(node, give_up_at)

    async def _travel(self, host: Host, verb: str) -> Fault:
        fault = (self._fault(host, verb) if self._fault is not None else None) or Fault()
        await asyncio.sleep(self._round_trip_s + fault.delay_s)
        return fault

    def _reach(self, host: Host, fault: Fault) -> MemoryNode:
        node = self._nodes.get((host.address, host.port))
        if self._closed:
            raise Unreachable(host.name, "hamgr is stopping and opens no more connections")
        if node is None or not node.up or fault.refused:
            raise Unreachable(
                host.name, f"nothing listens on {host.address}:{host.port} (connection refused)"
            )
        return node

    def _let_in(self, host: Host, node: MemoryNode) -> None:
        if not node.lets_us_in:
            raise Refused(
                host.name,
                f"{host.address}:{host.port} did not accept the login as {host.user};"
                f" add hamgr's key to ~{host.user}/.ssh/authorized_keys",
            )

    async def _enter(self, host: Host, verb: str) -> tuple[MemoryNode, Fault]:
        if not host.host_key:
            raise Refused(host.name, "no host key is pinned for it; discover the node first")
        fault = await self._travel(host, verb)
        node = self._reach(host, fault)
        if host.host_key != node.host_key:
            raise _wrong_key(host)
        self._let_in(host, node)
        return node, fault

    async def _leave(self, host: Host, fault: Fault) -> None:
        if fault.answer_lost:
            await asyncio.sleep(self._answer_timeout_s)
            raise TimedOut(host.name, "obeyed, perhaps, but its answer was lost; ask again with the same key")


def _wrong_key(host: Host) -> BackendError:
    return Refused(host.name, "does not hold the host key that is pinned for this node, and was sent nothing")


def _check_name(name: str) -> None:
    if not _NAME.match(name):
        raise ValueError(f"not a name that a node knows: {name!r}")


def _check_key(key: AttemptKey) -> None:
    _check_name(key.job)
    _check_name(key.step)
    if key.attempt < 1:
        raise ValueError(f"attempts count from 1: {key.attempt}")
