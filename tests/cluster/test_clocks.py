"""The clock of whoever leads is set by hours while it works on real OpenSSH hosts."""

import time
from typing import Any

import pytest

from tests.cluster.conftest import Fleet
from tests.cluster.steer import (
    PATIENCE_S,
    begun,
    done,
    in_service,
    kill_leader,
    nothing_twice,
    succeeds,
    upgrade,
)

pytestmark = pytest.mark.timeout(180)
HOURS_S = 5 * 3_600.0
STEPS = ["work.01.app.first 1", "work.02.app.second 1"]


def status(fleet: Fleet) -> Any:
    return fleet.cluster.ask("GET", "/v1/status").ok()


def test_a_rollout_goes_on_as_if_nothing_had_happened_under_it_and_under_its_next_leader(
    with_clock: Fleet,
) -> None:
    shared = with_clock
    in_service(shared)
    began_s = time.monotonic()
    strategy = {"progress_deadline": "60s", "min_healthy": "1s"}
    job = upgrade(shared, pause=0.7, task_deadline="60s", rollout=strategy)
    begun(shared, job, "n1")
    leader, term = shared.cluster.wait("a leader", shared.cluster.leader), status(shared)["term"]
    shared.cluster.set_clock(leader, ahead_s=HOURS_S)
    (warning,) = [one for one in status(shared)["warnings"] if one["code"] == "clocks-differ"]
    assert f"{leader}'s clock is +{HOURS_S:.0f} s from most" in warning["message"]
    begun(shared, job, "n2")
    assert (shared.cluster.leader(), status(shared)["term"]) == (leader, term)
    kill_leader(shared)
    shared.cluster.set_clock(ahead_s=-HOURS_S)
    succeeds(shared, job)
    for node in ("n1", "n2", "n3"):
        assert done(shared, job, node) == STEPS
        assert shared.cluster.node(node)["status"] == "upgraded"
    nothing_twice(shared)
    assert time.monotonic() - began_s < PATIENCE_S
