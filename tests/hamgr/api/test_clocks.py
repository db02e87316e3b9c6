"""What status says of replicas whose clocks differ."""

from pathlib import Path

import pytest

from hamgr.api import clocks
from tests.hamgr.api import rig
from tests.hamgr.api.rig import Cluster

NOW = 1_700_000_000.0


def said(**ahead_s: float) -> str:
    told = {name: {"clock": NOW + seconds} for name, seconds in ahead_s.items()}
    found = clocks.warnings(clocks.ahead_s(told, asked_at=NOW, answered_at=NOW))
    assert {one["code"] for one in found} <= {"clocks-differ"}
    return "".join(one["message"] for one in found)


@pytest.mark.parametrize(
    ("ahead_s", "says"),
    [
        ({"r1": 0.0, "r2": 2.0, "r3": -2.0}, ""),
        ({"r1": 0.0, "r2": 3600.0, "r3": 0.1}, "r2's clock is +3600 s from most"),
        ({"r1": 0.0, "r2": 3600.0, "r3": 3600.0}, "r1's clock is -3600 s from most"),
        ({"r1": 0.0, "r2": -60.0}, "the clocks of r1 and r2 are 60 s apart"),
        ({"r1": 0.0}, ""),
        ({}, ""),
    ],
)
def test_the_replica_whose_clock_is_not_that_of_most_is_named(ahead_s: dict[str, float], says: str) -> None:
    assert said(**ahead_s) == says


def test_a_slow_answer_is_not_taken_for_a_clock_that_differs() -> None:
    told = {"r1": {"clock": NOW}, "r2": {"clock": NOW + 30}, "r3": {}, "r4": None}
    assert clocks.ahead_s(told, asked_at=NOW, answered_at=NOW + 30) == {"r1": 0.0, "r2": 0.0}
    assert clocks.ahead_s(told, asked_at=NOW + 1, answered_at=NOW + 10) == {"r1": -1.0, "r2": 20.0}


async def test_status_has_the_clocks_of_all_replicas_and_warns(tmp_path: Path, cluster: Cluster) -> None:
    async with rig.serving(tmp_path, cluster, "r1") as r1, rig.serving(tmp_path, cluster, "r2") as r2:
        rig.link(r1, r2)
        r1.clock.ahead_s = 7_200.0
        _, told, _ = await r2.call("GET", "/v1/status")
        ahead = {one["name"]: one["clock_ahead_s"] for one in told["replicas"]}
        assert ahead["r2"] == 0.0
        assert 7_190 < ahead["r1"] <= 7_200
        (warning,) = [one for one in told["warnings"] if one["code"] == "clocks-differ"]
        assert "apart" in warning["message"]
