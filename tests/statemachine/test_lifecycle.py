"""The table of the lifecycle: complete, without traps, and the same as the picture in README."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from statemachine import lifecycle
from statemachine.lifecycle import FORGETTABLE, IN_SERVICE, OPERATOR_TRIGGERS, TRANSITIONS, UNDERWAY, Trigger
from statemachine.words import Status

README = Path(__file__).parents[2] / "README.md"


def test_every_status_has_a_row() -> None:
    assert set(TRANSITIONS) == set(Status)


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_a_way_out_that_an_operator_can_take(status: Status) -> None:
    by_asking = OPERATOR_TRIGGERS & TRANSITIONS[status].keys()
    assert by_asking or status in FORGETTABLE or status in UNDERWAY  # underway: cancel the job


@pytest.mark.parametrize("status", list(Status))
def test_every_status_can_be_reached_from_new(status: Status) -> None:
    reached, frontier = {Status.NEW}, [Status.NEW]
    while frontier:
        found = set(TRANSITIONS[frontier.pop()].values()) - reached
        reached |= found
        frontier.extend(found)
    assert status in reached


def test_service_is_entered_only_by_proof_or_by_going_back_to_it() -> None:
    entering = {trigger for row in TRANSITIONS.values() for trigger, to in row.items() if to in IN_SERVICE}
    assert entering == {Trigger.VERIFIED, Trigger.REVERTED_COMMISSIONED, Trigger.REVERTED_UPGRADED}


@pytest.mark.parametrize("status", sorted(UNDERWAY))
def test_whatever_is_underway_can_get_stuck_and_nothing_else_can(status: Status) -> None:
    assert TRANSITIONS[status][Trigger.STUCK] is Status.QUARANTINED
    stuck = {status for status, row in TRANSITIONS.items() if Trigger.STUCK in row}
    assert stuck == UNDERWAY


def test_the_statuses_come_in_the_order_that_the_design_names() -> None:
    assert [str(status) for status in Status][:8] == [
        "new",
        "discovered",
        "commissioning",
        "commissioned",
        "upgrading",
        "upgraded",
        "decommissioning",
        "decommissioned",
    ]


def test_after_answers_none_where_the_table_has_no_cell() -> None:
    assert lifecycle.after(Status.NEW, Trigger.COMMISSION) is None
    assert lifecycle.after(Status.NEW, Trigger.SIGHTED) is Status.DISCOVERED


def test_the_picture_in_readme_is_drawn_from_the_table() -> None:
    block = re.search(
        r"<!-- lifecycle -->\n```mermaid\n(.*?)```\n<!-- /lifecycle -->", README.read_text("utf-8"), re.DOTALL
    )
    assert block, "README.md lacks the block between <!-- lifecycle --> and <!-- /lifecycle -->"
    assert block[1] == lifecycle.diagram(), (
        "the table has changed: put the output of `python -m statemachine.lifecycle` into README.md, "
        "between <!-- lifecycle --> and <!-- /lifecycle -->"
    )


def test_the_module_prints_the_picture() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "statemachine.lifecycle"],
        cwd=README.parent,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert shown.stdout == lifecycle.diagram()
