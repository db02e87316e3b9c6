"""What clients are told while replicas are killed, frozen and cut off can be explained by one order.

Short histories, with seeds that stay; `python -m tests.histories` records as many others as there is time.
"""

from pathlib import Path

import pytest

from tests.histories.run import record
from tests.histories.schedule import CUTS, Kind

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

SECONDS = 20.0
HISTORIES = {
    "killed and frozen": (2, (Kind.KILL, Kind.FREEZE)),
    "while votes come and go": (113, (Kind.DEMOTE, Kind.FREEZE)),
    "cut off": (55, CUTS),
    "everything": (9, tuple(Kind)),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_a_history_under_misfortunes_is_linearizable_and_nothing_acknowledged_is_lost(
    name: str, tmp_path: Path
) -> None:
    seed, faults = HISTORIES[name]
    report = record(seed, seconds=SECONDS, faults=faults, directory=tmp_path)
    print(report)
    assert report.is_well, str(report)
    counts = report.counts
    churn = faults[0] is Kind.DEMOTE
    assert not churn or any("has no vote" in line for line in report.done), f"nobody lost a vote: {report}"
    assert report.terms >= 2, f"nobody lost the lead, so nothing was tried: {report}"
    for what, at_least in {"write done": 50, "swap done": 30, "swap differed": 1, "stale read": 20}.items():
        assert counts[what] >= at_least, f"too few for a history: {what}: {report}"


def test_clocks_that_are_set_by_hours_and_years_cost_neither_a_leader_nor_an_answer(tmp_path: Path) -> None:
    report = record(2, seconds=10.0, faults=(Kind.CLOCK,), directory=tmp_path)
    assert report.is_well, str(report)
    assert report.terms == 0, f"a clock that was set cost the lead: {report}"
    assert len(report.plan) >= 3, "hardly a clock was set"
    assert report.counts["write done"] >= 50, f"too few for a history: {report}"
