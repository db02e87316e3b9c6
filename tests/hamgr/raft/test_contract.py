"""What every `Replica` promises, in memory and over mutual TLS."""

import asyncio

import pytest

from hamgr.raft.port import ConsensusError, NoLeader, NotCommitted, OutcomeUnknown
from statemachine import codec
from statemachine.outcomes import Accepted, Reason, Rejected
from tests.hamgr.raft import kit

LONG_S = 20.0


async def level(replicas):
    """Wait until all have applied the same entries; return the digest of each."""

    def equal():
        states = [replica.state for replica in replicas]
        return states if len({state.index for state in states}) == 1 else None

    return {codec.state_digest(state) for state in await kit.until(equal)}


async def test_what_one_replica_acknowledged_is_seen_by_a_read_on_any_other(replicas):
    for turn, writer in enumerate([*replicas, *replicas], start=1):
        outcome = await writer.propose(kit.set_globals(turn=turn), timeout_s=LONG_S)
        assert isinstance(outcome, Accepted)
        for reader in replicas:
            state = await reader.read(timeout_s=LONG_S)
            assert state.globals["turn"] == turn
            assert state.index >= outcome.index
    assert len(await level(replicas)) == 1


async def test_the_proposer_has_applied_the_command_itself_when_it_is_answered(replicas):
    for replica in replicas:
        outcome = await replica.propose(kit.set_globals(by=replica.name), timeout_s=LONG_S)
        assert replica.state.index >= outcome.index
        assert replica.state.globals["by"] == replica.name


async def test_a_repeated_request_takes_effect_once_and_is_answered_alike_everywhere(replicas):
    first = await replicas[0].propose(kit.add_node("a"), timeout_s=LONG_S)
    again = [await replica.propose(kit.add_node("a"), timeout_s=LONG_S) for replica in replicas]
    assert again == [first] * len(replicas)
    state = await replicas[0].read(timeout_s=LONG_S)
    assert [event.kind for event in state.events] == ["node.added"]


async def test_the_same_request_from_many_at_once_takes_effect_once(replicas):
    outcomes = await asyncio.gather(
        *(replica.propose(kit.add_node("a"), timeout_s=LONG_S) for replica in replicas * 5)
    )
    assert len(set(outcomes)) == 1
    assert len((await replicas[0].read(timeout_s=LONG_S)).events) == 1


async def test_a_broken_rule_is_an_answer_and_changes_nothing(replicas):
    await replicas[0].propose(kit.add_node("a"), timeout_s=LONG_S)
    before = await replicas[0].read(timeout_s=LONG_S)
    outcome = await replicas[-1].propose(kit.edit_node("b", 1), timeout_s=LONG_S)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.NO_SUCH_NODE
    after = await replicas[0].read(timeout_s=LONG_S)
    assert (after.nodes, after.events) == (before.nodes, before.events)


async def test_many_proposals_at_once_are_each_obeyed_once_and_in_one_order(replicas):
    names = [f"n{number}" for number in range(60)]
    outcomes = await asyncio.gather(
        *(
            replicas[number % len(replicas)].propose(kit.add_node(name), timeout_s=LONG_S)
            for number, name in enumerate(names)
        )
    )
    assert len({outcome.index for outcome in outcomes}) == len(names)
    state = await replicas[-1].read(timeout_s=LONG_S)
    assert sorted(state.nodes) == sorted(names)
    assert len(state.events) == len(names)
    assert len(await level(replicas)) == 1


async def test_bytes_that_are_no_command_are_answered_and_survived_by_all(replicas):
    await replicas[0].propose(kit.add_node("a"), timeout_s=LONG_S)
    for entry in (b"", b"\x93\x01\xa3", b"\x80" * 100, codec.encode_command(kit.add_node("b"))[:-1]):
        outcome = await replicas[-1].propose_entry(entry, timeout_s=LONG_S)
        assert isinstance(outcome, Rejected)
        assert outcome.reason is Reason.INTERNAL
    for replica in replicas:
        assert isinstance(
            await replica.propose(kit.add_node(f"by-{replica.name}"), timeout_s=LONG_S), Accepted
        )
    state = await replicas[0].read(timeout_s=LONG_S)
    assert sorted(state.nodes) == sorted(["a", *(f"by-{replica.name}" for replica in replicas)])
    assert len(await level(replicas)) == 1


async def test_a_command_of_a_quarter_of_a_mebibyte_reaches_every_replica(replicas):
    text = "x" * (256 * 1024)
    await replicas[-1].propose(kit.set_globals(text=text), timeout_s=LONG_S)
    for replica in replicas:
        assert (await replica.read(timeout_s=LONG_S)).globals["text"] == text


async def test_a_command_too_large_for_the_log_is_refused_before_it_gets_there(replicas):
    await replicas[0].propose(kit.add_node("a"), timeout_s=LONG_S)
    await level(replicas)
    before = [replica.state for replica in replicas]
    with pytest.raises(NotCommitted, match="more than"):
        await replicas[0].propose(kit.set_globals(text="x" * codec.COMMAND_BYTES_MAX), timeout_s=LONG_S)
    assert [replica.state for replica in replicas] == before


async def test_a_change_wakes_everybody_who_waits_for_one(replicas):
    follower = replicas[-1]
    await follower.read(timeout_s=LONG_S)
    seen = follower.version
    waiters = [asyncio.ensure_future(follower.changed(seen)) for _ in range(20)]
    await replicas[0].propose(kit.add_node("a"), timeout_s=LONG_S)
    assert all(version > seen for version in await asyncio.wait_for(asyncio.gather(*waiters), LONG_S))
    await kit.until(lambda: "a" in follower.state.nodes)
    assert await asyncio.wait_for(follower.changed(seen), 1.0) == follower.version


async def test_one_replica_leads_and_all_say_who(replicas):
    await replicas[0].propose(kit.add_node("a"), timeout_s=LONG_S)

    def agreed():
        views = [replica.leadership for replica in replicas]
        return len({(view.term, view.leader) for view in views}) == 1 and views[0].leader

    leader = await kit.until(agreed)
    assert [replica.name for replica in replicas if replica.leadership.leads] == [leader]
    assert all(replica.leadership.term > 0 for replica in replicas)


async def test_a_replica_knows_its_peers_their_api_and_its_links_to_them(replicas):
    for replica in replicas:
        others = {other.name: f"http://{other.name}" for other in replicas if other is not replica}
        assert {peer.name: peer.api for peer in replica.peers} == others
        await kit.until(lambda replica=replica: all(peer.connected for peer in replica.peers))


async def test_a_caller_that_gives_up_disturbs_nobody(replicas):
    await replicas[0].propose(kit.add_node("a"), timeout_s=LONG_S)
    for replica in replicas:
        task = asyncio.ensure_future(replica.propose(kit.add_node(f"by-{replica.name}"), timeout_s=LONG_S))
        reader = asyncio.ensure_future(replica.read(timeout_s=LONG_S))
        await asyncio.sleep(0)
        task.cancel()
        reader.cancel()
    await asyncio.sleep(0)
    for replica in replicas:
        assert "a" in (await replica.read(timeout_s=LONG_S)).nodes
        assert isinstance(await replica.propose(kit.set_globals(x=1), timeout_s=LONG_S), Accepted)


async def test_without_a_majority_nothing_is_acknowledged_and_the_caller_is_told(replicas):
    await replicas[0].propose(kit.add_node("a"), timeout_s=LONG_S)
    await level(replicas)
    last = replicas[-1]
    for replica in replicas[:-1] or replicas:
        await replica.stop()
    before = last.state
    with pytest.raises(ConsensusError):
        await last.propose(kit.add_node("b"), timeout_s=0.8)
    with pytest.raises(NoLeader):
        await last.read(timeout_s=0.3)
    assert last.state.nodes == before.nodes


async def test_a_proposal_that_nobody_could_take_is_known_not_to_be_committed(replicas):
    for replica in replicas:
        await replica.stop()
    with pytest.raises(NotCommitted):
        await replicas[0].propose(kit.add_node("a"), timeout_s=0.5)
    with pytest.raises(NoLeader):
        await replicas[0].read(timeout_s=0.5)
    assert not replicas[0].state.nodes


async def test_stopping_ends_what_is_pending_and_may_be_done_twice(replicas):
    await replicas[0].propose(kit.add_node("a"), timeout_s=LONG_S)
    pending = [
        asyncio.ensure_future(replicas[-1].propose(kit.add_node(f"n{n}"), timeout_s=LONG_S))
        for n in range(20)
    ]
    await asyncio.sleep(0)
    await replicas[-1].stop()
    answers = await asyncio.wait_for(asyncio.gather(*pending, return_exceptions=True), 5.0)
    assert all(isinstance(answer, Accepted | OutcomeUnknown | NotCommitted) for answer in answers)
    await replicas[-1].stop()
    assert not replicas[-1].leadership.leads
