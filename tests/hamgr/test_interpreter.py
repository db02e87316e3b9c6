"""When full collections of cyclic garbage are made."""

import asyncio
import gc
import sys
import weakref
from collections.abc import Iterator

import pytest

from hamgr import interpreter

PAUSE_S = 0.01


class Knot:
    """Refers to itself, so that only a collection ends it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def only_asked_for() -> Iterator[None]:
    """Leave the interpreter no collections of its own."""
    gc.disable()
    yield
    gc.enable()


def old_garbage() -> weakref.ref[Knot]:
    """Return what only a full collection finds, after so many others that one is worth it."""
    gc.collect()
    knot = Knot()
    found = weakref.ref(knot)
    for _ in range(interpreter.MIDDLE_COLLECTIONS_MIN):
        gc.collect(1)
    del knot
    return found


def full_collections() -> int:
    return int(gc.get_stats()[2]["collections"])


async def test_garbage_is_collected_when_nothing_is_going_on():
    found = old_garbage()
    collecting = asyncio.create_task(interpreter.collect_when_quiet(lambda: False, quiet_s=PAUSE_S))
    async with asyncio.timeout(30):
        while found() is not None:
            await asyncio.sleep(PAUSE_S)
    collecting.cancel()


async def test_nobody_is_held_up_while_a_job_runs_or_just_ended():
    found, looks = old_garbage(), iter([True, True, False, True, False, True])
    looked: list[bool] = []

    def busy() -> bool:
        looked.append(next(looks))
        return looked[-1]

    collecting = asyncio.create_task(interpreter.collect_when_quiet(busy, quiet_s=PAUSE_S))
    async with asyncio.timeout(30):
        while len(looked) < 6:
            await asyncio.sleep(PAUSE_S)
    collecting.cancel()
    assert found() is not None


async def test_an_idle_replica_does_not_collect_again_and_again():
    gc.collect()
    before, looked = full_collections(), 0

    def busy() -> bool:
        nonlocal looked
        looked += 1
        return False

    collecting = asyncio.create_task(interpreter.collect_when_quiet(busy, quiet_s=PAUSE_S))
    async with asyncio.timeout(30):
        while looked < 10:
            await asyncio.sleep(PAUSE_S)
    collecting.cancel()
    assert full_collections() == before


def test_threads_take_turns_quickly_and_full_collections_are_rare():
    before = sys.getswitchinterval(), gc.get_threshold()
    try:
        interpreter.set_up()
        assert sys.getswitchinterval() == pytest.approx(interpreter.SWITCH_INTERVAL_S)
        assert gc.get_threshold()[2] == interpreter.MIDDLE_COLLECTIONS_MAX
    finally:
        sys.setswitchinterval(before[0])
        gc.set_threshold(*before[1])
