"""What is due for a given view, in all its cases."""

import pytest

from hamgr.autopilot.rules import decide, standing, wanted
from tests.hamgr.autopilot.seen import PROBED, dead, one, standby, view

DUE = [
    ("a voter that is dead is let go", view("a", "b", dead("c")), "let go c"),
    ("who was silent longest goes first",
        view("a", "b", dead("c"), one("d"), dead("e", silent_s=30)), "let go e"),
    ("also by one that lost its majority", view("a", "b", dead("c"), dead("d"), leads=False), "let go c"),
    ("also when it leaves one alone", view("a", dead("b"), leads=False), "let go b"),
    ("a standby takes a free place", view("a", "b", standby("c")), "promote c"),
    ("two voters are better than one", view("a", standby("b")), "promote b"),
    ("two standbys make four of two", view("a", "b", "c", standby("d"), standby("e")), "promote d"),
    ("who is in an empty domain comes first", view(one("a", domain="x"), one("b", domain="y"),
        standby("c", domain="x"), standby("d", domain="z")), "promote d"),
    ("an empty domain is served", view(one("a", domain="x"), one("b", domain="x"), one("c", domain="y"),
        standby("d", domain="z"), target=3), "promote d"),
    ("and the crowded one makes way", view(one("a", domain="x"), one("b", domain="x"), one("c", domain="y"),
        one("d", domain="z"), target=3), "demote b"),
    ("two that can fence each other are armed", view("a", "b", armable=True), "arm b"),
    ("they are disarmed before a third votes",
        view("a", "b", standby("c"), armed=True, armable=True), "disarm b"),
    ("and when one of them cannot fence any more", view("a", "b", armed=True), "disarm b"),
    ("one of two that are armed is let go when it is dead",
        view("a", dead("b"), armed=True, armable=True, leads=False), "let go b"),
    ("a lower target is reached", view("a", "b", "c", "d", "e", target=3), "demote e"),
]  # fmt: skip
NOT_DUE = [
    ("two are armed already", view("a", "b", armed=True, armable=True)),
    ("three need no fencing", view("a", "b", "c", armable=True)),
    ("one that is silent cannot agree to be disarmed", view("a", dead("b", silent_s=1.0), armed=True)),
    ("all is well", view("a", "b", "c")),
    ("a change is under way", view("a", "b", dead("c"), settled=False)),
    ("the silence is short", view("a", "b", dead("c", silent_s=9.0))),
    ("it answers a probe", view("a", "b", dead("c", failed=PROBED[:1]))),
    ("its absence is planned", view("a", "b", dead("c", resting=True))),
    ("no majority of the rest lives", view("a", dead("b"), dead("c"), leads=False)),
    ("a fourth vote is of no use", view("a", "b", "c", standby("d"))),
    ("the target is reached", view("a", "b", "c", standby("d"), standby("e"), target=3)),
    ("the standby is not well for long enough", view("a", "b", standby("c", well_s=9.0))),
    ("it fell twice, and waits twice as long", view("a", "b", standby("c", well_s=19.0, falls=2))),
    ("an operator made it one", view("a", "b", standby("c", kept=True))),
    ("it is about to go away", view("a", "b", standby("c", resting=True))),
    ("a voter is silent, and not yet dead", view("a", "b", dead("c", silent_s=1.0), standby("d"))),
    ("it has lost its majority, and changes nothing else", view("a", "b", standby("c"), leads=False)),
]


@pytest.mark.parametrize(("_why", "seen", "due"), DUE, ids=[case[0] for case in DUE])
def test_one_change_is_due_when(_why, seen, due) -> None:
    change = decide(seen)
    assert change is not None
    assert f"{change.action} {change.name}" == due
    assert change.reason


@pytest.mark.parametrize(("_why", "seen"), NOT_DUE, ids=[case[0] for case in NOT_DUE])
def test_nothing_is_due_when(_why, seen) -> None:
    assert decide(seen) is None


@pytest.mark.parametrize(
    ("target", "able", "count"),
    [(5, 1, 1), (5, 2, 2), (5, 3, 3), (5, 4, 3), (5, 5, 5), (5, 9, 5), (3, 9, 3), (1, 9, 1), (7, 6, 5)],
)
def test_an_odd_number_of_voters_is_wanted_but_for_two(target, able, count) -> None:
    assert wanted(target, able) == count


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (one("b"), ""),
        (dead("b", resting=True), "is away as planned, and stays a voter"),
        (dead("b", silent_s=3.0), "has been silent for 3 s, and stays a voter for 10 s"),
        (dead("b", failed=()), "is silent, but answers probes; it stays a voter"),
        (dead("b"), "is dead, and will be made a standby"),
        (standby("b"), "is ready to get a vote when one is needed"),
        (standby("b", alive=False), "is not connected"),
        (standby("b", kept=True), "an operator made it a standby; `hamgr replica promote b` ends that"),
        (standby("b", well_s=3.0, falls=3), "may get a vote after 40 s of being well, having fallen 3 times"
            " lately; 3 s have passed"),
    ],
)  # fmt: skip
def test_a_replica_is_told_what_it_waits_for(seen, sentence) -> None:
    assert standing(view("a", seen, "c"), seen) == sentence


def test_a_dead_voter_stays_one_where_no_majority_lives_without_it() -> None:
    seen = dead("b")
    sentence = standing(view("a", seen, dead("c")), seen)
    assert sentence == "is dead, and stays a voter: those that live are no majority without it either"
