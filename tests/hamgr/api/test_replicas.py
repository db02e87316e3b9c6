"""Changes of the members over HTTP: real replicas, real TLS between them, any of them may be asked."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hamgr.raft.port import OutcomeUnknown
from tests.hamgr.api.members_rig import Members, members
from tests.hamgr.raft import kit

ALL = ["r1", "r2", "r3"]


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Members]:
    """Three voters, and r4 that is no member and does not run."""
    async with members(tmp_path, 3, spare=1) as running:
        yield running


async def test_every_replica_lists_all_as_the_leader_sees_them(three: Members) -> None:
    leader = await three.leader()

    async def level() -> bool:
        _, told = await three.call(leader, "GET", "/v1/replicas")
        return all(item["caught_up"] and item["connected"] for item in told["items"])

    await kit.until(level)
    for name in ALL:
        status, told = await three.call(name, "GET", "/v1/replicas")
        assert (status, told["leader"]) == (200, leader)
        assert [(item["name"], item["role"]) for item in told["items"]] == [(one, "voter") for one in ALL]
        assert [item["name"] for item in told["items"] if item["leader"]] == [leader]
        assert [item["lag_entries"] for item in told["items"]] == [0, 0, 0]
        assert told["items"][0]["id"] == three.settings["r1"].me
        assert told["items"][0]["raft"] == three.settings["r1"].address
        assert told["quorum"]["survives"] == 1


async def test_without_a_leader_only_a_stale_list_is_given(three: Members) -> None:
    last, *others = await three.followers()
    await three.stop(await three.leader())
    await three.stop(others[0])  # which may have led for a moment, and handed that on
    left = three.running[last]
    await kit.until(
        lambda: not (left.leadership.leader or any(peer.connected for peer in left.figures.peers.values()))
    )
    status, problem = await three.call(last, "GET", "/v1/replicas")
    assert (status, problem["code"], problem["retryable"]) == (503, "no-leader", True)
    status, told = await three.call(last, "GET", "/v1/replicas?consistency=stale")
    assert status == 200
    assert {item["caught_up"] for item in told["items"]} == {None}
    assert "nothing can be changed" in told["quorum"]["sentence"]
    status, problem = await three.call(last, "DELETE", f"/v1/replicas/{others[0]}")
    assert (status, problem["code"]) == (503, "no-leader")
    assert three.voters(last) == ALL


async def test_a_replica_is_a_learner_until_it_has_caught_up_and_then_a_voter(three: Members) -> None:
    follower = (await three.followers())[0]
    for number in range(30):
        await three.running[follower].propose(kit.add_node(f"n{number}"), timeout_s=20.0)
    status, item = await three.call(follower, "PUT", "/v1/replicas/r4", three.body("r4"))
    assert (status, item["role"], item["connected"], item["caught_up"]) == (202, "learner", False, False)
    assert three.voters(await three.leader()) == ALL
    _, told = await three.call(follower, "GET", "/v1/status")
    assert (told["quorum"]["replicas"], told["quorum"]["survives"]) == (3, 1)
    await three.start("r4")

    async def is_voter() -> bool:
        status, item = await three.call(follower, "PUT", "/v1/replicas/r4", three.body("r4"))
        return bool(status == 200 and item["role"] == "voter")

    await kit.until(is_voter)
    assert len((await three.running["r4"].read(timeout_s=20.0)).nodes) == 30
    assert await is_voter()  # a repeat changes nothing
    assert three.voters(await three.leader()) == [*ALL, "r4"]


async def test_a_learner_that_comes_is_promoted_by_the_request_that_waits(three: Members) -> None:
    await three.call("r1", "PUT", "/v1/replicas/r4", three.body("r4"))
    await three.start("r4")
    await kit.until(lambda: len(three.running["r4"].peers) == 3)
    status, item = await three.call("r2", "PUT", "/v1/replicas/r4", three.body("r4"))
    assert (status, item["role"], item["caught_up"]) == (200, "voter", True)


async def test_what_is_taken_cannot_be_added_again(three: Members) -> None:
    own = three.body("r4")
    for name, body in (
        ("r3", own),  # the name
        ("r5", three.body("r3")),  # the id
        ("r4", {**own, "raft": three.body("r3")["raft"]}),
        ("r3", {**three.body("r3"), "raft": own["raft"]}),  # a voter does not move
    ):
        status, problem = await three.call("r1", "PUT", f"/v1/replicas/{name}", body)
        assert (status, problem["code"], problem["offenders"]) == (409, "replica-exists", [name])
    assert three.voters(await three.leader()) == ALL
    assert not three.running[await three.leader()].members.configuration.learners


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id", "R4"),
        ("id", "7B0B6E5A-3C1F-4C58-9B0E-0A8F5F6D2C11"),
        ("raft", "0.0.0.0:7001"),
        ("raft", "r4.example:7001"),
        ("api", "10.0.0.4:7080"),  # the token would go there in plain text
        ("api", ""),
    ],
)
async def test_a_body_that_names_no_replica_is_refused(three: Members, key: str, value: str) -> None:
    status, problem = await three.call("r1", "PUT", "/v1/replicas/r4", {**three.body("r4"), key: value})
    assert (status, problem["code"]) == (422, "bad-body")
    assert problem["errors"][0]["pointer"] == f"/{key}"
    assert not three.running[await three.leader()].members.configuration.learners


async def test_a_dead_replica_is_removed_through_any_other(three: Members) -> None:
    dead, asked = await three.followers()
    await three.stop(dead)
    leader = await three.leader()
    await kit.until(lambda: dead not in connected(three, leader))
    status, plan = await three.call(asked, "DELETE", f"/v1/replicas/{dead}?dry_run=1")
    assert (status, plan["before"]["survives"], plan["after"]["survives"]) == (200, 0, 0)
    assert three.voters(leader) == ALL
    status, done = await three.call(asked, "DELETE", f"/v1/replicas/{dead}?id={plan['id']}")
    assert (status, done["after"]["replicas"]) == (200, 2)
    assert three.voters(leader) == sorted({*ALL} - {dead})
    status, problem = await three.call(asked, "DELETE", f"/v1/replicas/{dead}")
    assert (status, problem["code"]) == (404, "no-such-replica")


def connected(three: Members, at: str) -> set[str]:
    return {name for name, peer in three.running[at].figures.peers.items() if peer.connected}


async def test_a_removal_that_leaves_no_majority_is_refused_and_changes_nothing(three: Members) -> None:
    dead, alive = await three.followers()
    await three.stop(dead)
    leader = await three.leader()
    await kit.until(lambda: dead not in connected(three, leader))
    for name in (alive, leader):
        status, problem = await three.call(alive, "DELETE", f"/v1/replicas/{name}")
        assert (status, problem["code"], problem["offenders"]) == (409, "quorum-at-risk", [name])
        assert "1 of 2 replicas work and 2 are needed" in problem["detail"]
    assert three.voters(leader) == ALL
    assert await three.leader() == leader
    status, plan = await three.call(alive, "DELETE", f"/v1/replicas/{alive}?force=1&dry_run=1")
    assert (status, plan["after"]["connected"], plan["after"]["needed"]) == (200, 1, 2)
    assert three.voters(leader) == ALL


async def test_a_forced_removal_that_cannot_be_committed_is_never_told_as_done(three: Members) -> None:
    """The members that an uncommitted entry names are in force already; that must not look like success."""
    dead, alive = await three.followers()
    await three.stop(dead)
    leader = await three.leader()
    await kit.until(lambda: dead not in connected(three, leader))
    path = f"/v1/replicas/{alive}?force=1"
    asked = asyncio.create_task(three.call(leader, "DELETE", path))
    await kit.until(lambda: alive not in three.voters(leader))
    again, first = await three.call(leader, "DELETE", path), await asked
    assert {first[0], again[0]} <= {503, 504}, (first, again)
    status, _ = await three.call(leader, "GET", "/v1/replicas")
    assert status == 503


async def test_a_change_that_a_leader_took_and_could_not_commit_has_an_unknown_outcome(
    three: Members,
) -> None:
    leader, followers = await three.leader(), await three.followers()
    for name in followers:
        await three.stop(name)
    with pytest.raises(OutcomeUnknown):
        await three.running[leader].members.remove(three.settings[followers[0]].me, timeout_s=5.0)


async def test_a_learner_that_went_away_again_gets_no_vote(three: Members) -> None:
    leader = three.running[await three.leader()]
    await leader.members.add_learner(kit.member_of(three.settings["r4"]), timeout_s=20.0)
    await three.start("r4")
    await kit.until(lambda: leader.figures.peers["r4"].lag_entries == 0)
    await three.stop("r4")
    await kit.until(lambda: not leader.figures.peers["r4"].connected)
    status, item = await three.call(leader.name, "PUT", "/v1/replicas/r4", three.body("r4"))
    assert (status, item["caught_up"]) == (202, False)
    assert not item["lag_entries"], "all it lacks is a link; a new leader does not know even that"
    assert three.voters(leader.name) == ALL


async def test_an_id_that_is_another_by_now_is_not_removed(three: Members) -> None:
    status, problem = await three.call("r1", "DELETE", f"/v1/replicas/r3?id={uuid.uuid4()}")
    assert (status, problem["code"]) == (412, "changed")
    assert three.voters(await three.leader()) == ALL


async def test_a_leader_is_removed_by_its_successor(three: Members) -> None:
    leader, asked = await three.leader(), (await three.followers())[0]
    status, done = await three.call(asked, "DELETE", f"/v1/replicas/{leader}")
    assert (status, done["name"]) == (200, leader)
    await three.stop(leader)
    successor = await three.leader()
    assert successor != leader
    assert three.voters(successor) == sorted({*ALL} - {leader})
    await three.running[successor].propose(kit.add_node("after"), timeout_s=20.0)


async def test_the_last_voter_stays(tmp_path: Path) -> None:
    async with members(tmp_path, 1) as one:
        status, problem = await one.call("r1", "DELETE", "/v1/replicas/r1?force=1")
        assert (status, problem["code"]) == (409, "change-refused")
        assert one.voters("r1") == ["r1"]


async def test_leadership_goes_where_it_is_asked_to_through_any_replica(three: Members) -> None:
    heir, other = await three.followers()
    status, told = await three.call(other, "POST", f"/v1/replicas/{heir}:lead")
    assert (status, told["leader"]) == (200, heir)
    assert await three.leader() == heir
    status, again = await three.call(other, "POST", f"/v1/replicas/{heir}:lead")
    assert (status, again) == (200, told)


async def test_who_cannot_lead_is_refused_and_the_leader_stays(three: Members) -> None:
    leader = await three.leader()
    dead, asked = await three.followers()
    await three.call(asked, "PUT", "/v1/replicas/r4", three.body("r4"))
    await three.stop(dead)
    await kit.until(lambda: dead not in connected(three, leader))
    refusals = ((dead, 409, "is not connected"), ("r4", 409, "is a learner"), ("r9", 404, "no replica"))
    for name, code, why in (*refusals, ("R!", 400, "is no name")):
        status, problem = await three.call(asked, "POST", f"/v1/replicas/{name}:lead")
        assert status == code
        assert why in problem["detail"]
    assert await three.leader() == leader


async def test_a_request_goes_to_one_other_replica_at_most(three: Members) -> None:
    follower = (await three.followers())[0]
    url = f"http://{three.addresses[follower]}/v1/replicas"
    async with three.session.get(url, headers={"X-Hamgr-Forwarded": "r9"}) as answer:
        assert (answer.status, (await answer.json())["code"]) == (503, "no-leader")


async def test_a_problem_of_the_leader_carries_the_request_id_of_its_answer(three: Members) -> None:
    follower = (await three.followers())[0]
    async with three.session.delete(f"http://{three.addresses[follower]}/v1/replicas/r9") as answer:
        problem = await answer.json()
        assert (answer.status, answer.content_type) == (404, "application/problem+json")
        assert problem["request_id"] == answer.headers["X-Request-Id"] != ""
