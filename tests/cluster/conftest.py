"""Clusters for the tests of this folder: on the lab's network, with real OpenSSH nodes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.bundle import write_bundle
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
