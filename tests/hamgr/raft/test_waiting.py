"""Readers share confirmations, but none is served by one that was sent before it came."""

import asyncio

import pytest

from hamgr.raft.port import NoLeader
from hamgr.raft.waiting import SharedReads


class Rounds(list):
    """The numbers of the rounds that were asked for."""

    def __call__(self, number):
        self.append(number)


@pytest.fixture
def rounds():
    return Rounds()


@pytest.fixture
async def reads(rounds):
    return SharedReads(rounds, again_s=0.05)


def reader(reads):
    found = asyncio.get_running_loop().create_future()
    reads.join(found)
    return found


async def test_who_comes_while_a_round_is_under_way_waits_for_the_next(reads, rounds):
    first = reader(reads)
    late = [reader(reads) for _ in range(3)]
    assert len(rounds) == 1
    reads.answered(rounds[0], True)
    assert first.done()
    assert not any(one.done() for one in late)
    assert len(rounds) == 2
    reads.answered(rounds[1], True)
    assert all(one.done() for one in late)
    assert len(reads) == 0


async def test_a_round_that_nobody_confirmed_serves_nobody_and_is_asked_again(reads, rounds):
    first = reader(reads)
    reads.answered(rounds[0], False)
    assert not first.done()
    await asyncio.sleep(0.1)
    assert len(rounds) > 1
    reads.answered(rounds[0], True)
    assert not first.done()
    reads.answered(rounds[-1], True)
    assert first.done()


async def test_a_round_without_an_answer_is_asked_again_for_all_who_wait(reads, rounds):
    waiting = [reader(reads) for _ in range(3)]
    await asyncio.sleep(0.1)
    reads.answered(rounds[-1], True)
    assert all(one.done() for one in waiting)


async def test_a_new_leader_is_asked_at_once(reads, rounds):
    first = reader(reads)
    reads.stir()
    assert len(rounds) == 2
    reads.answered(rounds[0], True)
    assert not first.done()


async def test_nothing_is_asked_when_nobody_waits_any_more(reads, rounds):
    reader(reads).cancel()
    await asyncio.sleep(0.12)
    assert len(rounds) == 1
    reads.stir()
    assert len(rounds) == 1


async def test_all_are_told_when_nothing_can_be_confirmed_any_more(reads, rounds):
    waiting = [reader(reads) for _ in range(2)]
    reads.give_up(lambda: NoLeader("the replica is stopped"))
    for one in waiting:
        with pytest.raises(NoLeader):
            await one
    await asyncio.sleep(0.1)
    assert len(rounds) == 1
