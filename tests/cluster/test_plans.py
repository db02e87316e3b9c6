"""Plans on real OpenSSH nodes: looked at on one replica, begun on another, and no trace before that."""

from tests.cluster.conftest import NODES, Fleet

CONFIG = "/etc/app.conf"


def test_a_plan_outlives_the_leader_and_is_begun_exactly_once(fleet: Fleet) -> None:
    job = fleet.cluster.submit("commission", nodes=["n1", "n2"], role="app", bundle=fleet.first)
    assert fleet.cluster.ended(job)["state"] == "succeeded"
    before = {node: (fleet.launches(node), fleet.effects(node)) for node in NODES}
    body = {"kind": "upgrade", "nodes": ["n1", "n2"], "bundle": fleet.second, "variables": {"port": 81}}
    plan = fleet.cluster.ask("POST", "/v1/plans", body).ok()
    assert plan["summary"] == {"would-change": 2, "unchanged": 0, "unknown": 0}
    assert plan["risks"] == []
    steps = {step["step"]: step for step in plan["looks"][0]["steps"] if not step["proof"]}
    assert "\n-version=1.0 port=8080\n+version=2.0 port=81" in plan["diffs"][steps["config"]["diff"]]
    assert [steps[name]["verdict"] for name in ("config", "first", "second")] == [
        "would-change",
        "unknown",
        "unknown",
    ]
    assert {node: (fleet.launches(node), fleet.effects(node)) for node in NODES} == before
    assert fleet.lab.read("n1", CONFIG) == b"version=1.0 port=8080\n"

    leader = fleet.cluster.wait("a leader", fleet.cluster.leader)
    fleet.cluster.processes.kill_replica(leader)
    path = f"/v1/plans/{plan['hash']}:apply"
    made = fleet.cluster.ask("POST", path, {"reason": "after the funeral"}).ok()
    assert fleet.cluster.ended(made["id"])["state"] == "succeeded"
    for node in ("n1", "n2"):
        assert fleet.lab.read(node, CONFIG) == b"version=2.0 port=81\n"
    again = fleet.cluster.ask("POST", path, {})
    assert (again.status, again.body["code"]) == (409, "wrong-status")


def test_a_plan_is_refused_after_its_node_was_changed_by_another_job(fleet: Fleet) -> None:
    job = fleet.cluster.submit("commission", nodes=["n1"], role="app", bundle=fleet.first)
    assert fleet.cluster.ended(job)["state"] == "succeeded"
    plan = fleet.cluster.ask("POST", "/v1/plans", {"kind": "decommission", "nodes": ["n1"]}).ok()
    job = fleet.cluster.submit("upgrade", nodes=["n1"], bundle=fleet.second)
    assert fleet.cluster.ended(job)["state"] == "succeeded"
    refused = fleet.cluster.ask("POST", f"/v1/plans/{plan['hash']}:apply", {})
    assert (refused.status, refused.body["offenders"]) == (412, ["n1"])
    assert "another status and bundle and last good bundle" in refused.body["detail"]
    assert fleet.lab.read("n1", CONFIG) == b"version=2.0 port=8080\n"
