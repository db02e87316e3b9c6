"""The bench of the links works, in small. No time is asserted."""

import json

import pytest

from tests.bench import __main__ as benches

pytestmark = pytest.mark.bench


def test_the_links_are_measured_by_command_beside_plain_tcp(capsys: pytest.CaptureFixture[str]) -> None:
    assert benches.main(["wire", "--rounds", "5", "--pieces", "20", "--sizes", "150", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    for side in ("tcp", "links"):
        assert len(figures[side]["round_trip_s"]["150"]) == 5
        assert figures[side]["mib_per_s"] > 0
