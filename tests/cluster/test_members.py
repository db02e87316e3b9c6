"""A replica that lost its disk is refused, and replaced step by step as docs/operating.md says."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.demo.layout import hamgrd, make_certificates
from tests.cluster.harness import Cluster, hamgr
from tests.cluster.writer import Writer

pytestmark = pytest.mark.timeout(120)

LOST = "r3"
ROUNDS = 4


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three replicas on loopback that have something to remember."""
    running = Cluster(tmp_path / "cluster")
    try:
        running.start()
        for number in range(20):
            running.ask("PATCH", "/v1/globals", {"variables": {f"v{number}": number}}).ok()
        yield running
    finally:
        running.stop()


def lose_the_disk(cluster: Cluster) -> Path:
    """Kill r3 and delete its data folder; return its configuration."""
    cluster.processes.kill_replica(LOST)
    config = cluster.layout.replicas[2].config
    shutil.rmtree(json.loads(config.read_text())["data_dir"])
    return config


def certify_anew(cluster: Cluster, config: Path) -> dict[str, str]:
    """Make a certificate with a new id, and a configuration that joins; return its entry of `peers`."""
    pki = cluster.directory / "pki"
    for file in (pki / f"{LOST}.crt", pki / f"{LOST}.key"):
        file.unlink()
    before = json.loads(config.read_text())
    peers = make_certificates(pki, cluster.layout.replicas)
    assert {name for name in peers if peers[name]["id"] != before["peers"][name]["id"]} == {LOST}
    config.write_text(json.dumps({**before, "peers": peers, "join": True}))
    return peers[LOST]


def digests(cluster: Cluster) -> set[tuple[int, str]] | None:
    """Return what the replicas have applied and its digest; None as long as one does not answer."""
    told: list[Any] = [cluster.on(name, "GET", "/v1/replica?digest=1") for name in cluster.names]
    if any(answer.status != 200 for answer in told):
        return None
    return {(answer.body["applied_index"], answer.body["digest"]) for answer in told}


def test_a_replica_that_lost_its_disk_is_refused_and_replaced_as_the_manual_says(cluster: Cluster) -> None:
    config = lose_the_disk(cluster)
    with pytest.raises(RuntimeError, match="remove this replica from the cluster, and add it again"):
        hamgrd("run", "--config", str(config))

    new = certify_anew(cluster, config)
    hamgrd("init", "--config", str(config))
    removed = hamgr(cluster, "replica", "remove", LOST, "--yes")
    assert removed.returncode == 0, removed.stderr
    assert "after   no further replica may be lost" in removed.stderr
    cluster.processes.start_replica(LOST)
    added = hamgr(
        cluster, "replica", "add", LOST, "--id", new["id"], "--raft", new["raft"], "--api", new["api"]
    )
    assert added.returncode == 0, f"{added.stderr}\n{cluster.logs()}"
    assert "the loss of any 1 more replica is survived" in added.stderr

    cluster.wait("one state on all", lambda: (found := digests(cluster)) is not None and len(found) == 1)
    cluster.processes.kill_replica(cluster.wait("a leader", cluster.leader))
    cluster.ask("PATCH", "/v1/globals", {"variables": {"after": "a further loss"}}).ok()
    values = cluster.ask("GET", "/v1/globals").ok()["variables"]
    assert (values["v19"], values["after"]) == (19, "a further loss")
    cluster.revive()
    cluster.wait("one state on all", lambda: (found := digests(cluster)) is not None and len(found) == 1)


def test_a_replaced_replica_that_comes_back_with_its_old_certificate_is_let_in_by_nobody(
    cluster: Cluster,
) -> None:
    cluster.processes.kill_replica(LOST)
    assert hamgr(cluster, "replica", "remove", LOST, "--yes").returncode == 0
    cluster.wait("a leader", lambda: led(cluster))
    cluster.processes.start_replica(LOST)
    cluster.wait("refusals under one leader", lambda: unmoved_by(cluster, LOST, refusals=10))
    cluster.wait(
        "its own word that it is not ready", lambda: cluster.on(LOST, "GET", "/readyz").status == 503
    )
    assert [item["name"] for item in cluster.ask("GET", "/v1/replicas").ok()["items"]] == ["r1", "r2"]


def put(cluster: Cluster, body: dict[str, str]) -> Any:
    return cluster.ask("PUT", f"/v1/replicas/{LOST}", body).ok()


def test_a_replica_that_comes_and_goes_again_and_again_disturbs_no_write(cluster: Cluster) -> None:
    cluster.processes.kill_replica(LOST)
    config, ids = cluster.layout.replicas[2].config, set()
    with Writer(cluster) as writer:
        for _ in range(ROUNDS):
            shutil.rmtree(json.loads(config.read_text())["data_dir"])
            removed = cluster.ask("DELETE", f"/v1/replicas/{LOST}")
            assert removed.status == 200, removed
            new = certify_anew(cluster, config)
            hamgrd("init", "--config", str(config))
            cluster.processes.start_replica(LOST)
            body = {"id": new["id"], "raft": new["raft"], "api": new["api"]}
            cluster.wait("its vote", lambda body=body: put(cluster, body)["role"] == "voter")
            ids.add(new["id"])
            cluster.processes.kill_replica(LOST)
    assert len(ids) == ROUNDS, "each time it was another one"
    assert not writer.lost()
    members = cluster.ask("GET", "/v1/replicas").ok()["items"]
    assert [item["name"] for item in members] == cluster.names, "who was removed is gone"
    cluster.revive()
    cluster.wait("one state on all", lambda: (found := digests(cluster)) is not None and len(found) == 1)


def unmoved_by(cluster: Cluster, stranger: str, *, refusals: int) -> bool:
    """Whether one leader kept its term while the stranger was refused that many times.

    A busy machine may cost a leader its term at any time; a stranger that could would do it each time.
    """

    def knocks() -> int:
        others = (name for name in cluster.names if name != stranger)
        return sum(refused(cluster, name).get("non_members", 0) for name in others)

    before, first = led(cluster), knocks()
    cluster.wait("refusals", lambda: knocks() >= first + refusals)
    return before is not None and led(cluster) == before


def led(cluster: Cluster) -> tuple[str, int] | None:
    name = cluster.leader()
    return (name, cluster.on(name, "GET", "/v1/replica").body["term"]) if name else None


def refused(cluster: Cluster, name: str) -> Any:
    told = cluster.wait("its figures", lambda: cluster.on(name, "GET", "/v1/replica").body)
    return told["consensus"]["refused"]


def test_two_replicas_that_join_with_empty_folders_begin_no_cluster_of_their_own(cluster: Cluster) -> None:
    """Whoever loses two disks at once must not get an empty inventory that looks like the real one."""
    survivor, *lost = cluster.layout.replicas
    pki = cluster.directory / "pki"
    for plan in lost:
        cluster.processes.kill_replica(plan.name)
        shutil.rmtree(json.loads(plan.config.read_text())["data_dir"])
        (pki / f"{plan.name}.crt").unlink()
        (pki / f"{plan.name}.key").unlink()
    peers = make_certificates(pki, cluster.layout.replicas)
    for plan in lost:
        settings = json.loads(plan.config.read_text())
        plan.config.write_text(json.dumps({**settings, "peers": peers, "join": True}))
        hamgrd("init", "--config", str(plan.config))
        cluster.processes.start_replica(plan.name)
    for plan in lost:
        cluster.wait("its API", lambda name=plan.name: cluster.on(name, "GET", "/livez").status == 200)
    cluster.wait("knocking", lambda: refused(cluster, survivor.name).get("non_members", 0) >= 3)
    assert cluster.leader() == ""
    for plan in lost:
        assert cluster.on(plan.name, "GET", "/v1/globals").status == 503
        assert cluster.on(plan.name, "GET", "/v1/replica").body["term"] == 0
