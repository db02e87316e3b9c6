"""Schedules: the same for the same seed, of every kind, and always possible to undo."""

import itertools

from tests.histories.schedule import CUTS, PARTS, Kind, Misfortune, Part, schedule

SECONDS = 25.0


def test_a_seed_always_brings_the_same_misfortunes() -> None:
    assert schedule(5, seconds=SECONDS) == schedule(5, seconds=SECONDS) != schedule(6, seconds=SECONDS)


def test_every_misfortune_befalls_every_part_in_some_of_a_few_dozen_seeds() -> None:
    found = {(one.kind, one.part) for seed in range(40) for one in schedule(seed, seconds=SECONDS)}
    assert found == {(kind, part) for kind, parts in PARTS.items() for part in parts}


def test_only_the_misfortunes_that_were_asked_for_come() -> None:
    kinds = {one.kind for seed in range(20) for one in schedule(seed, seconds=SECONDS, kinds=CUTS)}
    assert kinds == {*CUTS}


def test_misfortunes_end_in_time_and_at_most_two_overlap_and_never_two_cuts() -> None:
    pairs = 0
    for seed in range(60):
        plan = schedule(seed, seconds=SECONDS)
        assert plan, seed
        assert all(0 < one.begins_s <= one.ends_s <= SECONDS for one in plan)
        for one in plan:
            beside = [other for other in plan if other is not one and overlap(one, other)]
            assert len(beside) <= 1, (seed, one, beside)
            pairs += len(beside)
        for one, other in itertools.combinations([one for one in plan if one.kind in CUTS], 2):
            assert not overlap(one, other), (seed, one, other)
    assert pairs, "no two misfortunes ever came together"


def overlap(one: Misfortune, other: Misfortune) -> bool:
    return one.begins_s < other.ends_s and other.begins_s < one.ends_s


def test_a_misfortune_reads_like_a_sentence() -> None:
    one = Misfortune(kind=Kind.BLOCK, part=Part.LEADER, begins_s=1.0, lasts_s=2.5)
    assert str(one) == "  1.00 s to   3.50 s  block one way the leader"
