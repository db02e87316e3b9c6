"""Changes of the members, on real replicas over real TLS."""

import asyncio

import pytest

from hamgr.raft.port import NotCommitted
from hamgr.raft.protocol.membership import ChangeRefused
from hamgr.raft.replica import RaftReplica
from tests.hamgr.raft import kit
from tests.hamgr.raft.conftest import running

LONG_S = 20.0


async def leader_of(replicas):
    return await kit.until(lambda: next((one for one in replicas if one.leadership.leads), None))


def voters(replica):
    return sorted(member.name for member in replica.members.configuration.voters)


async def test_a_learner_gets_the_log_is_promoted_and_outvotes_the_dead(tmp_path):
    settings = kit.settings_of(2, tmp_path, spare=1)
    two, third = [RaftReplica(one) for one in settings[:2]], RaftReplica(settings[2])
    async with running(two):
        leader = await leader_of(two)
        for number in range(40):
            await leader.propose(kit.add_node(f"n{number}"), timeout_s=LONG_S)
        await leader.members.add_learner(kit.member_of(settings[2]), timeout_s=LONG_S)
        assert voters(leader) == ["r1", "r2"]
        async with running([third]):
            await leader.members.promote(settings[2].me, timeout_s=LONG_S)
            assert voters(leader) == ["r1", "r2", "r3"]
            await kit.until(lambda: len(third.state.nodes) == 40)
            other = next(one for one in two if one is not leader)
            await other.stop()
            await third.propose(kit.add_node("with-the-new-one"), timeout_s=LONG_S)
            assert "with-the-new-one" in (await leader.read(timeout_s=LONG_S)).nodes
            assert {peer.name for peer in third.peers} == {"r1", "r2"}
            assert leader.figures.voters == ("r1", "r2", "r3")


async def test_the_members_are_those_of_the_log_after_a_restart(tmp_path):
    settings = kit.settings_of(1, tmp_path, spare=1)
    first, second = RaftReplica(settings[0]), RaftReplica(settings[1])
    async with running([first]):
        await leader_of([first])
        await first.propose(kit.add_node("a"), timeout_s=LONG_S)
        await first.members.add_learner(kit.member_of(settings[1]), timeout_s=LONG_S)
        async with running([second]):
            await first.members.promote(settings[1].me, timeout_s=LONG_S)
    again = [RaftReplica(one) for one in settings]
    async with running(again):
        assert all(voters(one) == ["r1", "r2"] for one in again)
        await again[1].propose(kit.add_node("b"), timeout_s=LONG_S)


async def test_a_follower_is_removed_and_disturbs_nobody_afterwards(tmp_path):
    three = [RaftReplica(one) for one in kit.settings_of(3, tmp_path)]
    async with running(three):
        leader = await leader_of(three)
        gone, stays = (one for one in three if one is not leader)
        await leader.propose(kit.add_node("a"), timeout_s=LONG_S)
        await leader.members.remove(gone._settings.me, timeout_s=LONG_S)
        # A busy machine may cost a leader its term at any time; one who was removed would do it each time.
        for _ in range(4):
            leader = await leader_of([leader, stays])
            term = leader.leadership.term
            await asyncio.sleep(1.0)
            stayed = leader.leadership.leads and leader.leadership.term == term
            if stayed:
                break
        assert stayed
        stays = next(one for one in three if one not in (leader, gone))
        assert voters(leader) == sorted([leader.name, stays.name])
        with pytest.raises(Exception, match=r"no leader|no answer|NoLeader"):
            await gone.read(timeout_s=0.5)


async def test_a_leader_that_is_to_be_removed_hands_over_and_names_its_successor(tmp_path):
    three = [RaftReplica(one) for one in kit.settings_of(3, tmp_path)]
    async with running(three):
        leader = await leader_of(three)
        await leader.propose(kit.add_node("a"), timeout_s=LONG_S)
        with pytest.raises(ChangeRefused, match="handed leadership over"):
            await leader.members.remove(leader._settings.me, timeout_s=LONG_S)
        rest = [one for one in three if one is not leader]
        successor = await leader_of(rest)
        await successor.propose(kit.add_node("b"), timeout_s=LONG_S)
        await successor.members.remove(leader._settings.me, timeout_s=LONG_S)
        assert voters(successor) == sorted(one.name for one in rest)


async def test_leadership_goes_where_it_is_asked_to(tmp_path):
    three = [RaftReplica(one) for one in kit.settings_of(3, tmp_path)]
    async with running(three):
        leader = await leader_of(three)
        heir = next(one for one in three if one is not leader)
        await leader.propose(kit.add_node("a"), timeout_s=LONG_S)
        await leader.members.transfer(heir._settings.me, timeout_s=LONG_S)
        await kit.until(lambda: heir.leadership.leads)


async def test_a_change_that_must_not_be_is_one_sentence_and_changes_nothing(tmp_path):
    settings = kit.settings_of(3, tmp_path, spare=1)
    three = [RaftReplica(one) for one in settings[:3]]
    async with running(three):
        leader = await leader_of(three)
        await leader.propose(kit.add_node("a"), timeout_s=LONG_S)
        follower = next(one for one in three if one is not leader)
        with pytest.raises(ChangeRefused, match=f"ask {leader.name}"):
            await follower.members.add_learner(kit.member_of(settings[3]), timeout_s=1.0)
        with pytest.raises(ChangeRefused, match="not a learner"):
            await leader.members.promote(settings[3].me, timeout_s=1.0)
        with pytest.raises(ChangeRefused, match="not a member"):
            await leader.members.remove(settings[3].me, timeout_s=1.0)
        await leader.members.add_learner(kit.member_of(settings[3]), timeout_s=LONG_S)
        with pytest.raises(NotCommitted, match="was not heard of"):
            await leader.members.promote(settings[3].me, timeout_s=0.3)
        assert voters(leader) == ["r1", "r2", "r3"]
        with pytest.raises(NotCommitted, match="could take over"):
            await leader.members.transfer(settings[3].me, timeout_s=0.2)
        assert leader.leadership.leads
