"""A cluster of one replica behind a real HTTP server, for every test that asks for `server`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.hamgr.api import rig


@pytest.fixture
def cluster() -> rig.Cluster:
    return rig.Cluster()


@pytest.fixture
async def server(tmp_path: Path, cluster: rig.Cluster) -> AsyncIterator[rig.Server]:
    async with rig.serving(tmp_path, cluster) as running:
        yield running


@pytest.fixture
async def bundled(server: rig.Server) -> rig.Server:
    """A server whose cluster has a bundle and three discovered nodes, w1 to w3."""
    rig.discovered(server.replica.cluster, "w1", "w2", "w3")
    async with server.session.post(f"{server.url}/v1/bundles", data=rig.archive()) as answer:
        assert answer.status == 201, await answer.text()
    return server
