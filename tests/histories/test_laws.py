"""The laws about places in the log, on small histories; the clients' tests have them in large ones."""

from dataclasses import replace

import pytest

from tests.histories.examples import read, swap, write
from tests.histories.laws import complaints
from tests.histories.operations import ABSENT, History, Operation, StaleRead, lines, moved, parsed


def written(value: str, index: int, start: int, end: int, key: str = "x") -> Operation:
    return replace(write(value, start, end, key=key), index=index)


def seen(value: str | None, index: int, at: int, start: int, end: int, key: str = "x") -> Operation:
    return replace(read(value, start, end, key=key), index=index, seen_index=at)


def stale(value: str | None, index: int | None, at: int | None, *, age_s: float | None = None) -> StaleRead:
    return StaleRead(
        key="x",
        value=value,
        index=index,
        seen_index=at,
        start_ns=10_000_000_000,
        end_ns=10_000_000_001,
        label="stale",
        age_s=age_s,
        replica="r1",
    )


def history(*operations: Operation, stale_reads: tuple[StaleRead, ...] = ()) -> History:
    return History(made={"x": 1, "y": 2}, operations=list(operations), stale=list(stale_reads), surprises=[])


GOOD = history(
    written("a", 3, 0, 10),
    seen("a", 3, 3, 5, 6),
    written("b", 4, 20, 30, key="y"),
    seen("a", 3, 4, 40, 50),
    seen(None, 2, 3, 5, 6, key="y"),
    stale_reads=(
        stale("a", 3, 4, age_s=0.1),
        stale("a", 3, 3, age_s=20.0),
        stale("a", 3, 3),
        stale(ABSENT, None, 0),
    ),
)
BAD = {
    "one value at two places": ("one place", history(written("a", 3, 0, 10), seen("a", 4, 9, 5, 6))),
    "two values at one place": (
        "one place",
        history(written("a", 3, 0, 10), written("b", 3, 0, 10, key="y")),
    ),
    "a place before that of an earlier answer": (
        "real time",
        history(written("a", 4, 0, 1), written("b", 3, 2, 3, key="y")),
    ),
    "a read of a state older than an earlier answer's": (
        "real time",
        history(written("a", 4, 0, 1, key="y"), seen(None, 1, 3, 2, 3)),
    ),
    "a read older than an earlier read, of another register": (
        "real time",
        history(seen(None, 1, 9, 0, 1), seen(None, 2, 8, 2, 3, key="y")),
    ),
    "an old value in a new state": (
        "nothing newer",
        history(written("a", 3, 0, 9), written("b", 4, 0, 9), seen("a", 3, 4, 2, 3)),
    ),
    "a value from after the state": ("nothing newer", history(seen("a", 5, 4, 0, 1))),
    "an old value in a stale state that is newer": (
        "nothing newer",
        history(written("a", 3, 0, 1), stale_reads=(stale(None, 1, 5),)),
    ),
    "a register that is gone": (
        "nothing newer",
        history(stale_reads=(stale(ABSENT, None, 5),)),
    ),
    "a stale read with another label": (
        "labelled",
        history(stale_reads=(replace(stale(None, 1, 1), label="linearizable"),)),
    ),
    "a stale read without an index": ("labelled", history(stale_reads=(stale(None, 1, None),))),
    "a stale read older than it says": (
        "labelled",
        history(written("a", 3, 0, 1, key="y"), stale_reads=(stale(None, 1, 1, age_s=5.0),)),
    ),
}


def test_answers_of_one_log_break_no_law() -> None:
    assert complaints(GOOD) == []


@pytest.mark.parametrize("name", BAD)
def test_answers_that_no_log_gives_break_the_law_about_them(name: str) -> None:
    law, broken = BAD[name]
    assert {sentence.partition(":")[0] for sentence in complaints(broken)} == {law}


def test_an_unexpected_answer_is_a_complaint() -> None:
    assert complaints(replace(GOOD, surprises=["500 internal"])) == ["surprise: 500 internal"]


def test_a_history_can_be_written_and_read_again() -> None:
    whole = replace(GOOD, operations=[*GOOD.operations, swap("a", "ü\n", 60, 70)], surprises=["500 internal"])
    assert parsed(lines(whole)) == whole
    with pytest.raises(ValueError, match="line 2: this is no line of a history"):
        parsed([next(lines(GOOD)), '{"operation": {"kind": "guess"}}'])


def test_times_can_be_counted_from_the_begin() -> None:
    later = moved(GOOD, -1_000)
    assert [one.start_ns for one in later.operations] == [one.start_ns + 1_000 for one in GOOD.operations]
    assert moved(later, 1_000) == GOOD
