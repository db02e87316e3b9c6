"""Nodes at rest, on real OpenSSH hosts: drained in order, given back and proven, cordoned for a while."""

import time

import pytest

from tests.cluster.conftest import NODES, Fleet
from tests.cluster.steer import (
    begun,
    done,
    ends,
    events,
    in_service,
    kill_leader,
    nothing_twice,
    now,
    paced,
    succeeds,
    task,
    upgrade,
)
from tests.lab.observe import boot_id

pytestmark = pytest.mark.timeout(300)
EMPTIED = ["work.00.app.empty 1", "work.01.app.leave 1"]
FILLED = ["work.00.app.fill 1"]


def test_a_drain_is_finished_by_the_next_leader_and_only_an_undrain_gives_the_node_back(
    shared: Fleet,
) -> None:
    in_service(shared)
    paced(shared, "n1", 1)
    drain = shared.cluster.submit("drain", nodes=["n1"], reason="new DIMM", task_deadline="10m")
    begun(shared, drain, "n1")
    kill_leader(shared)
    succeeds(shared, drain)
    assert done(shared, drain, "n1") == EMPTIED
    cordon = shared.cluster.node("n1")["maintenance"]
    assert (cordon["drain"], cordon["until"], cordon["reason"]) == (drain, None, "drained: new DIMM")
    assert shared.cluster.node("n1")["status"] == "commissioned"

    since = now(shared)
    refused = shared.cluster.ask(
        "POST", "/v1/jobs", {"kind": "upgrade", "nodes": list(NODES), "bundle": shared.second}
    )
    assert (refused.status, refused.body["offenders"]) == (409, ["n1"])
    lifted = shared.cluster.ask("DELETE", "/v1/nodes/n1/maintenance")
    assert lifted.status == 409
    assert "undrain" in lifted.body["hint"]

    # It is for this that nodes are drained: somebody restarts it, and nothing counts that as a failure.
    before = boot_id(shared.lab, "n1")
    shared.lab.reboot("n1")
    assert boot_id(shared.lab, "n1") != before
    back = shared.cluster.submit("undrain", nodes=["n1"])
    succeeds(shared, back)
    assert done(shared, back, "n1") == FILLED
    node = shared.cluster.node("n1")
    assert (node["maintenance"], node["health"], node["error"]) == (None, "verified", "")
    assert node["presence"] == "reachable"
    assert events(shared, "node.presence", "n1", since=since) == []
    succeeds(shared, upgrade(shared, "n1"))
    nothing_twice(shared)


def test_a_drain_that_overruns_its_deadline_begins_nothing_more_and_is_undone(shared: Fleet) -> None:
    in_service(shared, "n1", "n2")
    paced(shared, "n1", 7)  # its first step is begun long before the deadline, and ends long after it
    drain = shared.cluster.submit("drain", nodes=["n1", "n2"], task_deadline="5s")
    ended = ends(shared, drain, "partly")
    assert [one["state"] for one in ended["tasks"]] == ["failed", "succeeded"]
    assert done(shared, drain, "n1") == [EMPTIED[0], "undo.00.app.fill 1"]
    assert "deadline of 5 s is over" in task(shared, drain, "n1")["error"]
    node = shared.cluster.node("n1")
    assert (node["maintenance"], node["status"]) == (None, "commissioned")
    assert "deadline of 5 s is over" in node["error"]
    assert shared.cluster.node("n2")["maintenance"]["drain"] == drain


def test_maintenance_ends_at_its_moment_under_another_leader_than_the_one_that_was_told(
    shared: Fleet,
) -> None:
    in_service(shared, "n1", "n2")
    since = now(shared)
    until = time.time() + 8
    body = {"reason": "firmware", "until": until}
    shared.cluster.ask("PUT", "/v1/nodes/n1/maintenance", body).ok()
    refused = shared.cluster.ask("POST", "/v1/jobs", {"kind": "verify", "nodes": ["n1"]})
    assert (refused.status, refused.body["code"]) == (409, "in-maintenance")
    assert shared.cluster.node("n1")["maintenance"]["until"] == until
    kill_leader(shared)
    shared.cluster.wait("its end", lambda: not shared.cluster.node("n1")["maintenance"])
    assert events(shared, "node.maintenance", "n1", since=since) == [
        "maintenance: firmware",
        "maintenance ended: its time is over",
    ]
    found = shared.cluster.ask("GET", f"/v1/events?follow=0&since={since}").ok()["items"]
    assert next(one["at"] for one in found if one["message"].startswith("maintenance ended")) >= until
    succeeds(shared, shared.cluster.submit("verify", nodes=["n1"]))
