"""The bench of frames works: a tiny run of every side. No time is asserted."""

import json

import pytest

from tests.bench import frames

pytestmark = pytest.mark.bench


def test_every_side_answers_what_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert frames.main(["--json", "--rounds", "1", "--seconds", "0.2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == set(frames.SIDES)
    assert all(one["per_s"] > 0 and one["server_us"] >= 0 for one in found.values())
