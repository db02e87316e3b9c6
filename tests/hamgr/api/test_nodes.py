"""Nodes over HTTP: every route, and what each refuses."""

from dataclasses import replace

import pytest

from statemachine.words import NodeName
from tests.hamgr.api import rig
from tests.hamgr.api.rig import Server, claim, discovered


async def test_a_node_that_was_added_is_listed_shown_and_edited(server: Server) -> None:
    body = {"name": "web-1", "address": "10.0.0.7", "port": 2222, "user": "ops", "labels": {"rack": "r1"}}
    status, made, headers = await server.call("POST", "/v1/nodes", body)
    assert (status, made["ref"], headers["Location"]) == (201, "web-1", "/v1/nodes/web-1")
    status, page, _ = await server.call("GET", "/v1/nodes")
    assert [item["name"] for item in page["items"]] == ["web-1"]
    assert page["continue"] is None
    patch = {"labels": {"rack": None, "row": "4"}, "variables": {"http": {"port": 8081}}}
    status, _, headers = await server.call("PATCH", "/v1/nodes/web-1", patch)
    assert status == 200
    status, whole, shown = await server.call("GET", "/v1/nodes/web-1")
    assert whole["labels"] == {"row": "4"}
    assert whole["variables"] == {"http": {"port": 8081}}
    assert (whole["port"], whole["user"]) == (2222, "ops")
    assert shown["ETag"] == headers["ETag"] == f'"{whole["index"]}"'


async def test_a_list_comes_in_pages_that_together_are_everything_once(server: Server) -> None:
    names = [f"n{i:02d}" for i in range(7)]
    discovered(server.replica.cluster, *names)
    seen, following = [], ""
    for _ in range(4):
        _, page, _ = await server.call("GET", f"/v1/nodes?limit=2&continue={following}")
        assert page["total"] == 7
        seen += [item["name"] for item in page["items"]]
        following = page["continue"] or ""
    assert seen == names
    assert following == ""


async def test_a_selector_chooses_and_a_bad_one_is_refused_with_an_example(server: Server) -> None:
    discovered(server.replica.cluster, "web-1", "db-1")
    _, page, _ = await server.call("GET", "/v1/nodes", params={"selector": "web-*"})
    assert [item["name"] for item in page["items"]] == ["web-1"]
    status, problem, _ = await server.call("GET", "/v1/nodes", params={"selector": "a b"})
    assert (status, problem["code"]) == (400, "bad-query")
    assert "role=web" in problem["detail"]


async def test_an_edit_with_a_stale_etag_is_refused_and_nothing_changes(server: Server) -> None:
    await server.call("POST", "/v1/nodes", {"name": "a", "address": "10.0.0.1"})
    _, _, headers = await server.call("GET", "/v1/nodes/a")
    fresh = {"If-Match": headers["ETag"]}
    status, _, _ = await server.call("PATCH", "/v1/nodes/a", {"labels": {"x": "1"}}, headers=fresh)
    assert status == 200
    status, problem, _ = await server.call("PATCH", "/v1/nodes/a", {"labels": {"x": "2"}}, headers=fresh)
    assert (status, problem["code"], problem["offenders"]) == (412, "changed", ["a"])
    status, problem, _ = await server.call("DELETE", "/v1/nodes/a", headers=fresh)
    assert status == 412
    _, after, _ = await server.call("GET", "/v1/nodes/a")
    assert after["labels"] == {"x": "1"}


@pytest.mark.parametrize("text", ["x", '"1', "-1", '"9"x', "9" * 30])
async def test_an_if_match_that_is_no_index_is_refused(server: Server, text: str) -> None:
    before = server.state
    status, _, _ = await server.call("DELETE", "/v1/nodes/a", headers={"If-Match": text})
    assert status in (400, 412, 404)
    assert status != 404 or text == '"1'
    assert server.state.nodes == before.nodes


async def test_forgetting_needs_force_for_a_node_in_service_and_a_job_holds_it_even_then(
    bundled: Server,
) -> None:
    _, made, _ = await bundled.call(
        "POST", "/v1/jobs", {"kind": "commission", "nodes": ["w1"], "role": "web"}
    )
    claim(bundled.replica.cluster, made["id"], "w1")
    status, problem, _ = await bundled.call("DELETE", "/v1/nodes/w1?force=1")
    assert (status, problem["code"]) == (409, "busy")
    assert "w1" in bundled.state.nodes
    status, _, _ = await bundled.call("DELETE", "/v1/nodes/w2")
    assert status == 200
    assert "w2" not in bundled.state.nodes


async def test_variables_say_where_each_came_from(bundled: Server) -> None:
    await bundled.call("PATCH", "/v1/globals", {"variables": {"ntp": "10.0.0.1", "port": 81}})
    await bundled.call("PATCH", "/v1/nodes/w1", {"variables": {"port": 82}})
    status, found, _ = await bundled.call("GET", "/v1/nodes/w1/variables")
    assert status == 200
    assert found["values"] == {"port": 82, "ntp": "10.0.0.1"}
    assert found["origins"] == {"port": "node", "ntp": "globals"}


async def test_what_a_node_was_last_asked_for_is_among_its_variables(bundled: Server) -> None:
    cluster = bundled.replica.cluster
    node = replace(cluster.state.nodes[NodeName("w1")], last_request={"port": 83})
    cluster.state = replace(cluster.state, nodes={**cluster.state.nodes, node.name: node})
    _, found, _ = await bundled.call("GET", "/v1/nodes/w1/variables")
    assert (found["values"]["port"], found["origins"]["port"]) == (83, "last request")


async def test_maintenance_is_only_for_nodes_in_service_and_needs_a_reason(server: Server) -> None:
    discovered(server.replica.cluster, "a")
    status, problem, _ = await server.call("PUT", "/v1/nodes/a/maintenance", {"reason": "DIMM"})
    assert (status, problem["code"]) == (409, "wrong-status")
    status, problem, _ = await server.call("PUT", "/v1/nodes/a/maintenance", {})
    assert (status, problem["errors"][0]["pointer"]) == (422, "/reason")
    status, _, _ = await server.call("DELETE", "/v1/nodes/a/maintenance")
    assert status == 200
    headers = {"If-Match": '"1"'}
    status, problem, _ = await server.call("DELETE", "/v1/nodes/a/maintenance", headers=headers)
    assert (status, problem["code"]) == (400, "bad-header")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/nodes/ghost", None),
        ("PATCH", "/v1/nodes/ghost", {"labels": {}}),
        ("DELETE", "/v1/nodes/ghost", None),
        ("GET", "/v1/nodes/ghost/variables", None),
        ("PUT", "/v1/nodes/ghost/maintenance", {"reason": "x"}),
        ("DELETE", "/v1/nodes/ghost/maintenance", None),
    ],
)
async def test_a_node_that_is_not_there_is_named(server: Server, method: str, path: str, body: dict) -> None:
    status, problem, _ = await server.call(method, path, body)
    assert (status, problem["code"], problem["offenders"]) == (404, "no-such-node", ["ghost"])


async def test_a_dry_run_answers_as_the_deed_would_and_does_nothing(server: Server) -> None:
    before = server.state
    body = {"name": "a", "address": "10.0.0.1"}
    status, told, _ = await server.call("POST", "/v1/nodes?dry_run=1", body)
    assert (status, told) == (200, {"dry_run": True, "ref": "a"})
    status, problem, _ = await server.call("DELETE", "/v1/nodes/a?dry_run=1")
    assert (status, problem["code"]) == (404, "no-such-node")
    assert server.state is before
    assert server.replica.cluster.version == 0
    assert rig.NOW > 0
