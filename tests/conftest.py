"""Lab tests run wherever a lab can be made, and are never left out silently.

1. A test that uses the `lab` fixture has the marker `lab`.
2. Where no lab can be made its tests are deselected, and the summary says so and why.
3. With CI in the environment they fail instead.

Two processes run the tests, each with a lab of its own (pytest-xdist; `-n 0` for one process).
"""

import os
import sys
from typing import Any

import pytest

from tests.lab.kit import needs

NOT_RUN = pytest.StashKey[int]()


def pytest_itemcollected(item: pytest.Item) -> None:
    if "lab" in getattr(item, "fixturenames", ()):
        item.add_marker("lab")


@pytest.hookimpl(trylast=True)  # after -m and -k: what nobody asked for is not missing
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    lab_items = [item for item in items if item.get_closest_marker("lab")]
    if not lab_items or os.environ.get("CI") or not needs.missing():
        return
    items[:] = [item for item in items if not item.get_closest_marker("lab")]
    config.hook.pytest_deselected(items=lab_items)
    config.stash[NOT_RUN] = len(lab_items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("lab") and (why := needs.missing()):
        pytest.fail(f"no lab can be made here ({why}), and with CI set a lab test must run", pytrace=False)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a pytest-xdist worker, whose summary nobody sees
        session.config.workeroutput["lab_not_run"] = session.config.stash.get(NOT_RUN, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a pytest-xdist worker did not run; all workers collect the same."""
    node.config.stash[NOT_RUN] = getattr(node, "workeroutput", {}).get("lab_not_run", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if count := config.stash.get(NOT_RUN, 0):
        run = f"sudo {sys.executable} -m pytest -m lab"
        terminalreporter.write_line(
            f"{count} lab tests not run: {needs.missing()}; run `{run}`", red=True, bold=True
        )
