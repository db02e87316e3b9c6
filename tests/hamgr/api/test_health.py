"""May this replica be asked, how old is what it says, and what does it know of itself?"""

from pathlib import Path
from typing import Any

import pytest

from hamgr import api
from hamgr.raft.figures import PeerFigures, SnapshotFigures, Stalls
from tests.hamgr.api import rig
from tests.hamgr.api.rig import Cluster, Server

ANYBODY = {"Authorization": ""}
STALE = "?consistency=stale"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"diverged": True}, "differs from the others'"),
        ({"renounced": True}, "takes no part"),
        ({"snapshot": SnapshotFigures(receiving=True)}, "receiving a snapshot"),
    ],
)
async def test_a_replica_that_cannot_serve_is_not_ready_and_says_why(
    server: Server, more: dict[str, Any], says: str
) -> None:
    assert (await server.call("GET", "/readyz", headers=ANYBODY))[0] == 200
    server.replica.more = more
    status, problem, headers = await server.call("GET", "/readyz", headers=ANYBODY)
    assert (status, problem["code"], problem["retryable"]) == (503, "not-ready", True)
    assert says in problem["detail"]
    assert "Retry-After" in headers
    assert (await server.call("GET", "/livez", headers=ANYBODY))[0] == 200


async def test_a_replica_that_has_not_caught_up_yet_is_not_ready(server: Server) -> None:
    server.replica.staleness_s, server.replica.more = None, {"applied_index": 7}
    status, problem, _ = await server.call("GET", "/readyz", headers=ANYBODY)
    assert (status, problem["code"]) == (503, "not-ready")
    assert "not caught up" in problem["detail"]
    server.replica.cluster.leader = ""
    status, problem, _ = await server.call("GET", "/readyz", headers=ANYBODY)
    assert (status, problem["code"]) == (503, "no-leader")


@pytest.mark.parametrize(("age_s", "ready"), [(0.0, True), (4.9, True), (5.1, False)])
async def test_a_replica_that_is_too_far_behind_is_not_ready(
    tmp_path: Path, cluster: Cluster, age_s: float, ready: bool
) -> None:
    limits = api.Limits(ready_staleness_s_max=5.0)
    async with rig.serving(tmp_path, cluster, "r1", limits) as server:
        server.replica.staleness_s = age_s
        status, told, _ = await server.call("GET", "/readyz", headers=ANYBODY)
        assert status == (200 if ready else 503)
        assert ready or "5 s behind; more than 5 s" in told["detail"]


async def test_readiness_names_no_other_replica_to_those_without_a_token(server: Server) -> None:
    server.replica.more = {
        "diverged": True,
        "warning": "ask r2 about the disk",
        "peers": {"r2": PeerFigures(connected=True)},
    }
    _, problem, headers = await server.call("GET", "/readyz", headers=ANYBODY)
    assert "r2" not in f"{problem} {dict(headers)}"


async def test_a_replica_tells_what_it_knows_of_the_consensus(server: Server) -> None:
    server.replica.staleness_s = 0.25
    server.replica.more = {
        "last_index": 15,
        "commit_index": 14,
        "applied_index": 13,
        "peers": {"r2": PeerFigures(connected=True, lag_entries=7)},
        "stalls": Stalls(count=2),
        "refused": {"foreign": 3},
        "warning": "upgrade this replica",
    }
    status, told, _ = await server.call("GET", "/v1/replica")
    consensus = told["consensus"]
    assert status == 200
    assert (told["term"], told["leads"]) == (1, True)
    assert [consensus[key] for key in ("last_index", "commit_index", "applied_index")] == [15, 14, 13]
    assert consensus["staleness_s"] == 0.25
    assert consensus["peers"] == {"r2": {"connected": True, "round_trip_s": None, "lag_entries": 7}}
    assert (consensus["stalls"], consensus["refused"]) == (2, {"foreign": 3})
    assert consensus["warning"] == "upgrade this replica"
    assert consensus["first_index"] is None


async def test_what_is_asked_stale_says_how_old_it_may_be(server: Server) -> None:
    server.replica.staleness_s = 12.3456
    rig.discovered(server.replica.cluster, "a")
    for path in ("/v1/nodes", "/v1/nodes/a", "/v1/jobs", "/v1/globals", "/v1/status"):
        status, _, headers = await server.call("GET", path + STALE)
        assert (status, headers["X-Hamgr-Age"]) == (200, "12.346"), path
        assert headers["X-Hamgr-Index"] == str(server.state.index)
    assert (await server.call("GET", "/v1/status" + STALE))[1]["age_s"] == 12.3456


async def test_an_age_that_nobody_knows_is_called_unknown(server: Server) -> None:
    server.replica.staleness_s = None
    _, _, headers = await server.call("GET", "/v1/nodes" + STALE)
    assert headers["X-Hamgr-Age"] == "unknown"
    status, told, _ = await server.call("GET", "/v1/status" + STALE)
    assert (status, told["age_s"], told["consistency"]) == (200, None, "stale")


async def test_an_answer_that_was_confirmed_has_no_age(server: Server) -> None:
    server.replica.staleness_s = 12.0
    _, _, headers = await server.call("GET", "/v1/nodes")
    assert headers["X-Hamgr-Consistency"] == "linearizable"
    assert "X-Hamgr-Age" not in headers
    _, told, _ = await server.call("GET", "/v1/status")
    assert (told["age_s"], told["consistency"]) == (0.0, "linearizable")


async def test_the_age_is_never_younger_than_the_state_beside_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine applies in a thread of its own: between two looks, the state may be replaced."""
    looked: list[str] = []
    kind = type(server.replica)
    state = property(lambda self: looked.append("state") or self.cluster.state)
    age = property(lambda _self: looked.append("age") or 1.0, lambda _self, _value: None)
    monkeypatch.setattr(kind, "state", state)
    monkeypatch.setattr(kind, "staleness_s", age, raising=False)
    await server.call("GET", "/v1/nodes" + STALE)
    assert looked[:2] == ["age", "state"]


async def test_status_repeats_the_warning_of_every_replica(tmp_path: Path, cluster: Cluster) -> None:
    async with (
        rig.serving(tmp_path, cluster, "r1") as r1,
        rig.serving(tmp_path, cluster, "r2") as r2,
        rig.serving(tmp_path, cluster, "r3") as r3,
    ):
        rig.link(r1, r2, r3)
        _, before, _ = await r1.call("GET", "/v1/status")
        assert "replica-warning" not in [warning["code"] for warning in before["warnings"]]
        r1.replica.more = {"warning": "its certificate expires tomorrow"}
        r3.replica.more = {"warning": "it met a command of a later version; upgrade it"}
        for asked in (r1, r2, r3):
            _, told, _ = await asked.call("GET", "/v1/status")
            messages = [w["message"] for w in told["warnings"] if w["code"] == "replica-warning"]
            assert messages == [
                "r1: its certificate expires tomorrow",
                "r3: it met a command of a later version; upgrade it",
            ]


async def test_a_replica_of_an_earlier_version_says_nothing_and_breaks_nothing(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answers(_app: object, _path: str) -> dict[str, Any]:
        return {"r2": {"term": 1, "applied_index": 0}, "r3": None, "r4": {"consensus": "?"}}

    async with rig.serving(tmp_path, cluster, "r1") as r1:
        monkeypatch.setattr("hamgr.api.peers.ask_all", answers)
        status, told, _ = await r1.call("GET", "/v1/status")
        assert status == 200
        assert "replica-warning" not in [warning["code"] for warning in told["warnings"]]
