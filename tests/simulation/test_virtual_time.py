"""The loop without time: it jumps, keeps order, and says when nothing can happen any more."""

import asyncio
import time

import pytest

from tests.simulation.virtual_time import EPOCH_S, Stuck, VirtualClock, run


def test_a_year_passes_at_once_and_in_order() -> None:
    seen: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, asyncio.get_running_loop().time()))

    async def main() -> float:
        await asyncio.gather(sleeper("late", 365 * 86400.0), sleeper("soon", 0.25), sleeper("never", 3.0))
        return VirtualClock(skew_s=5.0).now()

    began = time.monotonic()
    assert run(main()) == EPOCH_S + 365 * 86400.0 + 5.0
    assert time.monotonic() - began < 30.0
    assert seen == [("soon", 0.25), ("never", 3.0), ("late", 365 * 86400.0)]


def test_waiting_for_nobody_raises_instead_of_hanging() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck, match="everybody waits"):
        run(main())


def test_spinning_without_time_raises_instead_of_hanging() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Stuck, match="time does not pass"):
        run(main())


def test_what_is_left_behind_is_cancelled() -> None:
    ended: list[str] = []

    async def left() -> None:
        try:
            await asyncio.sleep(1e6)
        finally:
            ended.append("left")

    async def main() -> None:
        tasks.append(asyncio.get_running_loop().create_task(left()))
        await asyncio.sleep(1.0)

    tasks: list[asyncio.Task[None]] = []
    run(main())
    assert ended == ["left"]
