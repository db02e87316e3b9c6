"""Nodes that rest, over HTTP: cordons, drains, deadlines, debts and forgiveness."""

import pytest

from statemachine.commands import SubmitJob
from statemachine.words import JobKind
from tests.hamgr.api.rig import NOW, Server
from tests.statemachine.fleet import Fleet, component, manifest


@pytest.fixture
def fleet(server: Server) -> Fleet:
    """Two web nodes in service, and a clock that agrees with the server's."""
    fleet = Fleet(server.state)
    fleet.at = NOW
    fleet.bundle(1, manifest(component("app")))
    fleet.in_service("web-1", "web-2")
    server.replica.cluster.state = fleet.state
    return fleet


async def test_a_cordon_shows_its_owner_and_when_it_ends(server: Server, fleet: Fleet) -> None:
    body = {"reason": "new DIMM", "until": NOW + 60}
    status, _, _ = await server.call("PUT", "/v1/nodes/web-1/maintenance", body)
    assert status == 200
    _, node, _ = await server.call("GET", "/v1/nodes/web-1")
    assert node["maintenance"] == {
        "reason": "new DIMM",
        "owner": "operator",
        "since": NOW,
        "until": NOW + 60,
        "drain": None,
    }
    status, problem, _ = await server.call(
        "PUT", "/v1/nodes/web-2/maintenance", {"reason": "x", "until": NOW - 1}
    )
    assert (status, problem["code"]) == (422, "invalid")


async def test_a_drain_is_a_job_with_a_deadline_for_each_node(server: Server, fleet: Fleet) -> None:
    body = {"kind": "drain", "nodes": ["web-1"], "task_deadline": "10m", "reason": "new DIMM"}
    status, plan, _ = await server.call("POST", "/v1/jobs?dry_run=1", body)
    assert (status, plan["nodes"]) == (200, ["web-1"])
    status, made, _ = await server.call("POST", "/v1/jobs", body)
    assert status == 202
    _, job, _ = await server.call("GET", f"/v1/jobs/{made['id']}")
    assert (job["kind"], job["task_deadline"]) == ("drain", 600.0)
    fleet.state = server.state
    fleet.claim(made["id"], "web-1")
    server.replica.cluster.state = fleet.state
    _, node, _ = await server.call("GET", "/v1/nodes/web-1")
    assert node["maintenance"]["drain"] == made["id"]
    status, problem, _ = await server.call("DELETE", "/v1/nodes/web-1/maintenance")
    assert (status, problem["code"]) == (409, "wrong-status")
    assert "hamgr node undrain web-1" in problem["hint"]


@pytest.mark.parametrize(
    ("more", "pointer"),
    [({"task_deadline": "soon"}, "/task_deadline"), ({"offline": "maybe"}, "/offline")],
)
async def test_a_value_that_cannot_be_used_is_refused_with_its_place(
    server: Server, fleet: Fleet, more: dict[str, object], pointer: str
) -> None:
    before = server.state
    status, problem, _ = await server.call("POST", "/v1/jobs", {"kind": "upgrade", "selector": "*", **more})
    assert (status, problem["errors"][0]["pointer"]) == (422, pointer)
    assert server.state is before


async def test_a_node_that_owes_says_what_to_whom_and_the_way_out_until_it_is_forgiven(
    server: Server, fleet: Fleet
) -> None:
    fleet.unreachable("web-2")
    job = fleet.accept(SubmitJob, kind=JobKind.UPGRADE, selector="name=web-2").ref
    server.replica.cluster.state = fleet.state
    _, node, _ = await server.call("GET", "/v1/nodes/web-2")
    assert (node["debt"]["job"], node["debt"]["error"]) == (job, "")
    assert node["debt"]["way_out"] == "it pays by itself as soon as it can be reached"
    status, _, _ = await server.call("POST", "/v1/nodes/web-2:forgive?dry_run=1")
    assert status == 200
    status, _, _ = await server.call("POST", "/v1/nodes/web-2:forgive", {"reason": "reinstalled"})
    assert status == 200
    _, node, _ = await server.call("GET", "/v1/nodes/web-2")
    assert node["debt"] is None
    status, problem, _ = await server.call("POST", "/v1/nodes/web-2:forgive")
    assert (status, problem["detail"]) == (409, "node web-2 owes nothing")


async def test_named_nodes_that_are_offline_may_owe_when_that_is_said(server: Server, fleet: Fleet) -> None:
    fleet.unreachable("web-2")
    server.replica.cluster.state = fleet.state
    body = {"kind": "upgrade", "nodes": ["web-1", "web-2"]}
    status, problem, _ = await server.call("POST", "/v1/jobs", body)
    assert (status, problem["offenders"]) == (409, ["web-2"])
    status, plan, _ = await server.call("POST", "/v1/jobs?dry_run=1", {**body, "offline": "owe"})
    assert status == 200
    assert [item["node"] for item in plan["skipped"]] in ([], ["web-2"])


async def test_a_replacement_is_tried_out_and_submitted_as_one_job(server: Server, fleet: Fleet) -> None:
    fleet.discovered("spare")
    server.replica.cluster.state = fleet.state
    status, plan, _ = await server.call("POST", "/v1/nodes/web-1:replace?dry_run=1", {"new": "spare"})
    assert (status, plan["kind"], plan["waves"]) == (200, "replace", [["spare"], ["web-1"]])
    assert server.state is fleet.state
    status, made, headers = await server.call(
        "POST", "/v1/nodes/web-1:replace", {"new": "spare", "reason": "broken board"}
    )
    assert (status, headers["Location"]) == (202, f"/v1/jobs/{made['id']}")
    _, job, _ = await server.call("GET", f"/v1/jobs/{made['id']}")
    assert (job["kind"], job["replaces"], job["role"]) == ("replace", "web-1", "web")
    assert [task["kind"] for task in job["tasks"]] == ["commission", "decommission"]
    fleet.state = server.state
    fleet.drive(made["id"])
    server.replica.cluster.state = fleet.state
    _, node, _ = await server.call("GET", "/v1/nodes/web-1")
    assert (node["machine_id"], node["past"][-1]["status"]) == ("id-spare", "decommissioned")
    status, problem, _ = await server.call("POST", "/v1/nodes/web-1:replace", {"new": "nobody"})
    assert (status, problem["code"]) == (404, "no-such-node")
    status, problem, _ = await server.call("POST", "/v1/jobs", {"kind": "replace", "nodes": ["web-1"]})
    assert (status, problem["hint"]) == (422, "hamgr node replace OLD NEW")
