"""Rollouts on real OpenSSH nodes when their leader is killed: canaries, pauses, ways back, locks, deadlines.

What was done is told by the nodes themselves: each step leaves a line, and the runner one for each launch.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.bundle import write_bundle
from tests.cluster.conftest import NODES, Fleet

pytestmark = pytest.mark.timeout(300)
PATIENCE_S = 120.0
REFUSES = "/root/refuses"
TIMES = "/var/log/times"
STEPS = ["work.01.app.first", "work.02.app.second"]


def in_service(fleet: Fleet, bundle: str, *nodes: str) -> None:
    job = fleet.cluster.submit("commission", nodes=list(nodes), role="app", bundle=bundle)
    assert fleet.cluster.ended(job, timeout_s=PATIENCE_S)["state"] == "succeeded", fleet.cluster.job(job)


def upgrade(fleet: Fleet, *nodes: str, pause: float = 0.1, **asked: Any) -> str:
    asked.setdefault("bundle", fleet.second)
    return fleet.cluster.submit(
        "upgrade", nodes=list(nodes or NODES), max_parallel=1, variables={"pause": pause}, **asked
    )


def done(fleet: Fleet, job: str, node: str) -> list[str]:
    """Return what a job did on a node, by the node's own evidence: `STEP ATTEMPT`, one line for each run."""
    lines = (line.split(maxsplit=1) for line in fleet.effects(node))
    return [what for name, what in lines if name == job or name.endswith(f"-{job}")]


def done_once(fleet: Fleet, job: str, *nodes: str) -> None:
    for node in nodes:
        assert done(fleet, job, node) == [f"{step} 1" for step in STEPS], (node, fleet.effects(node))
        launches = [line.split(maxsplit=1)[1] for line in fleet.launches(node)]
        assert len(launches) == len(set(launches)), launches


def holds(fleet: Fleet, job: str) -> list[str]:
    return [hold["kind"] for hold in fleet.cluster.job(job)["holds"]]


def held(fleet: Fleet, job: str, kind: str) -> None:
    fleet.cluster.wait(f"{job} to be held: {kind}", lambda: kind in holds(fleet, job), timeout_s=PATIENCE_S)


def steer(fleet: Fleet, job: str, verb: str) -> Any:
    return fleet.cluster.ask("POST", f"/v1/jobs/{job}:{verb}", {"reason": "for a test"}).ok()


def another_leads(fleet: Fleet) -> None:
    """Kill the leader, wait until another replica leads, and bring the dead one back."""
    leader = fleet.cluster.wait("a leader", fleet.cluster.leader, timeout_s=PATIENCE_S)
    fleet.cluster.processes.kill_replica(leader)
    fleet.cluster.wait(
        "another leader", lambda: fleet.cluster.leader() not in ("", leader), timeout_s=PATIENCE_S
    )
    fleet.cluster.revive()


def state_of(fleet: Fleet, job: str, node: str) -> Any:
    return next(task for task in fleet.cluster.job(job)["tasks"] if task["node"] == node)


def test_a_canary_outlives_its_leaders_and_nothing_goes_on_before_it_is_promoted(fleet: Fleet) -> None:
    in_service(fleet, fleet.first, *NODES)
    job = upgrade(fleet, rollout={"canary": 1, "promotion": "manual", "min_healthy": "5s"})
    fleet.cluster.wait(
        "the canary to soak", lambda: state_of(fleet, job, "n1")["phase"] == "soak", timeout_s=PATIENCE_S
    )
    another_leads(fleet)
    held(fleet, job, "canary")
    another_leads(fleet)
    assert holds(fleet, job) == ["canary"]
    assert done(fleet, job, "n2") == done(fleet, job, "n3") == []
    steer(fleet, job, "promote")
    assert fleet.cluster.ended(job, timeout_s=PATIENCE_S)["state"] == "succeeded"
    done_once(fleet, job, *NODES)


def test_a_paused_job_stays_paused_under_the_next_leader_and_goes_on_where_it_was(fleet: Fleet) -> None:
    in_service(fleet, fleet.first, *NODES)
    job = upgrade(fleet, pause=4)
    fleet.cluster.wait("the first node", lambda: done(fleet, job, "n1"), timeout_s=PATIENCE_S)
    steer(fleet, job, "pause")
    another_leads(fleet)
    fleet.cluster.wait(
        "the first node's end",
        lambda: state_of(fleet, job, "n1")["state"] == "succeeded",
        timeout_s=PATIENCE_S,
    )
    assert holds(fleet, job) == ["paused"]
    assert done(fleet, job, "n2") == done(fleet, job, "n3") == []
    steer(fleet, job, "resume")
    assert fleet.cluster.ended(job, timeout_s=PATIENCE_S)["state"] == "succeeded"
    done_once(fleet, job, *NODES)


def test_a_way_back_is_finished_by_the_next_leader_the_newest_first(fleet: Fleet, tmp_path: Path) -> None:
    slow = f'echo "$HAMGR_JOB $(date +%s%N)" >> {TIMES}; sleep 2'
    old = fleet.cluster.push(write_bundle(tmp_path / "old", version="5.0", extra=slow))
    new = fleet.cluster.push(write_bundle(tmp_path / "new", version="6.0", extra=f"test ! -e {REFUSES}"))
    in_service(fleet, old, *NODES)
    fleet.lab.run("n3", "touch", REFUSES, check=True)
    try:
        job = upgrade(fleet, bundle=new, rollout={"on_failure": "revert"})
        back = fleet.cluster.wait("the way back", lambda: way_back(fleet, job), timeout_s=PATIENCE_S)
        another_leads(fleet)
        ended = fleet.cluster.ended(back, timeout_s=PATIENCE_S)
    finally:
        fleet.lab.run("n3", "rm", "-f", REFUSES)
    assert (fleet.cluster.job(job)["state"], ended["state"]) == ("partly", "succeeded")
    done_once(fleet, back, "n1", "n2")
    assert done(fleet, back, "n3") == []
    assert times(fleet, back, "n2")[-1] < times(fleet, back, "n1")[0]
    for node in NODES:
        assert fleet.cluster.node(node)["bundle"] == old
        assert fleet.lab.read(node, "/etc/app.conf") == b"version=5.0 port=8080\n"


def way_back(fleet: Fleet, job: str) -> str:
    jobs = fleet.cluster.ask("GET", "/v1/jobs").ok()["items"]
    return next((one["id"] for one in jobs if one["revert_of"] == job), "")


def times(fleet: Fleet, job: str, node: str) -> list[int]:
    """Return when the steps of a job began on a node; the hosts of a lab have one clock."""
    lines = [line.split() for line in fleet.lab.read(node, TIMES).decode().splitlines()]
    return [int(at) for name, at in lines if name == job or name.endswith(f"-{job}")]


def test_jobs_that_want_the_same_node_queue_and_one_that_stalls_is_held(fleet: Fleet) -> None:
    in_service(fleet, fleet.first, "n1", "n2")
    first = upgrade(fleet, "n1", "n2", pause=4, rollout={"progress_deadline": "2s", "on_failure": "pause"})
    fleet.cluster.wait("the first node", lambda: done(fleet, first, "n1"), timeout_s=PATIENCE_S)
    second = fleet.cluster.submit("verify", nodes=["n1"])
    assert fleet.cluster.job(second)["tasks"][0]["state"] == "queued"
    held(fleet, first, "stalled")
    assert fleet.cluster.ended(second, timeout_s=PATIENCE_S)["state"] == "succeeded"
    assert state_of(fleet, first, "n1")["state"] == "succeeded"
    assert done(fleet, first, "n2") == []
    steer(fleet, first, "cancel")
    assert fleet.cluster.ended(first, timeout_s=PATIENCE_S)["state"] == "cancelled"
    done_once(fleet, first, "n1")
