"""Lab tests are left out loudly where no lab can be made, and fail where that must not happen."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
CANNOT = "from tests.lab.kit import needs\nneeds.missing = lambda: 'need root'\n"
TESTS = """
import pytest

@pytest.fixture
def lab():
    raise AssertionError("a lab was made")

def test_elsewhere(): pass
def test_with_the_fixture(lab): pass
@pytest.mark.lab
def test_with_the_marker(): raise AssertionError("it ran")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(CHECKOUT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "cannot.py").write_text(CANNOT)
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = lab: needs hosts\naddopts = --strict-markers\n")
    return tmp_path


def run_pytest(project: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pytest", "-p", "cannot", "-p", "no:cacheprovider", "-q", *words]
    inherited = {key: value for key, value in os.environ.items() if key != "CI" and "PYTEST" not in key}
    path = os.pathsep.join([str(project), str(CHECKOUT)])
    return subprocess.run(
        argv,
        cwd=project,
        env={**inherited, "PYTHONPATH": path, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("words", [(), ("-n", "2")])
def test_lab_tests_are_deselected_with_a_loud_line_where_no_lab_can_be_made(
    project: Path, words: tuple[str, ...]
) -> None:
    done = run_pytest(project, *words)
    assert done.returncode == 0, done.stdout
    assert "2 lab tests not run: need root; run `sudo " in done.stdout
    assert "1 passed" in done.stdout


def test_lab_tests_fail_where_ci_cannot_make_a_lab(project: Path) -> None:
    done = run_pytest(project, CI="true")
    assert done.returncode == 1
    assert "1 passed, 2 errors" in done.stdout
    assert "need root" in done.stdout
    assert "it ran" not in done.stdout


def test_nothing_is_said_about_lab_tests_that_nobody_asked_for(project: Path) -> None:
    done = run_pytest(project, "-m", "not lab")
    assert done.returncode == 0
    assert "not run" not in done.stdout


def test_a_run_of_lab_tests_only_is_not_green_without_a_lab(project: Path) -> None:
    done = run_pytest(project, "-m", "lab")
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "2 lab tests not run" in done.stdout
