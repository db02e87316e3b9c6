"""The bench of the journal works, in small. No time is asserted."""

import json
from pathlib import Path

import pytest

from tests.bench import __main__ as benches

pytestmark = pytest.mark.bench


def test_the_journal_is_measured_by_command_and_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["journal", "--folder", str(tmp_path), "--entries-max", "100", "--rounds", "2"]
    assert benches.main([*words, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["sync_s"] > 0
    assert list(figures["cases"]) == ["100 usual entries"]
    assert all(value > 0 for value in figures["cases"]["100 usual entries"].values())
    assert benches.main(words) == 0
    assert "100 usual entries" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
