"""A leader that dies or freezes at any boundary of a step: the job ends, and every effect is there once.

Real processes, real signals, real OpenSSH nodes. The evidence is on the nodes: each script appends a line
when it really runs, and the runner one for each launch.
"""

import asyncio
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from backends.ports import AttemptKey, Host, StaleEpoch
from backends.ssh.executor import SSHExecutor
from backends.ssh.settings import SSHSettings
from hamgr.failpoints import BOUNDARIES
from tests.cluster.conftest import Fleet

VERBS = ("commission", "upgrade", "decommission")
ENDS = {"commission": "commissioned", "upgrade": "upgraded", "decommission": "decommissioned"}
SCRIPTS = {
    "commission": ["work.01.app.first", "work.02.app.second"],
    "upgrade": ["work.01.app.first", "work.02.app.second"],
    "decommission": ["work.00.app.undo"],
}


def submit(fleet: Fleet, verb: str, **fields: Any) -> str:
    if verb == "commission":
        fields |= {"role": "app", "bundle": fleet.first}
    return fleet.cluster.submit(verb, nodes=["n1", "n2"], max_parallel=2, **fields)


def assert_each_effect_once(fleet: Fleet, job: str, verb: str) -> None:
    for node in ("n1", "n2"):
        effects = [line.split() for line in fleet.effects(node)]
        mine = [step for name, step, _ in effects if name.endswith(f"-{job}")]
        assert mine == SCRIPTS[verb], f"{node}: {effects}"
        launches = Counter(tuple(line.split()[1:]) for line in fleet.launches(node))
        assert not [line for line, count in launches.items() if count > 1], launches
        epochs = [int(line.split()[0]) for line in fleet.launches(node)]
        assert epochs == sorted(epochs), "an order of an older leader was obeyed"


def subject_of(boundary: str, verb: str) -> str:
    """Return what a replica reports when it reaches `boundary` of the first script of `verb` on n1."""
    return "/n1/" if boundary in ("claiming", "claimed", "fenced") else f"/n1/{SCRIPTS[verb][0]}"


def die_at(fleet: Fleet, boundary: str, verb: str) -> str:
    """Submit a job whose leader kills itself at `boundary`; return the job."""
    cluster = fleet.cluster
    armed = cluster.arm(boundary, "kill", subject_of(boundary, verb))
    job = submit(fleet, verb)
    cluster.wait(f"the death at {boundary}", lambda: not armed.exists() and cluster.dead())
    return job


def die_while_running(fleet: Fleet, verb: str) -> str:
    """Submit a job and kill the leader while its first script runs; return the job."""
    cluster = fleet.cluster
    job = submit(fleet, verb, variables={"pause": 1.0})
    begun = f"-{job} {SCRIPTS[verb][0]} "
    cluster.wait("a running step", lambda: any(begun in line for line in fleet.effects("n1")))
    cluster.processes.kill_replica(cluster.wait("a leader", cluster.leader))
    return job


@pytest.mark.timeout(300)
@pytest.mark.parametrize("boundary", [*BOUNDARIES, "running"])
def test_the_leader_is_killed_and_each_effect_happens_once(fleet: Fleet, boundary: str) -> None:
    cluster = fleet.cluster
    for verb in VERBS:
        job = die_while_running(fleet, verb) if boundary == "running" else die_at(fleet, boundary, verb)
        ended = cluster.ended(job)
        assert ended["state"] == "succeeded", ended
        assert [cluster.node(node)["status"] for node in ("n1", "n2")] == [ENDS[verb]] * 2
        assert_each_effect_once(fleet, job, verb)
        cluster.revive()


def freeze_at(fleet: Fleet, boundary: str, verb: str) -> tuple[str, str]:
    """Submit a job whose leader freezes itself at `boundary`; return the leader and the job."""
    cluster = fleet.cluster
    leader = cluster.wait("a leader", cluster.leader)
    armed = cluster.arm(boundary, "stop", subject_of(boundary, verb))
    job = submit(fleet, verb)
    cluster.wait(f"the freeze at {boundary}", lambda: not armed.exists())
    return leader, job


@pytest.mark.timeout(300)
@pytest.mark.parametrize("boundary", ["claimed", "fenced", "announced", "ended"])
def test_a_frozen_leader_that_thaws_is_refused_by_the_node(fleet: Fleet, boundary: str) -> None:
    cluster = fleet.cluster
    for verb in VERBS:
        frozen, job = freeze_at(fleet, boundary, verb)
        ended = cluster.ended(job)
        assert ended["state"] == "succeeded", ended
        assert_each_effect_once(fleet, job, verb)
        cluster.processes.signal_replica(frozen, signal.SIGCONT)
        cluster.revive()
        assert cluster.job(job) == ended
        assert_each_effect_once(fleet, job, verb)
        assert_an_older_order_is_refused(fleet, "n1")


def assert_an_older_order_is_refused(fleet: Fleet, name: str) -> None:
    """Send what a thawed leader would: a step under the epoch before the present one."""
    node = fleet.cluster.node(name)
    host = Host(name=name, address=node["address"], host_key=node["host_key"])
    before = fleet.launches(name)

    async def order() -> None:
        executor = SSHExecutor(SSHSettings(client_key_paths=(Path(fleet.lab.ssh_key),)))
        try:
            key = AttemptKey(job="late", step="order", attempt=1)
            with pytest.raises(StaleEpoch) as refusal:
                await executor.run(host, node["epoch"] - 1, key, b"touch /var/log/late\n", wait_s=5.0)
            assert refusal.value.fence == node["epoch"]
        finally:
            await executor.close()

    asyncio.run(order())
    assert fleet.launches(name) == before
    assert fleet.lab.run(name, "ls", "/var/log/late", check=False).returncode != 0


@pytest.mark.timeout(120)
def test_a_killed_replica_comes_back_with_the_same_state(fleet: Fleet) -> None:
    cluster = fleet.cluster
    job = submit(fleet, "commission")
    victim = cluster.wait("a leader", cluster.leader)
    cluster.processes.kill_replica(victim)
    assert cluster.ended(job)["state"] == "succeeded"
    cluster.revive()

    def digests() -> bool:
        answers = [cluster.on(name, "GET", "/v1/replica?digest=1") for name in cluster.names]
        seen = {(a.body["applied_index"], a.body["digest"]) for a in answers if a.status == 200}
        return all(answer.status == 200 for answer in answers) and len(seen) == 1

    cluster.wait("equal state on all replicas", digests)
