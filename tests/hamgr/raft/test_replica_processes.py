"""Replicas in processes of their own, killed, frozen and started again.

Node names and request ids are unique, and each change leaves an event: what was lost, or done twice,
shows in the number of events however well the state hides it.
"""

import asyncio
import signal
import time

import pytest

from hamgr.raft.settings import Timers
from statemachine.outcomes import Accepted, Rejected
from tests.hamgr.raft import kit
from tests.hamgr.raft.member import Lost

CLIENTS = 8


async def leader_of(members):
    async def leads(member):
        try:
            return (await member.look())["leads"]
        except Lost:
            return False

    async def found():
        leading = [member for member in members if await leads(member)]
        return leading[0] if leading else None

    return await kit.until(found)


async def insist(members, command):
    """Propose at one member after the other until the outcome is known, always under the same id."""
    for turn in range(60):
        try:
            return await members[turn % len(members)].propose(command, timeout_s=1.5)
        except Lost:
            await asyncio.sleep(0.05)
    raise AssertionError(f"nobody took {command}")


async def agreed(members):
    """Wait until all have applied equally much; return their one view, or fail if they differ."""

    async def level():
        views = await asyncio.gather(*(member.look() for member in members))
        return views if len({view["index"] for view in views}) == 1 else None

    views = await kit.until(level)
    assert len({view["digest"] for view in views}) == 1
    return views[0]


def events_about(view, node):
    return [kind for _index, kind, subject in view["events"] if subject == node]


async def count_up(members, number, acknowledged, enough):
    """One client: adds its node, then counts on its label, one acknowledged step after the other."""
    name = f"node{number}"
    await insist(members, kit.add_node(name))
    while not enough.is_set():
        outcome = await insist(members, kit.edit_node(name, acknowledged[name] + 1))
        assert isinstance(outcome, Accepted)
        acknowledged[name] += 1


async def test_killing_the_leader_under_load_loses_nothing_and_repeats_nothing(members):
    three = await members(snapshot_entries=64)
    acknowledged = {f"node{number}": 0 for number in range(CLIENTS)}
    enough = asyncio.Event()

    def total_is(least):
        return lambda: sum(acknowledged.values()) >= least

    async with asyncio.TaskGroup() as group:
        leader = await leader_of(three)
        followers = [member for member in three if member is not leader]
        for number in range(CLIENTS):
            turned = followers[number % 2 :] + followers[: number % 2]
            group.create_task(count_up(turned, number, acknowledged, enough))
        await kit.until(total_is(80))
        await leader.kill()
        await kit.until(total_is(sum(acknowledged.values()) + 80))
        await leader.start()
        await kit.until(total_is(sum(acknowledged.values()) + 40))
        enough.set()
    await leader.read()
    view = await agreed(three)
    for name, count in acknowledged.items():
        assert view["nodes"][name] == {"n": str(count)}
        assert events_about(view, name) == ["node.added"] + ["node.edited"] * count


async def test_all_that_was_acknowledged_outlives_restarts_of_all_and_entries_that_are_no_commands(members):
    three = await members(snapshot_entries=16)
    for turn, end in enumerate(("stop", "kill", "stop"), start=1):
        for number in range(12):
            outcome = await insist(three, kit.add_node(f"n{turn}-{number}"))
            assert isinstance(outcome, Accepted)
        poison = await three[turn % 3].propose_bytes(b"\xc1 not a command", timeout_s=20)
        assert isinstance(poison, Rejected)
        await asyncio.gather(*(getattr(member, end)() for member in three))
        await asyncio.gather(*(member.start() for member in three))
        await three[turn % 3].read(timeout_s=20)
        view = await agreed(three)
        assert len(view["nodes"]) == 12 * turn
        assert len(view["events"]) == 12 * turn


async def _handed_over(leader, rest):
    """Stop a leader; return how long it was until another one leads."""
    begun = time.monotonic()
    assert await leader.stop() == 0
    await leader_of(rest)
    return time.monotonic() - begun


async def test_a_leader_that_is_stopped_exits_cleanly_and_has_a_successor_without_an_election_timeout(
    members,
):
    three = await members(timers=Timers(election_s_min=2.5, election_s_max=3.2, quorum_lost_s=2.5))
    leader = await leader_of(three)
    rest = [member for member in three if member is not leader]
    await insist(rest, kit.add_node("a"))
    took_s = [await _handed_over(leader, rest)]
    while took_s[-1] >= 2.4:  # a machine that stands still for a moment does not do so each time
        assert len(took_s) < 5, took_s
        await leader.start()
        await agreed(three)
        leader = await leader_of(three)
        rest = [member for member in three if member is not leader]
        took_s.append(await _handed_over(leader, rest))
    await insist(rest, kit.add_node("b"))
    assert sorted((await agreed(rest))["nodes"]) == ["a", "b"]


async def test_a_leader_that_was_frozen_thaws_and_agrees_with_the_others(members):
    three = await members()
    leader = await leader_of(three)
    rest = [member for member in three if member is not leader]
    await insist(rest, kit.add_node("before"))
    leader.signal(signal.SIGSTOP)
    stuck = asyncio.ensure_future(leader.propose(kit.add_node("stuck"), timeout_s=0.2))
    await insist(rest, kit.add_node("meanwhile"))
    leader.signal(signal.SIGCONT)
    view = await leader.read(timeout_s=20)
    assert {"before", "meanwhile"} <= set(view["nodes"])
    stuck_outcome = (await asyncio.gather(stuck, return_exceptions=True))[0]
    assert isinstance(stuck_outcome, Accepted | Lost)
    assert isinstance(await insist([leader], kit.add_node("stuck")), Accepted)
    view = await agreed(three)
    assert sorted(view["nodes"]) == ["before", "meanwhile", "stuck"]
    assert events_about(view, "stuck") == ["node.added"]


async def test_a_replica_that_missed_what_the_log_no_longer_has_comes_back_by_a_snapshot(members):
    three = await members(snapshot_entries=16)
    leader = await leader_of(three)
    absent, other = (member for member in three if member is not leader)
    await insist([other], kit.add_node("first"))
    await absent.kill()
    for number in range(80):
        await insist([leader, other], kit.add_node(f"n{number}"))
    await kit.until((leader.settings.data_dir / "snapshot").exists)
    await absent.start()
    view = await absent.read(timeout_s=20)
    assert len(view["nodes"]) == 81
    view = await agreed(three)
    assert len(view["events"]) == 81
    await asyncio.gather(other.kill(), absent.kill())
    await asyncio.gather(other.start(), absent.start())
    assert len((await agreed(three))["nodes"]) == 81


async def test_a_lone_survivor_acknowledges_nothing_until_another_is_back(members):
    three = await members()
    leader = await leader_of(three)
    await insist([leader], kit.add_node("a"))
    rest = [member for member in three if member is not leader]
    await asyncio.gather(*(member.kill() for member in rest))
    with pytest.raises(Lost):
        await leader.propose(kit.add_node("b"), timeout_s=1.5)
    with pytest.raises(Lost):
        await leader.read(timeout_s=0.5)
    await rest[0].start()
    await insist([leader], kit.add_node("b"))
    assert sorted((await agreed([leader, rest[0]]))["nodes"]) == ["a", "b"]


async def test_a_leader_whose_api_burns_the_processor_keeps_leadership_and_serves_the_others(members):
    patient = Timers(election_s_min=0.5, election_s_max=0.8, quorum_lost_s=0.8)
    three = await members(timers=patient)
    # A busy machine may cost a leader its term at any time; an API that could would do it each time.
    for _ in range(4):
        leader = await leader_of(three)
        rest = [member for member in three if member is not leader]
        await insist(rest, kit.add_node("before"))
        term = (await leader.look())["term"]
        burning = asyncio.ensure_future(leader.call("burn", seconds=2.0, timeout_s=20))
        while not burning.done():
            await insist(rest[:1], kit.add_node(f"n{time.monotonic_ns()}"))
        await burning
        view = await leader.look()
        if (view["leads"], view["term"]) == (True, term):
            break
    assert (view["leads"], view["term"]) == (True, term)
    assert len(view["nodes"]) > 2
