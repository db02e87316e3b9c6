"""The cluster at a glance."""

from pathlib import Path

import pytest

from hamgr.api.cluster import quorum
from hamgr.raft.port import Peer
from statemachine.codec import state_digest
from tests.hamgr.api import rig
from tests.hamgr.api.rig import Cluster, Server


@pytest.mark.parametrize(
    ("connected", "total", "survives", "says"),
    [
        (3, 3, 1, "any 1 more replica "),
        (2, 3, 0, "no further"),
        (1, 3, 0, "nothing can be changed"),
        (5, 5, 2, "any 2"),
    ],
)
def test_the_losses_that_are_survived_follow_from_the_quorum(
    connected: int, total: int, survives: int, says: str
) -> None:
    found = quorum(connected, total)
    assert found["survives"] == survives
    assert says in found["sentence"]


async def test_status_names_all_replicas_with_equal_digests(tmp_path: Path, cluster: Cluster) -> None:
    async with rig.serving(tmp_path, cluster, "r1") as r1, rig.serving(tmp_path, cluster, "r2") as r2:
        rig.link(r1, r2)
        rig.discovered(cluster, "a")
        status, told, headers = await r2.call("GET", "/v1/status?digest=1")
        assert status == 200
        assert [(r["name"], r["leader"], r["self"]) for r in told["replicas"]] == [
            ("r1", True, False),
            ("r2", False, True),
        ]
        assert {r["digest"] for r in told["replicas"]} == {state_digest(cluster.state)}
        assert {r["applied_index"] for r in told["replicas"]} == {cluster.state.index}
        assert told["nodes"]["status"] == {"discovered": 1}
        assert told["jobs"]["last"]["kind"] == "discover"
        assert (headers["X-Hamgr-Leader"], headers["X-Hamgr-Peers"]) == ("r1", r1.url)


async def test_a_dead_replica_is_a_warning_and_lowers_what_is_survived(server: Server) -> None:
    server.replica.peers = (
        Peer(name="r2", api="http://127.0.0.1:1", connected=False),
        Peer(name="r3", api="http://127.0.0.1:1", connected=True),
    )
    _, told, _ = await server.call("GET", "/v1/status")
    assert told["quorum"]["survives"] == 0
    assert told["replicas"][1]["applied_index"] is None
    assert {"replica-unreachable", "no-bundle"} <= {warning["code"] for warning in told["warnings"]}
