"""GET /v1/neighbours: what a replica hears by multicast DNS, and replicas that cannot listen."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hamgr.discovery import mdns
from hamgr.discovery.mdns import CannotBrowse, Neighbour
from tests.hamgr.api.rig import Cluster, Server, serving


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path, Cluster()) as server:
        yield server


async def test_neighbours_are_told_and_nothing_is_recorded(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    async def browse(seconds: float) -> list[Neighbour]:
        asked.append(seconds)
        return [Neighbour(name="web-1", address="10.0.0.7", port=2222)]

    monkeypatch.setattr(mdns, "browse", browse)
    before = server.state
    status, told, _ = await server.call("GET", "/v1/neighbours?seconds=2")
    assert (status, told["items"]) == (200, [{"name": "web-1", "address": "10.0.0.7", "port": 2222}])
    assert asked == [2]
    assert server.state is before


async def test_a_replica_without_the_extra_says_what_to_install(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "hamgr.discovery.mdns")
    monkeypatch.delattr("hamgr.discovery.mdns", raising=False)
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    status, told, _ = await server.call("GET", "/v1/neighbours")
    assert status == 404
    assert "zeroconf is not installed" in told["detail"]
    assert "hamgr[mdns]" in told["hint"]


async def test_a_replica_without_a_network_says_so(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def browse(seconds: float) -> list[Neighbour]:
        raise CannotBrowse("multicast DNS cannot be used here: Network is unreachable")

    monkeypatch.setattr(mdns, "browse", browse)
    status, told, _ = await server.call("GET", "/v1/neighbours")
    assert (status, told["type"].rpartition("/")[2]) == (404, "no-mdns")
    assert "Network is unreachable" in told["detail"]


@pytest.mark.parametrize("seconds", ["0", "31", "x", "-1"])
async def test_nobody_listens_for_longer_than_is_good(server: Server, seconds: str) -> None:
    status, _, _ = await server.call("GET", f"/v1/neighbours?seconds={seconds}")
    assert status == 400
