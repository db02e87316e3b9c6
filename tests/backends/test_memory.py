"""The nodes in memory: what only they can do, faults from a hook and years in seconds."""

import asyncio
import selectors
import time
from collections.abc import Coroutine

import pytest

from backends.memory.executor import MemoryExecutor
from backends.memory.faults import Fault
from backends.memory.node import MemoryNode
from backends.ports import AttemptKey, AttemptState, Host, Refused, StaleEpoch, TimedOut, Unreachable

KEY = AttemptKey(job="c1.1", step="a", attempt=1)


class _Skip(selectors.SelectSelector):
    """Never waits: it moves the loop's clock instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skip = _Skip()
        super().__init__(self._skip)
        self._clock_resolution = 1e-6  # above the rounding of a float that counts years

    def time(self) -> float:
        return self._skip.now


def virtually(work: Coroutine[None, None, object]) -> object:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def takes(duration_s: float, exit_code: int = 0, output: bytes = b"") -> MemoryNode:
    return MemoryNode(name="n", behaviour=lambda key, script: (duration_s, exit_code, output))


def test_a_year_of_work_takes_no_time() -> None:
    async def year() -> float:
        memory = MemoryExecutor()
        node = takes(365 * 86_400.0, output=b"x" * 100)
        host = memory.attach(node, "10.0.0.1")
        done = await memory.run(host, 1, KEY, b"", wait_s=1e9)
        assert (done.state, done.output_bytes) == (AttemptState.DONE, 100)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert virtually(year()) == pytest.approx(365 * 86_400, abs=1)
    assert time.monotonic() - began < 60  # whatever the machine, it is no year


def test_a_refused_connection_reaches_nobody() -> None:
    async def refused() -> None:
        memory = MemoryExecutor(fault=lambda host, verb: Fault(refused=verb == "run"))
        node = takes(1)
        host = memory.attach(node, "10.0.0.1")
        with pytest.raises(Unreachable):
            await memory.run(host, 9, KEY, b"", wait_s=5)
        assert (node.launches, node.epoch) == ([], 0)
        await memory.status(host, 1, KEY)

    virtually(refused())


@pytest.mark.parametrize("verb", ["fence", "status", "run", "kill", "read_log"])
def test_a_lost_answer_was_obeyed_all_the_same(verb: str) -> None:
    async def lost() -> None:
        lose = False
        memory = MemoryExecutor(fault=lambda host, asked: Fault(answer_lost=lose and asked == verb))
        node = takes(30)
        host = memory.attach(node, "10.0.0.1")
        if verb != "run":
            await memory.run(host, 1, KEY, b"", wait_s=0)
        lose = True
        calls = {
            "fence": lambda: memory.fence(host, 7, job="c1.1"),
            "status": lambda: memory.status(host, 7, KEY),
            "run": lambda: memory.run(host, 7, KEY, b"", wait_s=60),
            "kill": lambda: memory.kill(host, 7, KEY),
            "read_log": lambda: memory.read_log(host, KEY, offset=0, bytes_max=1),
        }
        with pytest.raises(TimedOut):
            await calls[verb]()
        lose = False
        assert len(node.launches) == 1
        if verb != "read_log":
            assert node.epoch == 7
        if verb == "run":
            assert (await memory.run(host, 7, KEY, b"", wait_s=60)).adopted
            assert len(node.launches) == 1
        if verb == "kill":
            assert (await memory.status(host, 7, KEY)).exit_code == 137

    virtually(lost())


def test_a_delayed_call_arrives_late_and_may_be_stale_by_then() -> None:
    async def late() -> None:
        memory = MemoryExecutor(fault=lambda host, verb: Fault(delay_s=10.0 if verb == "run" else 0.0))
        node = takes(1)
        host = memory.attach(node, "10.0.0.1")
        old = asyncio.ensure_future(memory.run(host, 1, KEY, b"", wait_s=5))
        await asyncio.sleep(1)
        await memory.fence(host, 2, job="c1.1")
        with pytest.raises(StaleEpoch):
            await old
        assert node.launches == []

    virtually(late())


def test_a_node_that_goes_away_in_the_middle_is_unknown_and_goes_on() -> None:
    async def away() -> None:
        memory = MemoryExecutor(answer_timeout_s=20)
        node = takes(30, exit_code=3)
        host = memory.attach(node, "10.0.0.1")
        waiting = asyncio.ensure_future(memory.run(host, 1, KEY, b"", wait_s=100))
        await asyncio.sleep(5)
        memory.set_up(node, False)
        with pytest.raises(TimedOut):
            await waiting
        assert asyncio.get_running_loop().time() == pytest.approx(25, abs=1)
        await asyncio.sleep(60)
        memory.set_up(node, True)
        assert (await memory.status(host, 1, KEY)).exit_code == 3

    virtually(away())


def test_another_machine_at_the_address_is_refused_and_learns_nothing() -> None:
    async def swapped() -> None:
        memory = MemoryExecutor()
        host = memory.attach(takes(1), "10.0.0.1")
        other = MemoryNode(name="other")
        memory.attach(other, "10.0.0.1")
        with pytest.raises(Refused):
            await memory.fence(host, 5, job="c1.1")
        assert other.epoch == 0
        met = await memory.probe(Host(name="?", address="10.0.0.1"), timeout_s=1)
        assert met.host_key == other.host_key
        memory.detach("10.0.0.1")
        with pytest.raises(Unreachable):
            await memory.probe(host, timeout_s=1)

    virtually(swapped())


def test_a_follower_sees_the_output_grow() -> None:
    async def grow() -> None:
        memory = MemoryExecutor()
        host = memory.attach(takes(10, output=b"0123456789"), "10.0.0.1")
        await memory.run(host, 1, KEY, b"", wait_s=0)
        chunks = [chunk async for chunk in memory.follow(host, KEY, offset=0)]
        assert len(chunks) > 5
        assert b"".join(chunk.data for chunk in chunks) == b"0123456789"
        assert [chunk.complete for chunk in chunks][-1]

    virtually(grow())
