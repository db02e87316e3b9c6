"""Strategies on real OpenSSH hosts: failure domains, shares of the nodes, change windows."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.cluster.conftest import NODES, Fleet
from tests.cluster.steer import (
    PATIENCE_S,
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
