"""Which losses are survived, with an autopilot and without."""

import pytest

from hamgr.autopilot.losses import Losses, Standing, survived

LETTERS = "abcdefghijk"


def standing(voters: int, dead: int = 0, leader: str = "a") -> Standing:
    names = frozenset(LETTERS[:voters])
    return Standing(names, names - frozenset(LETTERS[voters - dead : voters]), leader)


@pytest.mark.parametrize(
    ("now", "losses"),
    [
        (standing(1), Losses(0, 0, 0, 0)),
        (standing(2), Losses(0, 1, 0, 1)),
        (standing(3), Losses(1, 1, 1, 2)),
        (standing(4), Losses(1, 2, 2, 3)),
        (standing(5), Losses(2, 2, 3, 4)),
        (standing(7), Losses(3, 3, 5, 6)),
        (standing(5, dead=1), Losses(1, 1, 2, 3)),
        (standing(5, dead=2), Losses(0, 0, 1, 2)),
        (standing(3, dead=1), Losses(0, 0, 0, 1)),
    ],
)
def test_with_an_autopilot(now, losses) -> None:
    assert survived(now, lets_go=True) == losses


@pytest.mark.parametrize(
    ("now", "losses"),
    [
        (standing(1), Losses(0, 0, 0, 0)),
        (standing(2), Losses(0, 0, 0, 0)),
        (standing(3), Losses(1, 1, 1, 1)),
        (standing(5), Losses(2, 2, 2, 2)),
        (standing(5, dead=2), Losses(0, 0, 0, 0)),
        (standing(11), Losses(5, 5, 0, 0)),
    ],
)
def test_without_one(now, losses) -> None:
    assert survived(now, lets_go=False) == losses


def test_without_a_leader_nothing_is_promised() -> None:
    assert survived(standing(5, leader=""), lets_go=True) == Losses()


@pytest.mark.parametrize(
    ("losses", "sentence"),
    [
        (Losses(1, 1, 1, 1), ""),
        (Losses(0, 1, 0, 1), "survived as well: one that does not lead"),
        (
            Losses(0, 0, 0, 1),
            "survived as well: one that does not lead if it is lost more than 10 s after the one before",
        ),
        (
            Losses(2, 2, 3, 4),
            "survived as well: any 3 or 4 that do not lead one by one, "
            "each more than 10 s after the one before",
        ),
        (
            Losses(1, 2, 2, 3),
            "survived as well: 2 that do not lead at once, or any 2 or 3 that do not lead one by one, "
            "each more than 10 s after the one before",
        ),
    ],
)
def test_it_is_told_in_words(losses, sentence) -> None:
    assert losses.sentence(10.0) == sentence


def test_either_of_two_that_are_armed_may_be_lost_and_the_sentence_says_why() -> None:
    names = frozenset("ab")
    now = Standing(names, names, "a", armed=True)
    assert survived(now, lets_go=True) == Losses(1, 1, 1, 1, fenced=True)
    assert "either of the two, which the other one switches off" in survived(now, lets_go=True).sentence(10.0)
    assert survived(now, lets_go=False) == Losses(0, 0, 0, 0)
