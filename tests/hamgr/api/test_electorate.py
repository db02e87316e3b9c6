"""What operators wish of the replicas, over HTTP, with real consensus behind it."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from tests.hamgr.api.members_rig import Members, members
from tests.hamgr.raft import kit


class Steered:
    """An autopilot that does nothing but talk."""

    dead_s = 10.0

    def reasons(self) -> Mapping[str, str]:
        return {"r2": "is ready to get a vote when one is needed"}


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Members]:
    async with members(tmp_path, 3, steering=Steered()) as running:
        yield running


async def test_a_voter_is_made_a_standby_and_a_voter_again(three: Members) -> None:
    name = (await three.followers())[0]
    leader = await three.leader()
    status, told = await three.call(leader, "POST", f"/v1/replicas/{name}:demote?dry_run=1")
    assert (status, told["dry_run"], told["before"]["survives"], told["after"]["survives"]) == (
        200,
        True,
        1,
        0,
    )
    assert three.voters(leader) == ["r1", "r2", "r3"]
    status, told = await three.call(name, "POST", f"/v1/replicas/{name}:demote")
    assert (status, told["role"]) == (200, "learner")
    assert name not in three.voters(leader)
    assert three.running[leader].state.electorate.replicas[name].standby
    status, told = await three.call(name, "POST", f"/v1/replicas/{name}:promote")
    assert (status, told["role"], told["after"]["survives"]) == (200, "voter", 1)
    assert three.voters(leader) == ["r1", "r2", "r3"]
    assert name not in three.running[leader].state.electorate.replicas


async def test_a_leader_hands_over_before_it_is_made_a_standby(three: Members) -> None:
    leader = await three.leader()
    status, told = await three.call(leader, "POST", f"/v1/replicas/{leader}:demote")
    assert (status, told["role"]) == (200, "learner")
    successor = await three.leader()
    assert successor != leader
    assert leader not in three.voters(successor)


async def test_nobody_is_made_a_standby_whose_vote_is_needed(three: Members) -> None:
    gone, other = await three.followers()
    leader = await three.leader()
    await three.stop(gone)
    await kit.until(lambda: not three.running[leader].figures.peers[gone].connected)
    status, problem = await three.call(leader, "POST", f"/v1/replicas/{other}:demote")
    assert (status, problem["code"]) == (409, "quorum-at-risk")
    assert three.voters(leader) == ["r1", "r2", "r3"]
    assert not three.running[leader].state.electorate.replicas


async def test_a_target_is_kept_and_one_that_is_no_target_is_refused(three: Members) -> None:
    status, told = await three.call("r1", "PUT", "/v1/electorate?dry_run=1", {"target": 1})
    assert (status, told["before"]["survives"], told["after"]["survives"]) == (200, 1, 0)
    assert (await three.call("r1", "GET", "/v1/replicas"))[1]["target"] == 5
    assert (await three.call("r1", "PUT", "/v1/electorate", {"target": 3}))[0] == 200
    assert (await three.call("r2", "GET", "/v1/replicas"))[1]["target"] == 3
    status, problem = await three.call("r1", "PUT", "/v1/electorate", {"target": 4})
    assert (status, problem["errors"][0]["pointer"]) == (422, "/target")


async def test_no_more_are_promoted_than_should_vote(three: Members) -> None:
    leader, name = await three.leader(), (await three.followers())[0]
    await three.call(leader, "POST", f"/v1/replicas/{name}:demote")
    await three.call(leader, "PUT", "/v1/electorate", {"target": 1})
    status, problem = await three.call(leader, "POST", f"/v1/replicas/{name}:promote")
    assert (status, problem["code"]) == (409, "change-refused")
    assert "the autopilot would take a vote back" in problem["detail"]
    assert three.running[leader].state.electorate.replicas[name].standby


async def test_a_replica_that_joins_votes_unless_as_many_do_as_should(tmp_path: Path) -> None:
    async with members(tmp_path, 2, spare=2, steering=Steered()) as running:
        leader = await running.leader()
        await running.call(leader, "PUT", "/v1/electorate", {"target": 3})
        for name, role in (("r3", "voter"), ("r4", "learner")):
            await running.start(name)

            async def added(name=name):
                status, told = await running.call(leader, "PUT", f"/v1/replicas/{name}", running.body(name))
                return status == 200 and told

            told = await kit.until(added)
            assert (told["role"], told["caught_up"]) == (role, True)


async def test_domain_and_planned_absence_are_listed_with_the_reasons(three: Members) -> None:
    body = {"domain": "rack-7", "rest_s": 3600, "rest_reason": "new memory"}
    assert (await three.call("r1", "PATCH", "/v1/replicas/r2", body))[0] == 200
    told = (await three.call("r1", "GET", "/v1/replicas"))[1]
    second = next(item for item in told["items"] if item["name"] == "r2")
    assert (second["domain"], second["rest_reason"]) == ("rack-7", "new memory")
    assert second["rest_until"] > 0
    assert second["reason"] == "is ready to get a vote when one is needed"
    assert "2 that do not lead one by one" in told["quorum"]["also"]
    await three.call("r1", "PATCH", "/v1/replicas/r2", {"domain": "", "rest_s": 0})
    leader = three.running[await three.leader()]
    assert not leader.state.electorate.replicas


async def test_a_wish_that_makes_no_sense_changes_nothing(three: Members) -> None:
    senseless = [
        ("r9", {"domain": "x"}, 404),
        ("r2", {"domain": "a b"}, 422),
        ("r2", {"rest_s": -1}, 422),
        ("r2", {"rest_s": 1e9}, 422),
        ("r2", {"colour": "red"}, 422),
    ]
    for name, body, status in senseless:
        found, _problem = await three.call("r1", "PATCH", f"/v1/replicas/{name}", body)
        assert (body, found) == (body, status)
    assert not three.running[await three.leader()].state.electorate.replicas
