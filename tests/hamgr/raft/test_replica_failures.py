"""What a replica does when something that should not happen does: it says so, and stops or goes on."""

import asyncio
import dataclasses
import logging
import time

import pytest

from hamgr.raft import replica as replica_module
from hamgr.raft.core import core, library
from hamgr.raft.port import CannotStart, ConsensusError, NoLeader, NotCommitted
from hamgr.raft.replica import RaftReplica
from statemachine.outcomes import Accepted
from tests.hamgr.raft import kit
from tests.hamgr.raft.conftest import running

LONG_S = 20.0


@pytest.fixture
def settings(tmp_path):
    return kit.settings_of(1, tmp_path)[0]


async def test_a_bug_met_while_applying_is_one_line_with_its_index_and_without_content(settings, caplog):
    replica = RaftReplica(settings)
    await replica.start()
    await replica.propose(kit.add_node("a"), timeout_s=LONG_S)
    with caplog.at_level(logging.INFO, logger="hamgr"):
        await replica.propose_entry(b"\xa6hunter2", timeout_s=LONG_S)
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if line.startswith("entry 4 ")]) == 1
    assert "hunter2" not in str(lines)
    await replica.stop()


async def test_a_replica_whose_library_fails_says_so_and_takes_part_in_nothing(settings, monkeypatch):
    told = asyncio.get_running_loop().create_future()
    replica = RaftReplica(settings, on_failure=told.set_result)
    await replica.start()
    await replica.propose(kit.add_node("a"), timeout_s=LONG_S)

    def broken(*_args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(core.Core, "settle", broken)
    assert "OSError" in await asyncio.wait_for(told, LONG_S)
    with pytest.raises(ConsensusError, match="failed"):
        await replica.propose(kit.add_node("b"), timeout_s=LONG_S)
    with pytest.raises(NoLeader, match="failed"):
        await replica.read(timeout_s=LONG_S)
    assert list(replica.state.nodes) == ["a"]
    assert not replica.leadership.leads
    monkeypatch.undo()
    await replica.stop()
    again = RaftReplica(settings)
    await again.start()
    assert list((await again.read(timeout_s=LONG_S)).nodes) == ["a"]
    await again.stop()


async def test_a_failure_of_the_library_to_start_is_one_clear_error(settings, monkeypatch):
    def broken(*_args, **_more):
        raise ValueError("no")

    monkeypatch.setattr(library.SyncObj, "__init__", broken)
    replica = RaftReplica(settings)
    with pytest.raises(CannotStart, match="r1 cannot take part"):
        await replica.start()
    with pytest.raises(NotCommitted):
        await replica.propose(kit.add_node("a"), timeout_s=1.0)
    await replica.stop()


async def test_a_submission_that_is_refused_is_tried_again_soon(settings, monkeypatch):
    replica = RaftReplica(dataclasses.replace(settings, resend_s=60.0, resend_s_max=60.0))
    await replica.start()
    await kit.until(lambda: replica.leadership.leads)
    submit, refusals = core.Core.submit, []

    def refuse_twice(self, entry, answer):
        if len(refusals) < 2:
            refusals.append(entry)
            answer(False)
        else:
            submit(self, entry, answer)

    monkeypatch.setattr(core.Core, "submit", refuse_twice)
    assert isinstance(await replica.propose(kit.add_node("a"), timeout_s=LONG_S), Accepted)
    assert len(refusals) == 2
    await replica.stop()


async def test_a_submission_that_is_always_refused_is_known_not_to_be_committed(settings, monkeypatch):
    replica = RaftReplica(settings)
    await replica.start()
    await kit.until(lambda: replica.leadership.leads)
    monkeypatch.setattr(core.Core, "submit", lambda _self, _entry, answer: answer(False))
    with pytest.raises(NotCommitted):
        await replica.propose(kit.add_node("a"), timeout_s=0.3)
    monkeypatch.undo()
    assert not (await replica.read(timeout_s=LONG_S)).nodes
    await replica.stop()


async def test_a_submission_that_vanishes_is_sent_again_and_counts_once(settings, monkeypatch):
    replica = RaftReplica(settings)
    await replica.start()
    await kit.until(lambda: replica.leadership.leads)
    submit, turns = core.Core.submit, []

    def lose_one_then_send_two(self, entry, answer):
        turns.append(entry)
        if len(turns) > 1:
            submit(self, entry, answer)
            submit(self, entry, answer)

    monkeypatch.setattr(core.Core, "submit", lose_one_then_send_two)
    outcome = await replica.propose(kit.add_node("a"), timeout_s=LONG_S)
    assert isinstance(outcome, Accepted)
    assert len((await replica.read(timeout_s=LONG_S)).events) == 1
    await replica.stop()


async def test_readers_that_come_together_share_confirmations_and_put_nothing_into_the_log(settings):
    replica = RaftReplica(settings)
    await replica.start()
    await replica.propose(kit.add_node("a"), timeout_s=LONG_S)
    asked, before = [], replica.figures.last_index
    confirm = replica._engine.confirm
    replica._reads._ask = lambda number: (asked.append(number), confirm(number))
    await asyncio.gather(*(replica.read(timeout_s=LONG_S) for _ in range(500)))
    assert len(asked) <= 2
    assert replica.figures.last_index == before
    await replica.stop()


async def test_refusals_and_changes_of_leader_do_not_multiply_what_is_sent(settings, monkeypatch):
    replica = RaftReplica(settings)
    await replica.start()
    await kit.until(lambda: replica.leadership.leads)
    sent = []
    monkeypatch.setattr(core.Core, "submit", lambda _self, entry, answer: (sent.append(entry), answer(False)))
    proposal = asyncio.ensure_future(replica.propose(kit.add_node("a"), timeout_s=1.5))
    await asyncio.sleep(0.1)
    for term in range(100, 130):  # as if the leader had changed again and again
        replica._seen = dataclasses.replace(replica.leadership, term=term)
        replica._drain()
    await asyncio.sleep(0.3)
    before = len(sent)
    await asyncio.sleep(0.7)
    assert len(sent) - before <= 8
    with pytest.raises(NotCommitted):
        await proposal
    await replica.stop()


async def test_a_read_waits_until_what_the_leader_had_committed_is_applied_here(settings, monkeypatch):
    replica = RaftReplica(settings)
    await replica.start()
    await replica.propose(kit.add_node("a"), timeout_s=LONG_S)
    answered = []
    monkeypatch.setattr(
        replica._reads, "answered", lambda number, confirmed: answered.append((number, confirmed))
    )
    behind = replica._consensus.applier.index + 1
    replica._engine.ask(lambda _core: replica._consensus.confirmed(7, behind))
    replica._engine.ask(lambda _core: replica._consensus.confirmed(8, behind - 1))
    await kit.until(lambda: answered)
    assert answered == [(8, True)]
    await replica.propose(kit.add_node("b"), timeout_s=LONG_S)
    await kit.until(lambda: (7, True) in answered)
    await replica.stop()


async def test_a_thread_that_is_quicker_than_its_caller_is_woken_again_the_next_time(settings, monkeypatch):
    replica = RaftReplica(settings)
    await replica.start()
    engine = replica._engine
    call = engine._call

    def slowly(function):
        done = call(function)
        time.sleep(0.05)  # the thread has served the request before we go on
        return done

    monkeypatch.setattr(engine, "_call", slowly)
    for number in range(3):
        await replica.propose(kit.add_node(f"n{number}"), timeout_s=LONG_S)
        await kit.until(lambda: not engine._asked)
    await replica.stop()


async def test_a_leader_that_stops_asks_a_follower_to_take_over(tmp_path):
    three = [RaftReplica(one) for one in kit.settings_of(3, tmp_path)]
    async with running(three):
        leader = await kit.until(lambda: next((one for one in three if one.leadership.leads), None))
        await leader.propose(kit.add_node("a"), timeout_s=LONG_S)
        rest = [one for one in three if one is not leader]
        await kit.until(lambda: all("a" in one.state.nodes for one in rest))
        await leader.stop()
        assert sum(one._consensus.core.counters["transfers_received"] for one in rest) >= 1
        await rest[0].propose(kit.add_node("b"), timeout_s=LONG_S)


async def test_without_a_leader_nobody_waits_for_longer_than_elections_take(tmp_path, monkeypatch):
    monkeypatch.setattr(replica_module, "LEADERLESS_S", 1.0)
    alone = RaftReplica(kit.settings_of(3, tmp_path)[0])
    await alone.start()
    begun = time.monotonic()
    for ask in (alone.propose(kit.add_node("a"), timeout_s=LONG_S), alone.read(timeout_s=LONG_S)):
        with pytest.raises((NotCommitted, NoLeader), match="no leader for 1 s"):
            await ask
    assert time.monotonic() - begun < LONG_S / 2
    assert not alone.state.nodes
    await alone.stop()
