"""What a caller is told when the cluster cannot answer, and what a repeat does."""

import pytest

from tests.hamgr.api.rig import Server

NODE = {"name": "a", "address": "10.0.0.1"}
KEY = {"Idempotency-Key": "key-1"}


async def test_a_repeat_with_the_same_key_is_answered_alike_and_done_once(server: Server) -> None:
    first = await server.call("POST", "/v1/nodes", NODE, headers=KEY)
    index = server.state.nodes["a"].index
    second = await server.call("POST", "/v1/nodes", NODE, headers=KEY)
    assert first[:2] == second[:2]
    assert first[0] == 201
    assert second[2]["Idempotency-Key"] == "key-1"
    assert server.state.nodes["a"].index == index
    again = await server.call("POST", "/v1/nodes", NODE)
    assert (again[0], again[1]["code"]) == (409, "identity")


async def test_the_same_key_for_something_else_is_refused_and_nothing_happens(server: Server) -> None:
    await server.call("POST", "/v1/nodes", NODE, headers=KEY)
    status, problem, _ = await server.call("POST", "/v1/nodes", {**NODE, "name": "b"}, headers=KEY)
    assert (status, problem["code"], problem["offenders"]) == (422, "request-reused", ["key-1"])
    status, problem, _ = await server.call("DELETE", "/v1/nodes/a", headers=KEY)
    assert (status, problem["code"]) == (422, "request-reused")
    assert list(server.state.nodes) == ["a"]


async def test_a_refusal_is_repeated_too(server: Server) -> None:
    first = await server.call("DELETE", "/v1/nodes/a", headers=KEY)
    await server.call("POST", "/v1/nodes", NODE)
    second = await server.call("DELETE", "/v1/nodes/a", headers=KEY)
    assert (first[0], second[0]) == (404, 404)
    assert "a" in server.state.nodes


@pytest.mark.parametrize("key", ["", " ", "a b", "-x", "x" * 65, "\u00e9"])
async def test_a_key_that_cannot_be_one_is_refused(server: Server, key: str) -> None:
    status, problem, _ = await server.call("POST", "/v1/nodes", NODE, headers={"Idempotency-Key": key})
    assert (status, problem["code"]) == (400, "bad-header")
    assert server.state.index == 0


async def test_an_unknown_outcome_says_so_and_names_the_key_for_the_repeat(server: Server) -> None:
    server.replica.fault = "unknown-after"
    status, problem, headers = await server.call("POST", "/v1/nodes", NODE)
    assert (status, problem["code"], problem["retryable"]) == (504, "outcome-unknown", True)
    assert "Idempotency-Key" in problem["hint"]
    server.replica.fault = ""
    repeat = {"Idempotency-Key": headers["Idempotency-Key"]}
    status, made, _ = await server.call("POST", "/v1/nodes", NODE, headers=repeat)
    assert (status, made["ref"]) == (201, "a")
    assert server.state.nodes["a"].index == 1


async def test_a_command_that_was_not_taken_is_told_as_such(server: Server) -> None:
    server.replica.fault = "not-committed"
    status, problem, headers = await server.call("POST", "/v1/nodes", NODE)
    assert (status, problem["code"], problem["retryable"]) == (503, "not-committed", True)
    assert int(headers["Retry-After"]) >= 1
    assert server.state.index == 0


async def test_without_a_leader_reads_fail_unless_stale_ones_are_asked_for(server: Server) -> None:
    await server.call("POST", "/v1/nodes", NODE)
    server.replica.cluster.leader = ""
    status, problem, headers = await server.call("GET", "/v1/nodes")
    assert (status, problem["code"]) == (503, "no-leader")
    assert "Retry-After" in headers
    status, page, headers = await server.call("GET", "/v1/nodes?consistency=stale")
    assert (status, page["items"][0]["name"]) == (200, "a")
    assert (headers["X-Hamgr-Consistency"], headers["X-Hamgr-Index"]) == ("stale", "1")
    status, told, _ = await server.call("GET", "/v1/status?consistency=stale")
    assert (status, told["leader"]) == (200, None)
    assert "no-leader" in [warning["code"] for warning in told["warnings"]]


async def test_reads_see_what_was_acknowledged_although_this_replica_lags(server: Server) -> None:
    server.replica.frozen = server.state
    await server.call("POST", "/v1/nodes", NODE)
    status, _, headers = await server.call("GET", "/v1/nodes/a")
    assert (status, headers["X-Hamgr-Consistency"]) == (200, "linearizable")
    status, _, _ = await server.call("GET", "/v1/nodes/a?consistency=stale")
    assert status == 404
