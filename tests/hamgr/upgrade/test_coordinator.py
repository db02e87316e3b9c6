"""Whose turn it is: followers first, one at a time, never without a majority, and the leader last."""

import pytest

from hamgr.upgrade.coordinator import Give, HandOver, Stop, View, Wait, decide
from hamgr.upgrade.versions import refusal
from statemachine.upgrading import Turn, Upgrade, UpgradePhase, UpgradeState, Wheel
from statemachine.words import Digest

ALL = frozenset({"r1", "r2", "r3"})
WAITING, DONE, INSTALLING = UpgradePhase.WAITING, UpgradePhase.DONE, UpgradePhase.INSTALLING


def upgrade(*phases: UpgradePhase, **fields: object) -> Upgrade:
    turns = {f"r{n + 1}": Turn(phase=phase, at=100.0, sentence="said") for n, phase in enumerate(phases)}
    wheel = Wheel(name="hamgr", version="0.2.0", digest=Digest("sha256:" + "a" * 64))
    return Upgrade(**{"id": "u-1", "version": "0.2.0", "wheels": (wheel,), "replicas": turns, **fields})


def view(**fields: object) -> View:
    said = {"me": "r1", "voters": ALL, "members": ALL, "well": ALL, "settled": True, "now": 110.0}
    return View(**{**said, "turn_s_max": 60.0, **fields})


def test_followers_have_their_turn_first() -> None:
    assert decide(upgrade(WAITING, WAITING, WAITING), view()) == Give("r2")
    assert decide(upgrade(WAITING, WAITING, WAITING), view(me="r2")) == Give("r1")


def test_the_leader_hands_over_to_one_that_is_done_before_its_own_turn() -> None:
    assert decide(upgrade(WAITING, DONE, DONE), view()) == HandOver("r2")
    assert decide(upgrade(WAITING, DONE, DONE), view(well={"r1", "r3"})) == HandOver("r3")
    assert decide(upgrade(WAITING, DONE, DONE), view(me="r2")) == Give("r1")


def test_a_single_replica_takes_its_turn_itself() -> None:
    alone = view(voters={"r1"}, members={"r1"}, well={"r1"})
    assert decide(upgrade(WAITING), alone) == Give("r1")


def test_nobody_has_a_turn_beside_another_one() -> None:
    assert decide(upgrade(WAITING, INSTALLING, WAITING), view()) == Wait()


def test_a_silent_replica_stops_the_upgrade_and_its_fate_is_called_unknown() -> None:
    decision = decide(upgrade(WAITING, INSTALLING, WAITING), view(now=161.0))
    assert isinstance(decision, Stop)
    assert "r2 said nothing for 61 s" in decision.why
    assert "unknown" in decision.why
    assert decision.given_up == "r2"
    stopped = upgrade(WAITING, INSTALLING, WAITING, state=UpgradeState.STOPPED)
    assert decide(stopped, view(now=161.0)) == decision


def test_no_replica_is_restarted_when_no_majority_would_be_left() -> None:
    decision = decide(upgrade(WAITING, WAITING, WAITING), view(well={"r1", "r2"}))
    assert decision == Wait("while r2 restarts, 1 of 3 voters are left, and 2 are needed")
    forced = upgrade(WAITING, WAITING, WAITING, force=True)
    assert decide(forced, view(well={"r1", "r2"})) == Give("r2")


def test_a_learner_may_be_restarted_whenever_it_is_well() -> None:
    two = view(voters={"r1"}, members={"r1", "r2"}, well={"r1", "r2"})
    assert decide(upgrade(WAITING, WAITING), two) == Give("r2")


def test_a_replica_that_was_removed_stops_the_upgrade() -> None:
    decision = decide(upgrade(WAITING, WAITING, WAITING), view(members={"r1", "r2"}))
    assert isinstance(decision, Stop)
    assert decision.why.startswith("r3 belongs to the cluster no more")


def test_a_change_of_the_members_is_waited_for_and_a_stopped_upgrade_left_alone() -> None:
    assert isinstance(decide(upgrade(WAITING, WAITING, WAITING), view(settled=False)), Wait)
    stopped = upgrade(WAITING, WAITING, WAITING, state=UpgradeState.STOPPED)
    assert decide(stopped, view()) == Wait()


@pytest.mark.parametrize(("before", "after"), [("0.1.0", "0.1.1"), ("0.1.9", "0.2.0"), ("0.9.1", "1.0.0")])
def test_the_next_minor_version_may_follow(before: str, after: str) -> None:
    assert refusal(before, after) == ""


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("0.2.0", "0.1.9", "older"),
        ("0.1.0", "0.3.0", "go to 0.2 first"),
        ("0.9.0", "1.1.0", "go to 0.10 first"),
        ("0.1.0", "new", "new is no version"),
    ],
)
def test_no_other_version_may_follow_and_the_sentence_says_what_to_do(
    before: str, after: str, says: str
) -> None:
    assert says in refusal(before, after)
