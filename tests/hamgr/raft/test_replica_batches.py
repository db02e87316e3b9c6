"""Proposals that come together go to consensus together, and each is still answered for itself."""

import asyncio

import pytest

from hamgr.raft.port import OutcomeUnknown
from hamgr.raft.replica import RaftReplica
from statemachine.outcomes import Accepted
from tests.hamgr.raft import kit

LONG_S = 20.0
TOGETHER = 20


@pytest.fixture
async def replica(tmp_path):
    """One that leads, alone."""
    one = RaftReplica(kit.settings_of(1, tmp_path)[0])
    await one.start()
    await kit.until(lambda: one.leadership.leads)
    yield one
    await one.stop()


@pytest.fixture
def batches(replica, monkeypatch):
    """The sizes of what is handed to the thread of consensus, in order."""
    sizes = []
    submit = replica._engine.submit

    def noted(proposals):
        sizes.append(len(proposals))
        submit(proposals)

    monkeypatch.setattr(replica._engine, "submit", noted)
    return sizes


async def test_proposals_of_one_turn_of_the_loop_are_handed_over_at_once_and_each_is_answered(
    replica, batches
):
    names = [f"n{number:02d}" for number in range(TOGETHER)]
    outcomes = await asyncio.gather(
        *(replica.propose(kit.add_node(name), timeout_s=LONG_S) for name in names)
    )
    assert batches == [TOGETHER]
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert len({outcome.index for outcome in outcomes}) == TOGETHER
    assert sorted(replica.state.nodes) == names


async def test_a_proposal_that_comes_later_does_not_wait_for_company(replica, batches):
    for name in ("a", "b"):
        assert isinstance(await replica.propose(kit.add_node(name), timeout_s=LONG_S), Accepted)
    assert batches == [1, 1]


async def test_a_caller_that_leaves_before_the_handing_over_takes_nobody_with_him(replica, batches):
    leaver = asyncio.ensure_future(replica.propose(kit.add_node("a"), timeout_s=LONG_S))
    stayer = asyncio.ensure_future(replica.propose(kit.add_node("b"), timeout_s=LONG_S))
    asyncio.get_running_loop().call_soon(leaver.cancel)  # behind their first steps, before what those ask for
    assert isinstance(await stayer, Accepted)
    assert leaver.cancelled()
    assert sum(batches) == len({"a", "b"})
    assert "b" in replica.state.nodes


async def test_a_replica_that_stops_before_the_handing_over_calls_the_outcome_unknown(replica, batches):
    waiting = asyncio.ensure_future(replica.propose(kit.add_node("a"), timeout_s=LONG_S))
    await asyncio.sleep(0)
    assert batches == []
    await replica.stop()
    with pytest.raises(OutcomeUnknown, match="stopped"):
        await waiting
