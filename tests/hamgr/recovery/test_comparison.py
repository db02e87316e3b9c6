"""Whose log is chosen, and what is said about the rest: by hand, and for thousands of random histories."""

import random

import pytest

from hamgr.recovery.comparison import Comparison, Span, compare
from hamgr.recovery.survivor import CannotRecover, Survivor
from tests.hamgr.recovery.histories import History, survivor

SEEDS = 6_000
BY_HAND = {
    "one is left": ([(1, [1, 1, 1], 2)], "r1", 2, [(3, 3, "r1")], []),
    "the longer log of one term": (
        [(1, [1, 1], 2), (2, [1, 1, 1, 1], 2)], "r2", 2, [(3, 4, "r2")], [],
    ),
    "entries on both and on one": (
        [(1, [1, 1, 1], 1), (2, [1, 1, 1, 1], 1)], "r2", 1, [(2, 3, "r2+r1"), (4, 4, "r2")], [],
    ),
    "the later term beats the longer log": (
        [(1, [1, 1, 1, 1, 1], 1), (2, [1, 1, 3], 1)], "r2", 1, [(2, 2, "r2+r1"), (3, 3, "r2")],
        [("r1", 3, 5, False)],
    ),
    "what is committed for sure beats the later term": (
        [(1, [1, 1, 1], 3), (2, [1, 1, 2], 1)], "r1", 3, [], [("r2", 3, 3, True)],
    ),
    "what was left behind is shorter than what is sure": (
        [(1, [1, 1, 4, 4, 4], 4), (2, [1, 1, 2, 2], 2)], "r1", 4, [(5, 5, "r1")], [("r2", 3, 4, True)],
    ),
    "nothing at all": ([(1, [], 0), (2, [], 0)], "r1", 0, [], []),
    "equal logs": ([(2, [1, 2], 1), (1, [1, 2], 1)], "r1", 1, [(2, 2, "r1+r2")], []),
}  # fmt: skip


def branches(found: Comparison) -> list[tuple[str, int, int, bool]]:
    return [(one.survivor, one.first, one.last, one.never_committed) for one in found.branches]


@pytest.mark.parametrize("case", BY_HAND)
@pytest.mark.parametrize("backwards", [False, True])
def test_the_log_to_be_used_and_the_rest_of_the_others(case: str, backwards: bool) -> None:
    logs, chosen, sure, spans, dropped = BY_HAND[case]
    reports = [survivor(number, terms, commit) for number, terms, commit in logs]
    found = compare(reports[::-1] if backwards else reports)
    assert (found.chosen.name, found.sure) == (chosen, sure)
    assert found.spans == tuple(
        Span(first=first, last=last, holders=tuple(names.split("+"))) for first, last, names in spans
    )
    assert branches(found) == dropped
    assert [entry.index for entry in found.unsure] == list(range(sure + 1, found.chosen.last + 1))


def test_a_log_that_was_compacted_far_is_compared_with_one_that_ends_before() -> None:
    old, new = survivor(1, [1, 1, 2, 2], 2), survivor(2, [1, 1, 3, 3, 3, 3], 6, first=6)
    found = compare([old, new])
    assert (found.chosen.name, found.sure, found.spans) == ("r2", 6, ())
    assert branches(found) == []  # whether its last two are others is not known, and does not matter


def test_a_voter_is_preferred_to_a_standby_with_the_same_log() -> None:
    standby, voter = survivor(4, [1, 1], 1, voters=3), survivor(3, [1, 1], 1, voters=3)
    assert compare([standby, voter]).chosen is voter
    ahead = survivor(4, [1, 1, 1], 1, voters=3)
    assert compare([ahead, voter]).chosen is ahead


def test_reports_of_two_clusters_are_refused() -> None:
    one = survivor(1, [1], 1)
    other = survivor(2, [1], 1).model_copy(update={"cluster": "c2"})
    with pytest.raises(CannotRecover, match=r"r2 is of cluster c2.*leave out"):
        compare([one, other])


def test_two_different_reports_of_one_replica_are_refused_and_equal_ones_are_one() -> None:
    one = survivor(1, [1, 1], 1)
    later = one.model_copy(update={"made_at": "2024-05-06T07:09:00+00:00"})
    assert len(compare([one, later]).survivors) == 1
    with pytest.raises(CannotRecover, match="two reports of r1 that differ"):
        compare([one, survivor(1, [1, 1, 1], 1)])


def test_survivors_that_contradict_each_other_about_what_is_committed_are_refused() -> None:
    with pytest.raises(CannotRecover, match="different entries 2 for committed"):
        compare([survivor(1, [1, 1], 2), survivor(2, [1, 3, 3], 3)])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"last": 4}, "last of its log"),
        ({"commit": 9}, "contradict"),
        ({"runs": [{"first": 2, "term": 1}]}, "contradict"),
        ({"runs": [{"first": 1, "term": 2}, {"first": 2, "term": 1}]}, "out of order"),
        ({"runs": []}, "has no term"),
        ({"term": 0}, "later term than its own"),
        ({"tail": []}, "last of its log"),
        ({"voters": [{"id": "x", "name": "r1", "raft": "h:1"}]}, "badly formed"),
    ],
)
def test_a_report_that_contradicts_itself_is_refused(change: dict[str, object], says: str) -> None:
    whole = survivor(1, [1, 1, 1], 1).model_dump(mode="json")
    assert Survivor.model_validate(whole)
    with pytest.raises(ValueError, match=says):
        Survivor.model_validate({**whole, **change})


def check(history: History, reports: list[Survivor]) -> None:
    found = compare(reports)
    chosen = history.replicas[int(found.chosen.name[1:]) - 1].log
    kept = set(enumerate(chosen, start=1))
    listed = {
        (entry.index, entry.term)
        for branch in found.branches
        if not branch.never_committed
        for entry in branch.entries
    }
    for report in reports:
        log = history.replicas[int(report.name[1:]) - 1].log
        for index, term in enumerate(log, start=1):
            by = history.acknowledged.get((index, term))
            if by is None:
                continue
            if by == term or index <= report.commit or any(other.last_term >= by for other in reports):
                assert (index, term) in kept, "it was acknowledged, is here, and would be lost"
            assert (index, term) in kept | listed, "it was acknowledged, is here, and would be lost unsaid"
    for index, term in enumerate(chosen[: found.sure], start=1):
        assert (index, term) in history.acknowledged, "it is called sure, and was never committed"


@pytest.mark.parametrize("count", [3, 4, 5])
def test_what_was_acknowledged_and_a_survivor_has_is_kept_whatever_happened_before(count: int) -> None:
    """Histories whose survivors fork are rare, and the ones that matter: the others are looked at in part."""
    forks = lost = 0
    for seed in range(SEEDS if count > 4 else SEEDS // 10):  # of fewer than five one alone survives
        history = History(random.Random(f"{count} {seed}"), count)
        history.run(steps=25)
        forked = count > 4 and history.forks()
        for reports in history.survivors() if forked or seed % 50 == 0 else ():
            try:
                check(history, reports)
            except AssertionError as error:
                raise AssertionError(f"seed {count} {seed}: {error}") from error
            found = compare(reports)
            forks += bool(found.branches)
            lost += any(index > found.chosen.last for index, _term in history.acknowledged)
    assert lost
    assert count < 5 or forks > 50, "the histories do not fork: they show nothing"
