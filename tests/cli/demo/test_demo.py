"""The demo as a stranger runs it: everything is real, everything holds, nothing is left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TIMEOUT_S = 120.0


def demo(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "demo", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
    )


def processes_below(directory: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes()
        except OSError:
            continue
        if str(directory).encode() in text:
            found.append(text.replace(b"\0", b" ").decode(errors="replace"))
    return found


@pytest.mark.timeout(TIMEOUT_S)
def test_a_rollout_survives_its_leader_and_the_nodes_prove_it(tmp_path: Path) -> None:
    done = demo(tmp_path, "--ci")
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout)
    assert figures["ok"]
    assert figures["replicas_agree"]
    assert figures["new_leader"] not in ("", figures["killed"])
    assert figures["tasks_taken_over"] >= 1
    assert figures["evidence"]["repeated"] == figures["evidence"]["after_success"] == 0
    assert list(tmp_path.iterdir()) == []
    assert processes_below(tmp_path) == []


@pytest.mark.timeout(TIMEOUT_S)
def test_a_kept_demo_runs_on_and_is_stopped_by_its_folder(tmp_path: Path) -> None:
    done = demo(tmp_path, "--keep", "--nodes", "6")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(processes_below(tmp_path)) >= 3
    (directory,) = tmp_path.iterdir()
    assert f"hamgr demo --stop {directory}" in done.stdout
    stopped = demo(tmp_path, "--stop", str(directory))
    assert stopped.returncode == 0
    assert "stopped" in stopped.stdout


def test_stopping_what_is_no_demo_is_one_clear_error(tmp_path: Path) -> None:
    done = demo(tmp_path, "--stop", str(tmp_path))
    assert done.returncode == 3
    assert "is not the folder of a kept demo" in done.stderr
