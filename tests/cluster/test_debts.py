"""What nodes owe that were away during a rollout, on real OpenSSH hosts: paid once, or forgiven."""

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.bundle import write_bundle
from tests.cluster.conftest import Fleet
from tests.cluster.steer import (
    AWAY,
    CAREFUL,
    PATIENCE_S,
    REFUSES,
    begun,
    done,
    ends,
    events,
    in_service,
    kill_leader,
    nothing_twice,
    now,
    paced,
    steer,
    succeeds,
    task,
    upgrade,
)

pytestmark = pytest.mark.timeout(300)
CONFIG = "/etc/app.conf"
NEW = b"version=2.0 port=8080\n"
OLD = b"version=1.0 port=8080\n"
WORK = ["work.01.app.first 1", "work.02.app.second 1"]


def debt(fleet: Fleet, node: str) -> Any:
    return fleet.cluster.node(node)["debt"]


def test_a_node_that_was_away_pays_once_by_a_job_of_its_own_before_others_lean_on_it(
    shared: Fleet,
) -> None:
    in_service(shared, "n1", "n2")
    in_service(shared, "n3", role="worker")  # requires one of role app at work
    paced(shared, "n1", 3)  # n2 is away before its turn comes
    paced(shared, "n2", 3)  # and pays for long enough to be seen
    job = upgrade(shared, variables={}, offline="owe")
    begun(shared, job, "n1")
    shared.lab.run("n2", "sh", "-c", AWAY, check=True)
    ends(shared, job, "partly")
    assert "offline; it owes this upgrade" in task(shared, job, "n2")["error"]
    assert (debt(shared, "n2")["job"], debt(shared, "n2")["paid_by"]) == (job, None)
    assert shared.lab.read("n2", CONFIG) == OLD
    assert [done(shared, job, node) for node in ("n1", "n2", "n3")] == [WORK, [], WORK]

    # It serves the old version: nobody may lean on it.
    refused = shared.cluster.ask("POST", "/v1/jobs", {"kind": "drain", "nodes": ["n1"]})
    assert (refused.status, refused.body["code"]) == (409, "requirement"), refused

    since = now(shared)
    shared.lab.run("n2", "systemctl", "start", "ssh", check=True)
    kill_leader(shared)  # the next one looks for those that owe something first of all
    payment = shared.cluster.wait("the payment", lambda: debt(shared, "n2")["paid_by"], timeout_s=PATIENCE_S)
    begun(shared, payment, "n2")
    assert debt(shared, "n2") is not None, "it counts before it has paid"
    paid = succeeds(shared, payment)
    assert (paid["kind"], paid["bundle"], len(paid["tasks"])) == ("upgrade", shared.second, 1)
    assert done(shared, payment, "n2") == WORK
    assert shared.lab.read("n2", CONFIG) == NEW
    assert debt(shared, "n2") is None
    assert [line.split(",")[0] for line in events(shared, "node.debt", "n2", since=since)] == [
        "is back",
        f"paid what it owed to {job}",
    ]
    succeeds(shared, shared.cluster.submit("drain", nodes=["n1"]))
    nothing_twice(shared)


def test_a_node_whose_cable_is_cut_under_a_kept_connection_owes_and_when_forgiven_stays_as_it_was(
    shared: Fleet,
) -> None:
    in_service(shared)
    paced(shared, "n1", 3)  # n2 is away before its turn comes
    job = upgrade(shared, variables={}, offline="owe")
    begun(shared, job, "n1")
    shared.lab.link("n2", up=False)
    ends(shared, job, "partly")
    assert "offline; it owes this upgrade" in task(shared, job, "n2")["error"]
    assert [done(shared, job, node) for node in ("n1", "n2", "n3")] == [WORK, [], WORK]
    assert debt(shared, "n2")["job"] == job
    shared.cluster.ask("POST", "/v1/nodes/n2:forgive", {"reason": "it is to go soon"}).ok()
    assert debt(shared, "n2") is None
    shared.lab.link("n2", up=True)
    found = shared.cluster.submit("discover", addresses=[shared.lab.address("n2")])
    succeeds(shared, found)
    node = shared.cluster.node("n2")
    assert (node["presence"], node["debt"], node["bundle"]) == ("reachable", None, shared.first)
    assert shared.lab.read("n2", CONFIG) == OLD
    jobs = shared.cluster.ask("GET", "/v1/jobs").ok()["items"]
    assert jobs[0]["id"] == found, "nobody pays what was forgiven"


def test_a_retry_of_what_was_skipped_goes_on_without_those_that_are_still_away(
    shared: Fleet, tmp_path: Path
) -> None:
    in_service(shared, "n1", "n2")
    shared.lab.run("n1", "touch", REFUSES, check=True)
    shared.lab.run("n2", "sh", "-c", AWAY, check=True)
    careful = shared.cluster.push(write_bundle(tmp_path / "careful", version="3.0", extra=CAREFUL))
    try:
        job = upgrade(shared, "n1", "n2", bundle=careful, offline="owe", max_failed=1)
        ended = ends(shared, job, "failed")
    finally:
        shared.lab.run("n1", "rm", "-f", REFUSES)
    assert [one["state"] for one in ended["tasks"]] == ["failed", "skipped"]
    again = str(steer(shared, job, "retry", unfinished=True)["id"])
    retried = succeeds(shared, again)
    assert [one["node"] for one in retried["tasks"]] == ["n1"]
    assert debt(shared, "n2")["job"] == job
    refused = shared.cluster.ask("POST", f"/v1/jobs/{again}:retry", {"unfinished": True})
    assert (refused.status, "failed nowhere" in refused.body["detail"]) == (409, True)
    shared.lab.run("n2", "systemctl", "start", "ssh", check=True)
