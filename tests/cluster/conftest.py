"""Clusters for the tests of this folder: on the lab's network, with real OpenSSH nodes.

1. `fleet` is a cluster of the test's own.
2. `shared` is one for all tests that ask for it, with nodes as good as new; `with_clock` is the same one,
   whose clock may be put ahead.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.bundle import RESTS, write_bundle
from tests.cluster.harness import Cluster
from tests.lab.conftest import lab, lab_session, on_lab_network
from tests.lab.kit import Lab

__all__ = ["lab", "lab_session", "on_lab_network"]

NODES = ("n1", "n2", "n3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A cluster whose nodes are hosts of the lab, discovered, with two bundles at hand."""

    cluster: Cluster
    lab: Lab
    first: str
    second: str

    def effects(self, node: str) -> list[str]:
        """Return the lines that the steps left on a node: `JOB STEP ATTEMPT`, one for each real run."""
        return self.lab.run(node, "sh", "-c", "cat /var/log/effects 2>/dev/null || true").stdout.splitlines()

    def launches(self, node: str) -> list[str]:
        """Return the runner's own evidence: `EPOCH JOB STEP ATTEMPT`, one line for each launch."""
        return self.lab.run(
            node, "sh", "-c", "cat /var/lib/hamgr/launches 2>/dev/null || true"
        ).stdout.splitlines()


@pytest.fixture
def fleet(on_lab_network: Lab, tmp_path: Path) -> Iterator[Fleet]:
    """Three replicas in the hub, and three hosts that have been discovered and know nothing of the past."""
    lab = on_lab_network
    for node in NODES:
        lab.run(node, "sh", "-c", "rm -rf /var/lib/hamgr /var/log/effects /etc/app.conf")
    cluster = Cluster(tmp_path / "cluster", ssh_key=Path(lab.ssh_key))
    try:
        cluster.start()
        first = cluster.push(write_bundle(tmp_path / "one", version="1.0"))
        second = cluster.push(write_bundle(tmp_path / "two", version="2.0"))
        job = cluster.submit("discover", addresses=[lab.address(node) for node in NODES])
        assert cluster.ended(job)["state"] == "succeeded", cluster.job(job)
        yield Fleet(cluster=cluster, lab=lab, first=first, second=second)
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def standing(lab_session: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three replicas for a whole session, which soon believe that a node is silent."""
    directory = tmp_path_factory.mktemp("shared")
    cluster = Cluster(
        directory / "cluster",
        ssh_key=Path(lab_session.ssh_key),
        unreachable_deadline_s=4.0,
        movable_clock=True,
    )
    try:
        with lab_session.in_hub():
            cluster.start()
            first = cluster.push(write_bundle(directory / "one", version="1.0", more=RESTS))
            second = cluster.push(write_bundle(directory / "two", version="2.0", more=RESTS))
        yield Fleet(cluster=cluster, lab=lab_session, first=first, second=second)
    finally:
        cluster.stop()


@pytest.fixture
def shared(standing: Fleet, on_lab_network: Lab) -> Iterator[Fleet]:
    """The session's cluster, and three hosts that were just discovered and know nothing of the past."""
    cluster = standing.cluster
    cluster.revive()
    _forget_all(cluster)  # after a test that did not come to its end
    for name in NODES:
        on_lab_network.run(
            name, "sh", "-c", "rm -rf /var/lib/hamgr /var/log/effects /etc/app.conf", check=True
        )
    addresses = [on_lab_network.address(node) for node in NODES]
    job = cluster.submit("discover", addresses=addresses, readmit=True)
    assert cluster.ended(job)["state"] == "succeeded", cluster.job(job)
    yield standing
    cluster.wake()
    _forget_all(cluster)  # other tests use the hosts next


@pytest.fixture
def with_clock(shared: Fleet) -> Iterator[Fleet]:
    """The session's cluster, which has the true time again afterwards."""
    yield shared
    shared.cluster.set_clock(ahead_s=0)


def _forget_all(cluster: Cluster) -> None:
    for schedule in cluster.ask("GET", "/v1/schedules").ok()["items"]:
        cluster.ask("DELETE", f"/v1/schedules/{schedule['name']}").ok()
    for job in cluster.ask("GET", "/v1/jobs?state=running").ok()["items"]:
        cluster.ask("POST", f"/v1/jobs/{job['id']}:cancel", {})
        cluster.ended(job["id"])
    nodes = cluster.ask("GET", "/v1/nodes").ok()["items"]
    for node in sorted(nodes, key=lambda node: node["role"], reverse=True):  # workers lean on the others
        cluster.ask("DELETE", f"/v1/nodes/{node['name']}?force=true").ok()
