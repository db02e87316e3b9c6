"""Replicas of different versions in one cluster: what one does not know is not obeyed, and not forgotten."""

import asyncio
import logging

import msgpack
import pytest

from hamgr.raft import consensus, opening, roster
from hamgr.raft.port import ConsensusError, NoLeader, NotCommitted
from hamgr.raft.replica import RaftReplica
from statemachine import codec
from tests.hamgr.raft import kit
from tests.hamgr.raft.conftest import running

LONG_S = 20.0
LATER = bytes(msgpack.packb([codec.FORMAT, "LaterCommand", {"request_id": "later"}]))


async def leader_of(replicas):
    return await kit.until(lambda: next((one for one in replicas if one.leadership.leads), None))


async def test_a_command_that_this_version_does_not_know_gets_into_no_log(tmp_path):
    replica = RaftReplica(kit.settings_of(1, tmp_path)[0])
    async with running([replica]):
        await replica.propose(kit.add_node("a"), timeout_s=LONG_S)
        before = replica.figures.last_index
        with pytest.raises(NotCommitted, match=r"r1 cannot obey LaterCommand.*upgrade"):
            await replica.propose_entry(LATER, timeout_s=1.0)
        assert replica.figures.last_index == before


@pytest.fixture
def mixed(tmp_path, monkeypatch):
    """Three replicas, the last of which says that it does not know `SetGlobals`."""
    settings = kit.settings_of(3, tmp_path)
    hello_of = opening.hello_of

    def said(own, version):
        hello = hello_of(own, version)
        if own.replica == settings[2].me:
            hello = hello.__class__(
                **{
                    **{name: getattr(hello, name) for name in hello.__slots__},
                    "commands": codec.COMMAND_NAMES - {"SetGlobals"},
                }
            )
        return hello

    monkeypatch.setattr(consensus, "hello_of", said)
    return [RaftReplica(one) for one in settings]


async def test_a_command_that_a_connected_member_does_not_know_is_refused_naming_it(mixed):
    async with running(mixed):
        await kit.until(lambda: all(peer.connected for one in mixed for peer in one.peers))
        await mixed[0].propose(kit.add_node("a"), timeout_s=LONG_S)
        for one in mixed[:2]:
            with pytest.raises(NotCommitted, match=r"r3 cannot obey SetGlobals.*upgrade"):
                await one.propose(kit.set_globals(x=1), timeout_s=1.0)
        await mixed[2].stop()
        await kit.until(
            lambda: not any(p.connected for one in mixed[:2] for p in one.peers if p.name == "r3")
        )
        await mixed[0].propose(kit.set_globals(x=1), timeout_s=LONG_S)


async def test_a_leader_takes_no_command_from_a_follower_that_a_member_does_not_know(mixed, monkeypatch):
    """The follower itself may not have met the member of an earlier version."""
    async with running(mixed):
        await kit.until(lambda: all(peer.connected for one in mixed for peer in one.peers))
        first = await leader_of(mixed)
        if first is mixed[2]:
            await first.members.transfer(mixed[0]._settings.me, timeout_s=LONG_S)
        leader = await leader_of(mixed[:2])
        follower = next(one for one in mixed[:2] if one is not leader)
        monkeypatch.setattr(follower._consensus.roster, "refusal_of", lambda _entry: "")
        before = leader.figures.last_index
        with pytest.raises(NotCommitted):
            await follower.propose(kit.set_globals(x=1), timeout_s=0.5)
        assert leader.figures.last_index == before
        assert "x" not in leader.state.globals


@pytest.fixture
def ignorant(monkeypatch):
    """Makes one state machine of many forget a command: `ignorant(replica)`."""

    def forget(replica: RaftReplica) -> None:
        applier = replica._consensus.applier
        obey = applier.obey

        def stops(index: int, entry: bytes) -> bool:
            if codec.command_name(entry) != "SetGlobals":
                return obey(index, entry)
            return obey(index, LATER)

        monkeypatch.setattr(applier, "obey", stops)

    return forget


async def test_a_replica_that_meets_a_later_command_stops_there_refuses_to_lead_and_still_stores(
    tmp_path, ignorant, caplog
):
    settings = kit.settings_of(3, tmp_path)
    three = [RaftReplica(one) for one in settings]
    async with running(three):
        leader = await leader_of(three)
        await leader.propose(kit.add_node("a"), timeout_s=LONG_S)
        ignorant(leader)
        with caplog.at_level(logging.ERROR), pytest.raises(ConsensusError):
            await leader.propose(kit.set_globals(x=1), timeout_s=LONG_S)
        rest = [one for one in three if one is not leader]
        successor = await leader_of(rest)
        await successor.propose(kit.set_globals(x=2), timeout_s=LONG_S)
        await successor.propose(kit.add_node("b"), timeout_s=LONG_S)
        assert list(leader.state.nodes) == ["a"]
        assert "x" not in leader.state.globals
        with pytest.raises(NoLeader, match="later version"):
            await leader.read(timeout_s=1.0)
        with pytest.raises(NotCommitted, match="later version"):
            await leader.propose(kit.add_node("c"), timeout_s=1.0)
        figures = leader.figures
        assert figures.renounced
        assert "upgrade this replica" in figures.warning
        assert any("later version" in record.getMessage() for record in caplog.records)
        # It counts for the majority all the same.
        other = next(one for one in rest if one is not successor)
        await other.stop()
        await successor.propose(kit.add_node("d"), timeout_s=LONG_S)
        await asyncio.sleep(1.0)
        await kit.until(lambda: successor.leadership.leads)
    upgraded = RaftReplica(settings[three.index(leader)])
    async with running([upgraded, RaftReplica(settings[three.index(other)])]):
        state = await upgraded.read(timeout_s=LONG_S)
        assert sorted(state.nodes) == ["a", "b", "d"]
        assert state.globals["x"] == 2


def test_a_name_that_nobody_lacks_is_let_through_and_garbage_is_not_ours_to_judge():
    known = roster.Roster("me", "r1")
    assert known.refusal_of(codec.encode_command(kit.add_node("a"))) == ""
    assert known.refusal_of(b"garbage") == ""
