"""Presence over HTTP: probes for another replica, what a node's page says, and whom the status warns of."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import pytest

from hamgr import api
from hamgr.presence.prober import Prober
from hamgr.presence.vantages import Answers, ReplicaVantages
from statemachine.commands import SetMaintenance
from statemachine.presence_commands import PresenceChange, ReportPresences
from statemachine.words import NodeName, Presence
from tests.hamgr.api import fakes, rig
from tests.hamgr.api.rig import NOW, TOKEN, Cluster, LocalReplica, Server, rid, serving
from tests.statemachine.fleet import Fleet, component, manifest

N1, N2 = NodeName("n1"), NodeName("n2")


class Probes:
    """A replica's view of the nodes: it knows n1 and n2, and n2 is silent."""

    def __init__(self) -> None:
        self.asked: list[NodeName] = []

    async def probe(self, nodes: Sequence[NodeName]) -> Answers:
        self.asked += nodes
        known = [name for name in nodes if name in (N1, N2)]
        return known, {name: "no connection" for name in known if name == N2}


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[tuple[str, Probes]]:
    """The API of another replica, with probes."""
    probes = Probes()
    replica = LocalReplica(Cluster(), "r2")
    blobs = rig.BlobStore(tmp_path / "r2")
    app = api.build_app(rig.context(replica, blobs, fakes.FakeLogs(), api.Limits(), presence=probes))
    async with api.serving(app, "127.0.0.1:0") as url:
        yield url, probes


def vantages(url: str) -> ReplicaVantages:
    replica = LocalReplica(Cluster(), "r1")
    replica.peers = (rig.Peer(name="r2", api=url, connected=True),)
    return ReplicaVantages(
        replica=replica, prober=Prober(timeout_s=0.2, at_once=4, per_s_max=1_000), token=TOKEN
    )


async def test_another_replica_probes_for_us_what_it_knows(there: tuple[str, Probes]) -> None:
    url, probes = there
    ours = vantages(url)
    vantage = ours.of("r2")
    assert vantage is not None
    assert await vantage.probe([N1, N2, NodeName("ghost")]) == ([N1, N2], {N2: "no connection"})
    assert probes.asked == [N1, N2, "ghost"]
    await ours.close()


async def test_a_replica_that_gives_no_word_is_no_witness(server: Server) -> None:
    ours = vantages(server.url)  # it probes no nodes, as an older version does
    vantage = ours.of("r2")
    assert vantage is not None
    assert await vantage.probe([N1]) is None
    assert ours.of("r9") is None
    await ours.close()
    gone = vantages("http://127.0.0.1:9")
    vantage = gone.of("r2")
    assert vantage is not None
    assert await vantage.probe([N1]) is None
    await gone.close()


async def test_nobody_without_a_token_has_anything_probed(there: tuple[str, Probes]) -> None:
    url, probes = there
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/presence:probe", json={"nodes": ["n1"]}) as answer,
    ):
        assert answer.status == 401
    assert probes.asked == []


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path, Cluster()) as server:
        yield server


async def test_a_node_says_since_when_it_is_gone_and_the_status_warns_unless_it_is_in_maintenance(
    server: Server,
) -> None:
    cluster = server.replica.cluster
    fleet = Fleet()
    fleet.at = NOW
    fleet.bundle(1, manifest(component("app")))
    fleet.in_service(N1, N2)
    cluster.state = fleet.state
    changes = tuple(
        PresenceChange(node=name, was=Presence.REACHABLE, presence=Presence.UNREACHABLE, reason="silent")
        for name in (N1, N2)
    )
    cluster.apply(SetMaintenance(request_id=rid(), at=NOW, actor="ann", node=N2, on=True, reason="new disk"))
    cluster.apply(ReportPresences(request_id=rid(), at=NOW, actor="r1", changes=changes))
    _, node, _ = await server.call("GET", "/v1/nodes/n1")
    assert (node["presence"], node["presence_reason"], node["presence_since"]) == (
        "unreachable",
        "silent",
        NOW,
    )
    _, status, _ = await server.call("GET", "/v1/status")
    (told,) = [one["message"] for one in status["warnings"] if one["code"] == "node-unreachable"]
    assert told == "1 unreachable: n1"
