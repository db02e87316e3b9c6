"""Job logs on real daemons, disks and nodes: stored on every replica, whoever dies, with full disks too."""

import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cluster.bundle import write_bundle
from tests.cluster.conftest import Fleet
from tests.cluster.harness import Cluster

SECRET = "correct-horse-battery-staple"
TALK = f'case $HAMGR_STEP in work.01*) seq 1 30000; echo "password=$(echo {SECRET})" ;; esac'
"""About 170 KB: more than comes back with the attempt, so it has to be read from the node."""
EXPECTED = "".join(f"{number}\n" for number in range(1, 30001)) + f"password={'*' * len(SECRET)}\n"


def push(fleet: Fleet, tmp_path: Path, extra: str) -> str:
    directory = write_bundle(tmp_path / "talking", version="3.0", extra=extra)
    manifest = directory / "hamgr.yaml"
    text = manifest.read_text().replace("pause: 0.1", f"pause: 0.1, password: {SECRET}")
    manifest.write_text(text + "secrets: [password]\n")
    return fleet.cluster.push(directory)


def own_log(cluster: Cluster, name: str, job: str) -> str:
    """Return what a replica itself can tell of a step's output, without asking the leader."""
    plan = next(plan for plan in cluster.layout.replicas if plan.name == name)
    connection = http.client.HTTPConnection(urlsplit(plan.url).netloc, timeout=20)
    headers = {"Authorization": f"Bearer {cluster.layout.token}", "X-Hamgr-Forwarded": "test"}
    connection.request("GET", f"/v1/jobs/{job}/log?step=work.01.app.first&consistency=stale", headers=headers)
    events = connection.getresponse().read().decode().split("\n\n")
    connection.close()
    lines = [json.loads(event.split("data: ", 1)[1]) for event in events if event.startswith("event: log")]
    assert {line["note"] for line in lines} <= {""}, lines[0]["note"]
    return "".join(line["data"] for line in lines)


def metric(cluster: Cluster, metric_name: str, replica: str) -> float | None:
    answer = cluster.on(replica, "GET", "/metrics")
    found = re.search(rf"^{metric_name} (\S+)$", (answer.body or b"").decode(), re.MULTILINE)
    return float(found[1]) if found else None


def until_stored(cluster: Cluster, names: list[str]) -> None:
    def stored(name: str) -> bool:
        return (metric(cluster, "hamgr_job_logs_stored_bytes", name) or 0) > 30_000

    for name in names:
        cluster.wait(f"the log on {name}", lambda name=name: stored(name))


@pytest.mark.timeout(180)
def test_a_log_outlives_the_leader_that_recorded_it_and_the_node_that_printed_it(
    fleet: Fleet, tmp_path: Path
) -> None:
    cluster = fleet.cluster
    bundle = push(fleet, tmp_path, TALK)
    cluster.wait("a leader", cluster.leader)
    armed = cluster.arm("recorded", "kill", "/n1/work.01.app.first")
    job = cluster.submit("commission", nodes=["n1"], role="app", bundle=bundle)
    cluster.wait("the death of the leader", lambda: not armed.exists() and cluster.dead())
    assert cluster.ended(job)["state"] == "succeeded"
    cluster.revive()
    until_stored(cluster, cluster.names)
    fleet.lab.run("n1", "sh", "-c", "rm -rf /var/lib/hamgr", check=True)
    for name in cluster.names:
        assert own_log(cluster, name, job) == EXPECTED
    for plan in cluster.layout.replicas:
        for path in (cluster.directory / plan.name).rglob("*"):
            if path.is_file() and "blobs" not in path.parts:
                assert path.name in ("journal", "snapshot") or SECRET.encode() not in path.read_bytes()


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.mark.timeout(180)
def test_a_full_disk_stops_neither_the_job_nor_the_replica_and_the_others_have_the_log(
    fleet: Fleet, tmp_path: Path
) -> None:
    cluster = fleet.cluster
    bundle = push(fleet, tmp_path, TALK)
    leader = cluster.wait("a leader", cluster.leader)
    with small_disk(cluster.directory / leader / "logs"):
        job = cluster.submit("commission", nodes=["n1"], role="app", bundle=bundle)
        assert cluster.ended(job)["state"] == "succeeded"
        cluster.wait("the complaint", lambda: metric(cluster, "hamgr_job_logs_failing", leader) == 1.0)
        others = [name for name in cluster.names if name != leader]
        until_stored(cluster, others)
        fleet.lab.run("n1", "sh", "-c", "rm -rf /var/lib/hamgr", check=True)
        for name in cluster.names:
            assert own_log(cluster, name, job) == EXPECTED
        cluster.wait("its readiness", lambda: cluster.on(leader, "GET", "/readyz").status == 200)
    plan = next(plan for plan in cluster.layout.replicas if plan.name == leader)
    assert "job logs cannot be stored, jobs go on without" in plan.log.read_text()
