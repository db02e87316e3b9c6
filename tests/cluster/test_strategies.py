"""Strategies on real OpenSSH hosts: domains, shares of the nodes, windows, canaries, failures allowed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cluster.bundle import RESTS, write_bundle
from tests.cluster.conftest import NODES, Fleet
from tests.cluster.steer import (
    CAREFUL,
    PATIENCE_S,
    REFUSES,
    begun,
    done,
    ends,
    in_service,
    nothing_twice,
    steer,
    succeeds,
    task,
    upgrade,
)

pytestmark = pytest.mark.timeout(300)
RACKS = {"n1": "b", "n2": "a", "n3": "b"}


def test_one_rack_at_a_time_is_upgraded_and_no_more_of_it_than_the_share(shared: Fleet) -> None:
    in_service(shared)
    for node, rack in RACKS.items():
        shared.cluster.ask("PATCH", f"/v1/nodes/{node}", {"labels": {"rack": rack}}).ok()
    strategy = {"max_parallel": "67%", "domain": "rack"}
    asked = {"bundle": shared.second, "variables": {"pause": 0.1}}
    job = shared.cluster.submit("upgrade", nodes=list(NODES), rollout=strategy, **asked)
    waves = {node: task(shared, job, node)["wave"] for node in NODES}
    assert waves == {"n2": 0, "n1": 1, "n3": 1}, "two of three at once, but of one rack only"
    begun(shared, job, "n1")
    assert task(shared, job, "n2")["state"] == "succeeded"
    succeeds(shared, job)
    nothing_twice(shared)


def test_nothing_begins_while_the_window_is_shut_and_a_cancel_gives_the_nodes_back(shared: Fleet) -> None:
    in_service(shared)
    opens = datetime.now(UTC) + timedelta(hours=6)
    window = {"cron": f"{opens.minute} {opens.hour} * * *", "duration": "10m", "zone": "UTC"}
    job = upgrade(shared, "n1", "n2", rollout={"windows": [window]})
    shared.cluster.wait(
        "the job to be held by its window",
        lambda: "window" in [hold["kind"] for hold in shared.cluster.job(job)["holds"]],
        timeout_s=PATIENCE_S,
    )
    succeeds(shared, upgrade(shared, "n3"))  # by then the other one would have begun
    assert done(shared, job, "n1") == done(shared, job, "n2") == []
    steer(shared, job, "cancel")
    ends(shared, job, "cancelled")
    bundles = [shared.cluster.node(node)["bundle"] for node in NODES]
    assert bundles == [shared.first, shared.first, shared.second]


def test_a_canary_that_stays_healthy_lets_the_others_begin_without_an_operator(shared: Fleet) -> None:
    in_service(shared)
    strategy = {"canary": 1, "promotion": "automatic", "min_healthy": "2s"}
    canary, *others = succeeds(shared, upgrade(shared, max_parallel=2, rollout=strategy))["tasks"]
    assert canary["ended_at"] - canary["started_at"] >= 2
    assert all(one["started_at"] >= canary["ended_at"] for one in others)
    nothing_twice(shared)


def test_a_failure_that_is_allowed_stops_nothing_and_one_more_pauses_the_job(
    shared: Fleet, tmp_path: Path
) -> None:
    careful = shared.cluster.push(
        write_bundle(tmp_path / "careful", version="7.0", extra=CAREFUL, more=RESTS)
    )
    in_service(shared)
    for node in ("n1", "n2"):
        shared.lab.run(node, "touch", REFUSES, check=True)
    try:
        job = upgrade(shared, bundle=careful, max_failed=1, rollout={"on_failure": "pause"})
        shared.cluster.wait(
            "the job to be held", lambda: shared.cluster.job(job)["holds"], timeout_s=PATIENCE_S
        )
    finally:
        for node in ("n1", "n2"):
            shared.lab.run(node, "rm", "-f", REFUSES)
    states = [task(shared, job, node)["state"] for node in NODES]
    assert states == ["failed", "failed", "queued"]
    assert done(shared, job, "n3") == []
    steer(shared, job, "resume")
    ends(shared, job, "partly")
    assert shared.cluster.node("n3")["bundle"] == careful
