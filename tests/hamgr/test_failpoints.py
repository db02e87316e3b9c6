"""Failpoints: they harm nobody unasked, and stop exactly one process when asked."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from hamgr import failpoints

REACH = """
import sys
from pathlib import Path
from hamgr import failpoints
failpoints.armed_in(Path(sys.argv[1]))("claimed", "j-1/web-01/")
print("went on")
"""


def reach(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", REACH, str(directory)], capture_output=True, text=True, check=False
    )


def test_without_the_variable_nothing_is_looked_for() -> None:
    assert failpoints.from_environment({}) is failpoints.none
    failpoints.none("claimed", "j-1/web-01/")


def test_an_armed_boundary_kills_the_first_process_that_reaches_it_and_no_other(tmp_path: Path) -> None:
    armed = tmp_path / "claimed.kill"
    armed.write_text("/web-01/")
    assert reach(tmp_path).returncode == -signal.SIGKILL
    assert not armed.exists()
    assert reach(tmp_path).stdout == "went on\n"


def test_another_boundary_or_subject_goes_on(tmp_path: Path) -> None:
    (tmp_path / "fenced.kill").write_text("")
    (tmp_path / "claimed.kill").write_text("/web-02/")
    assert reach(tmp_path).stdout == "went on\n"
    assert sorted(os.listdir(tmp_path)) == ["claimed.kill", "fenced.kill"]
