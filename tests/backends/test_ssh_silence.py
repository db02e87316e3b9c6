"""Nodes that fall silent under a kept connection: how long they were silent is known, and bounded."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from backends.memory.executor import MemoryExecutor
from backends.memory.node import MemoryNode
from backends.ports import AttemptKey, AttemptState, Host, TimedOut
from backends.ssh.executor import SSHExecutor
from backends.ssh.sandbox.server import Sandbox, sandbox
from backends.ssh.settings import SSHSettings
from hamgr.jobs.attempt import AttemptSettings, GaveUp, NodeCalls
from statemachine.words import Ending
from tests.backends.worlds import client_key, launches_of, settings, work

KEY = AttemptKey(job="c1.7", step="web.install", attempt=1)
PATIENCE_S = 4.0
ENOUGH_S = 30.0
"""For everything that a silence of `PATIENCE_S` ends: much less than the settings as shipped would take."""


class Cable:
    """A relay before a node that can be cut: both ends keep their connection, and no byte passes."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._whole = asyncio.Event()
        self._whole.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    @contextlib.asynccontextmanager
    async def laid(self) -> AsyncIterator[Host]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield replace(self._host, address="127.0.0.1", port=server.sockets[0].getsockname()[1])
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there, thither = await asyncio.open_connection(self._host.address, self._host.port)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self._pass(reader, thither), self._pass(there, writer))
        for end in (thither, writer):
            end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._whole.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError("one end is gone, and so goes the other")


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Sandbox]:
    public = client_key(tmp_path / "client").export_public_key().decode()
    async with sandbox(["one"], root=tmp_path / "nodes", authorized_key=public, reap=True) as there:
        yield there


@pytest.fixture
async def executor(running: Sandbox, tmp_path: Path) -> AsyncIterator[SSHExecutor]:
    made = SSHExecutor(settings(tmp_path / "client").within(PATIENCE_S), random=Random(1))
    yield made
    await made.close()


async def test_a_node_that_falls_silent_in_mid_step_is_given_up_when_the_one_deadline_is_over(
    running: Sandbox, executor: SSHExecutor
) -> None:
    cable = Cable(running.node("one").host)
    async with cable.laid() as host, asyncio.timeout(ENOUGH_S):
        calls = NodeCalls(
            executor=executor,
            host=lambda: host,
            epoch=1,
            job=KEY.job,
            settings=AttemptSettings(unreachable_deadline_s=PATIENCE_S),
        )
        await calls.fence()
        cable.cut()
        with pytest.raises(GaveUp) as caught:
            await calls.fence()
    assert caught.value.ending is Ending.UNREACHABLE


async def test_the_silence_that_a_call_tells_of_counts_from_the_last_byte(
    running: Sandbox, executor: SSHExecutor
) -> None:
    cable = Cable(running.node("one").host)
    now = asyncio.get_running_loop().time
    async with cable.laid() as host, asyncio.timeout(ENOUGH_S):
        await executor.fence(host, 1, job=KEY.job)
        heard_at = now()
        cable.cut()
        with pytest.raises(TimedOut) as caught:
            await executor.run(host, 1, KEY, work(lasts_s=60), wait_s=600)
        silent_s = now() - heard_at
    assert silent_s / 2 < caught.value.silent_s <= silent_s + 0.1
    assert caught.value.silent_s >= PATIENCE_S / 2


async def test_a_silence_that_ends_in_time_costs_no_attempt(running: Sandbox, executor: SSHExecutor) -> None:
    node = running.node("one")
    cable = Cable(node.host)
    async with cable.laid() as host, asyncio.timeout(ENOUGH_S):
        waiting = asyncio.ensure_future(executor.run(host, 1, KEY, work(lasts_s=0.5), wait_s=20))
        while not launches_of(node.root):
            await asyncio.sleep(0.02)
        cable.cut()
        await asyncio.sleep(PATIENCE_S / 8)
        cable.mend()
        assert (await waiting).state is AttemptState.DONE
    assert launches_of(node.root) == ["1 c1.7 web.install 1"]


async def test_a_silence_that_was_long_enough_before_it_was_noticed_is_not_waited_for_again() -> None:
    class Late(MemoryExecutor):
        asked = 0

        async def fence(self, host: Host, epoch: int, *, job: str) -> None:
            self.asked += 1
            raise TimedOut(host.name, "did not answer", silent_s=60.0)

    executor = Late()
    host = executor.attach(MemoryNode(name="one"), "10.0.0.1")
    calls = NodeCalls(executor=executor, host=lambda: host, epoch=1, job=KEY.job, settings=AttemptSettings())
    async with asyncio.timeout(ENOUGH_S):
        with pytest.raises(GaveUp):
            await calls.fence()
    assert executor.asked == 1


def test_what_is_shorter_than_the_deadline_asks_for_stays_as_it_is() -> None:
    shipped = SSHSettings(client_key_paths=())
    assert shipped.within(3600) == shipped
    short = shipped.within(8)
    assert short.keepalive_interval_s * (short.keepalive_count_max + 1) + short.resume_timeout_s == 8
    assert short.within(8) == short
