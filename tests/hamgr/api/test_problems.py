"""Everything that can go wrong with a request is a problem with a stable code, and changes nothing."""

import json

import pytest

from hamgr.api.body import NESTING_MAX
from hamgr.api.problems import KINDS, STATUS_OF, TITLE_OF
from statemachine import codec
from statemachine.commands import SetGlobals
from statemachine.outcomes import Reason
from tests.hamgr.api import rig
from tests.hamgr.api.rig import Server


def test_every_reason_has_a_status_and_a_title() -> None:
    assert set(STATUS_OF) == set(TITLE_OF) == set(Reason)
    assert all(400 <= status < 600 for status in STATUS_OF.values())
    assert {reason.value for reason in Reason} <= set(KINDS)


def test_only_what_may_succeed_later_is_retryable() -> None:
    assert all(kind.status in (429, 503, 504) for kind in KINDS.values() if kind.retryable)
    assert all(kind.retryable for kind in KINDS.values() if kind.status in (503, 504))


@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer wrong", f"Basic {rig.TOKEN}", f"Bearer {rig.TOKEN}x"]
)
async def test_without_the_token_nothing_is_told(server: Server, value: str | None) -> None:
    headers = {"Authorization": value or ""}
    for path in ("/v1/nodes", "/v1/nothing", "/", "/v1/events"):
        status, problem, got = await server.call("GET", path, headers=headers)
        assert (status, problem["code"]) == (401, "unauthorized")
        assert got["WWW-Authenticate"].startswith("Bearer")
        assert "X-Hamgr-Peers" not in got
    status, _, _ = await server.call("POST", "/v1/nodes", {"name": "a", "address": "b"}, headers=headers)
    assert status == 401
    assert server.state.index == 0


async def test_health_is_told_without_a_token(server: Server) -> None:
    headers = {"Authorization": ""}
    assert (await server.call("GET", "/livez", headers=headers))[0] == 200
    assert (await server.call("GET", "/readyz", headers=headers))[0] == 200
    server.replica.cluster.leader = ""
    status, problem, got = await server.call("GET", "/readyz", headers=headers)
    assert (status, problem["code"]) == (503, "no-leader")
    assert "Retry-After" in got
    assert (await server.call("GET", "/livez", headers=headers))[0] == 200


async def test_an_unknown_route_or_method_is_a_problem_that_helps(server: Server) -> None:
    status, problem, _ = await server.call("GET", "/v1/node")
    assert (status, problem["code"], problem["hint"]) == (404, "no-such-route", "did you mean /v1/nodes?")
    status, problem, headers = await server.call("DELETE", "/v1/nodes")
    assert (status, problem["code"], headers["Allow"]) == (405, "wrong-method", "GET, POST")


async def test_every_problem_carries_the_request_id_of_its_answer(server: Server) -> None:
    _, problem, headers = await server.call("GET", "/v1/nodes/ghost")
    assert problem["request_id"] == headers["X-Request-Id"] != ""
    assert headers["Content-Type"].startswith("application/problem+json")
    status, text, _ = await server.call("GET", problem["type"], headers={"Authorization": ""})
    assert status == 200
    assert b"no-such-node (404)" in text


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("{", 1, 2), ('{"a": 1,\n "b": }', 2, 7), ("", 1, 1), ("nope", 1, 1), ('{"a": 1} x', 1, 10)],
)
async def test_bad_json_is_refused_with_line_and_column(
    server: Server, text: str, line: int, column: int
) -> None:
    headers = {"Content-Type": "application/json"}
    status, problem, _ = await server.call("POST", "/v1/nodes", data=text, headers=headers)
    assert (status, problem["code"]) == (400, "bad-json")
    assert (problem["errors"][0]["line"], problem["errors"][0]["column"]) == (line, column)


@pytest.mark.parametrize(
    "text",
    [
        '{"variables": {"a": NaN}}',
        '{"variables": {"a": -Infinity}}',
        '{"variables": {"a": 1e999}}',
        '{"variables": {"a": 99999999999999999999}}',
        '{"variables": {"a": ' + "9" * 5000 + "}}",
        '{"variables": {"a": "\\ud800"}}',
        '{"variables": {"\\udfff": 1}}',
        '{"variables": {"a": 1, "a": 2}}',
        '{"variables": {"a": ' + "[" * 40 + "]" * 40 + "}}",
        "[" * 100_000,
        b'{"variables": {"a": "\xff"}}',
    ],
    ids=lambda text: repr(text[:30]),
)
async def test_json_that_the_log_could_not_carry_is_refused(server: Server, text: str | bytes) -> None:
    headers = {"Content-Type": "application/json"}
    status, problem, _ = await server.call("PATCH", "/v1/globals", data=text, headers=headers)
    assert (status, problem["code"]) == (400, "bad-json")
    assert server.state.index == 0


async def test_the_nesting_that_is_let_in_is_carried_by_the_log(server: Server) -> None:
    value: object = 1
    for _ in range(NESTING_MAX - 2):
        value = {"k": value}
    status, _, _ = await server.call("PATCH", "/v1/globals", {"variables": {"a": value}})
    assert status == 200
    command = SetGlobals(request_id="x", at=0.0, actor="a", variables={"a": value})
    assert codec.decode_command(codec.encode_command(command)) == command


async def test_an_unknown_key_is_refused_with_the_one_that_was_meant(server: Server) -> None:
    body = {"name": "a", "adress": "10.0.0.1", "zzz": 1}
    status, problem, _ = await server.call("POST", "/v1/nodes", body)
    assert status == 422
    found = {fault["pointer"]: fault.get("hint", "") for fault in problem["errors"]}
    assert found["/adress"] == "did you mean 'address'?"
    assert found["/zzz"].startswith("known keys: name")
    assert "/address" in found
    assert server.state.index == 0


async def test_a_body_that_is_no_object_or_no_json_type_is_refused(server: Server) -> None:
    for body in ([], "x", 7, None):
        headers = {"Content-Type": "application/json"}
        data = json.dumps(body)
        status, problem, _ = await server.call("POST", "/v1/nodes", data=data, headers=headers)
        assert (status, problem["code"]) == (422, "bad-body")
    status, problem, _ = await server.call("POST", "/v1/nodes", data="{}")
    assert (status, problem["code"]) == (415, "wrong-type")


@pytest.mark.parametrize("name", ["a\u0000b", "a\nb", "\u202etxt", "A", "a" * 64, "", "../x", "-a"])
async def test_a_name_that_no_node_can_have_is_refused(server: Server, name: str) -> None:
    status, problem, _ = await server.call("POST", "/v1/nodes", {"name": name, "address": "10.0.0.1"})
    assert (status, problem["code"] in ("bad-body", "invalid")) == (422, True)
    assert not server.state.nodes


async def test_query_parameters_that_nobody_knows_are_refused_not_ignored(server: Server) -> None:
    status, problem, _ = await server.call("GET", "/v1/nodes?selektor=x")
    assert (status, problem["hint"]) == (400, "did you mean 'selector'?")
    for path in (
        "/v1/nodes?limit=0",
        "/v1/nodes?limit=x",
        "/v1/nodes?limit=1&limit=2",
        "/v1/nodes?consistency=maybe",
    ):
        status, problem, _ = await server.call("GET", path)
        assert (status, problem["code"]) == (400, "bad-query")


async def test_a_bug_is_told_without_its_insides_and_the_replica_goes_on(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.replica.fault = "bug"
    status, problem, headers = await server.call("POST", "/v1/nodes", {"name": "a", "address": "b"})
    assert (status, problem["code"]) == (500, "internal")
    assert "secret" not in json.dumps(problem)
    assert "Traceback" not in json.dumps(problem)
    assert headers["X-Request-Id"] in caplog.text
    server.replica.fault = ""
    assert (await server.call("POST", "/v1/nodes", {"name": "a", "address": "b"}))[0] == 201
