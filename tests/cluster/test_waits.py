"""What nodes wait for on real OpenSSH hosts: health within a deadline, a window that opens, each other."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.bundle import RESTS, write_bundle
from tests.cluster.conftest import NODES, Fleet
from tests.cluster.steer import (
    PATIENCE_S,
    begun,
    done,
    ends,
    in_service,
    nothing_twice,
    succeeds,
    task,
    upgrade,
)

pytestmark = pytest.mark.timeout(300)
HEALTHY = "/root/healthy"
SHUT = "/root/shut"
GATED = f"while [ -e {SHUT} ]; do sleep 0.1; done"
"""Steps that wait until the test opens the gate of their host."""
AHEAD_S_MIN = 30
"""So long a moment must be away, for all that has to be said before it; nobody waits for it."""


@pytest.fixture
def host_files(shared: Fleet) -> Iterator[Fleet]:
    """The session's cluster; what a test said to the hosts by files is gone before and after."""
    for node in NODES:
        shared.lab.run(node, "rm", "-f", HEALTHY, SHUT, check=True)
    yield shared
    for node in NODES:
        shared.lab.run(node, "rm", "-f", HEALTHY, SHUT, check=True)


def proofs(fleet: Fleet, job: str, node: str) -> list[Any]:
    return [one for one in task(fleet, job, node).get("results", ()) if one["step"].endswith(".healthy")]


def why(fleet: Fleet, job: str) -> str:
    causes = fleet.cluster.ask("GET", f"/v1/jobs/{job}/why").ok()["causes"]
    return "\n".join(cause["message"] for cause in causes)


def test_a_node_has_until_its_deadline_to_become_healthy_and_then_counts_as_failed(
    host_files: Fleet, tmp_path: Path
) -> None:
    shared = host_files
    proof = f'  - name: healthy\n    check: {{command: ["test", "-e", "{HEALTHY}"]}}\n'
    proven = shared.cluster.push(write_bundle(tmp_path / "p", version="8.0", more=RESTS, proof=proof))
    in_service(shared)
    job = upgrade(shared, bundle=proven, max_failed=0, rollout={"healthy_deadline": "2s"})
    ended = ends(shared, job, "failed")
    assert [one["state"] for one in ended["tasks"]] == ["failed", "skipped", "skipped"]
    assert ended["tasks"][0]["error"] == "verify.01.app.healthy failed with exit status 1"
    assert ended["failing"] == "1 failed: n1"
    assert done(shared, job, "n2") == done(shared, job, "n3") == []
    node = shared.cluster.node("n1")
    assert (node["bundle"], node["health"]) == (shared.first, "verified"), "it is back at its last good one"

    slow = upgrade(shared, "n2", bundle=proven, rollout={"healthy_deadline": "60s"})
    shared.cluster.wait("a proof that fails", lambda: proofs(shared, slow, "n2"), timeout_s=PATIENCE_S)
    shared.lab.run("n2", "touch", HEALTHY, check=True)
    succeeds(shared, slow)
    passed = [one["passed"] for one in proofs(shared, slow, "n2")]
    assert passed == [*(False for _ in passed[1:]), True]
    assert shared.cluster.node("n2")["bundle"] == proven
    assert done(shared, slow, "n2") == ["work.01.app.first 1", "work.02.app.second 1"]
    nothing_twice(shared)


def test_a_job_that_waits_for_its_window_begins_by_itself_when_that_opens(with_clock: Fleet) -> None:
    shared = with_clock
    in_service(shared, "n1")
    soon = datetime.now(UTC) + timedelta(seconds=AHEAD_S_MIN)
    opens = soon.replace(second=0, microsecond=0) + timedelta(minutes=1)
    window = {"cron": f"{opens.minute} {opens.hour} * * *", "duration": "10m", "zone": "UTC"}
    job = upgrade(shared, "n1", rollout={"windows": [window]})
    shared.cluster.wait(
        "the job to know when its window opens",
        lambda: [hold["until"] for hold in shared.cluster.job(job)["holds"]] == [opens.timestamp()],
        timeout_s=PATIENCE_S,
    )
    assert "no change window is open" in why(shared, job)
    assert done(shared, job, "n1") == []
    # The last two seconds before it opens pass by themselves, under the eyes of the one leader.
    shared.cluster.set_clock(ahead_s=opens.timestamp() - 2 - time.time())
    ended = succeeds(shared, job)
    assert ended["tasks"][0]["started_at"] >= opens.timestamp()
    assert done(shared, job, "n1") == ["work.01.app.first 1", "work.02.app.second 1"]
    nothing_twice(shared, "n1")


def test_a_node_that_others_lean_on_waits_for_its_like_and_says_so_and_the_others_go_on(
    host_files: Fleet, tmp_path: Path
) -> None:
    shared = host_files
    gated = shared.cluster.push(write_bundle(tmp_path / "g", version="9.0", more=RESTS, extra=GATED))
    in_service(shared, "n1", "n2")
    in_service(shared, "n3", role="worker")  # requires one of role app at work
    for node in ("n1", "n2"):
        shared.lab.run(node, "touch", SHUT, check=True)
    job = upgrade(shared, bundle=gated, max_parallel=3)
    shared.cluster.wait(
        "the worker's end", lambda: task(shared, job, "n3")["state"] == "succeeded", timeout_s=PATIENCE_S
    )
    busy = shared.cluster.wait(
        "a step behind a gate",
        lambda: next((node for node in ("n1", "n2") if done(shared, job, node)), ""),
        timeout_s=PATIENCE_S,
    )
    other = {"n1": "n2", "n2": "n1"}[busy]
    assert (task(shared, job, other)["wave"], task(shared, job, other)["state"]) == (0, "queued")
    assert "role worker needs 1 x app in service and would have 0" in why(shared, job)
    assert done(shared, job, other) == []
    shared.lab.run(busy, "rm", SHUT, check=True)
    begun(shared, job, other)
    assert task(shared, job, busy)["state"] == "succeeded"
    shared.lab.run(other, "rm", SHUT, check=True)
    succeeds(shared, job)
    assert [shared.cluster.node(node)["bundle"] for node in NODES] == [gated] * 3
    nothing_twice(shared)
