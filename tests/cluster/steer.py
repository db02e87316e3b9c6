"""What the tests of this folder say to jobs and leaders, and what they read from the nodes afterwards."""

from typing import Any

from tests.cluster.conftest import NODES, Fleet

PATIENCE_S = 120.0
REFUSES = "/root/refuses"
"""A host that has this file fails the steps of a bundle with `CAREFUL`."""
CAREFUL = f"test ! -e {REFUSES} && sleep {{{{ pause }}}}"

AWAY = "systemctl stop ssh; pkill -KILL sshd; sleep 0.1"
"""Has a host refuse every connection and drop those that it has; `systemctl start ssh` brings it back."""


def in_service(fleet: Fleet, *nodes: str, role: str = "app", bundle: str = "") -> None:
    """Commission nodes and wait until they serve."""
    job = fleet.cluster.submit(
        "commission", nodes=list(nodes or NODES), role=role, bundle=bundle or fleet.first
    )
    succeeds(fleet, job)


def paced(fleet: Fleet, node: str, pause: float) -> None:
    """Have each step of a node take so long, where the request says nothing else."""
    fleet.cluster.ask("PATCH", f"/v1/nodes/{node}", {"variables": {"pause": pause}}).ok()


def upgrade(fleet: Fleet, *nodes: str, pause: float = 0.1, **asked: Any) -> str:
    """Begin an upgrade to the second bundle, one node after the other; return the job."""
    asked = {"bundle": fleet.second, "max_parallel": 1, "variables": {"pause": pause}} | asked
    return fleet.cluster.submit("upgrade", nodes=list(nodes or NODES), **asked)


def succeeds(fleet: Fleet, job: str) -> Any:
    return ends(fleet, job, "succeeded")


def ends(fleet: Fleet, job: str, state: str) -> Any:
    """Wait for the end of a job, which has to be `state`; return the job."""
    ended = fleet.cluster.ended(job, timeout_s=PATIENCE_S)
    assert ended["state"] == state, ended
    return ended


def steer(fleet: Fleet, job: str, verb: str, **body: Any) -> Any:
    return fleet.cluster.ask("POST", f"/v1/jobs/{job}:{verb}", {"reason": "for a test", **body}).ok()


def task(fleet: Fleet, job: str, node: str) -> Any:
    return next(one for one in fleet.cluster.job(job)["tasks"] if one["node"] == node)


def done(fleet: Fleet, job: str, node: str) -> list[str]:
    """Return what a job did on a node, by the node's own evidence: `STEP ATTEMPT`, one for each run."""
    lines = (line.split(maxsplit=1) for line in fleet.effects(node))
    return [what for name, what in lines if name == job or name.endswith(f"-{job}")]


def begun(fleet: Fleet, job: str, node: str) -> None:
    """Wait until a step of the job runs, or ran, on the node."""
    fleet.cluster.wait(f"{job} on {node}", lambda: done(fleet, job, node), timeout_s=PATIENCE_S)


def nothing_twice(fleet: Fleet, *nodes: str) -> None:
    """See that no attempt was launched twice on a node, by the runner's own evidence."""
    for node in nodes or NODES:
        launches = [line.split(maxsplit=1)[1] for line in fleet.launches(node)]
        assert len(launches) == len(set(launches)), launches


def kill_leader(fleet: Fleet) -> str:
    """Kill the leader and wait until another replica leads; return the dead one's name."""
    leader = fleet.cluster.wait("a leader", fleet.cluster.leader, timeout_s=PATIENCE_S)
    fleet.cluster.processes.kill_replica(leader)
    fleet.cluster.wait(
        "another leader", lambda: fleet.cluster.leader() not in ("", leader), timeout_s=PATIENCE_S
    )
    return leader


def now(fleet: Fleet) -> str:
    """Return the cursor after which events are still to come."""
    return str(fleet.cluster.ask("GET", "/v1/events?follow=0&since=now").ok()["next"])


def events(fleet: Fleet, kind: str, subject: str, *, since: str) -> list[str]:
    """Return the messages of the events of a kind about something, the oldest first."""
    found = fleet.cluster.ask("GET", f"/v1/events?follow=0&since={since}").ok()["items"]
    return [one["message"] for one in found if (one["kind"], one["subject"]) == (kind, subject)]
