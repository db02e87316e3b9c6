"""The demo's proof can fail: each way in which the nodes could contradict the promise is seen."""

from pathlib import Path
from typing import Any

import pytest

from cli.demo.evidence import EFFECTS, LAUNCHES, gather

JOB = "abcd1234-j-2"
GOOD_LAUNCHES = [
    f"1 {JOB} work.00.web.page 1",
    f"1 {JOB} work.01.web.note 1",
    f"2 {JOB} verify.00.web.page 1",
]
GOOD_EFFECTS = [f"{JOB} work.01.web.note 1"]


def job(**changes: Any) -> dict[str, Any]:
    results = [
        {"step": step, "attempt": 1, "passed": True}
        for step in ("work.00.web.page", "work.01.web.note", "verify.00.web.page")
    ]
    return {"id": "j-2", "tasks": [{"node": "web-01", "results": results, **changes}]}


def evidence(tmp_path: Path, launches: list[str], effects: list[str]) -> Any:
    for path, lines in ((LAUNCHES, launches), (EFFECTS, effects)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("".join(f"{line}\n" for line in lines))
    return gather({"web-01": tmp_path}, [job()])


def test_what_was_promised_is_clean(tmp_path: Path) -> None:
    found = evidence(tmp_path, GOOD_LAUNCHES, GOOD_EFFECTS)
    assert found.clean
    assert (found.launches, found.effects) == (3, 1)


@pytest.mark.parametrize(
    ("launches", "effects", "what"),
    [
        ([*GOOD_LAUNCHES, f"2 {JOB} work.00.web.page 1"], GOOD_EFFECTS, "repeated"),
        ([*GOOD_LAUNCHES, f"2 {JOB} work.00.web.page 2"], GOOD_EFFECTS, "after_success"),
        ([*GOOD_LAUNCHES, f"1 {JOB} verify.01.web.more 1"], GOOD_EFFECTS, "out_of_order"),
        (GOOD_LAUNCHES[:2], GOOD_EFFECTS, "unrecorded"),
        (GOOD_LAUNCHES, [*GOOD_EFFECTS, f"{JOB} work.01.web.note 2"], "effects_repeated"),
    ],
)
def test_each_broken_promise_is_seen(
    tmp_path: Path, launches: list[str], effects: list[str], what: str
) -> None:
    found = evidence(tmp_path, launches, effects)
    assert getattr(found, what) == 1
    assert not found.clean


def test_nodes_without_records_prove_nothing(tmp_path: Path) -> None:
    assert not gather({"web-01": tmp_path}, []).clean
