"""Two that can fence each other: either goes on alone, and nothing that was acknowledged is lost.

A voter is dead after 0.8 s here.
"""

import pytest

from hamgr.raft.protocol.membership import ChangeRefused
from tests.consensus import ablations_of_fencing as ablations
from tests.consensus import dramas_of_fencing as dramas
from tests.consensus.dramas import let_go, voters
from tests.consensus.dramas_of_fencing import able, arm, could_go_on, ends_well, take_over
from tests.consensus.laws import Broken
from tests.consensus.world import judge

SEEDS = 30


@pytest.fixture
def armed(tell_story):
    """Return a story of two for which fencing is armed."""
    story = tell_story(voters=2)
    arm(story)
    return story


def test_the_follower_of_two_goes_on_when_it_has_fenced_the_leader_which_comes_back_as_a_standby(armed):
    writes = armed.writes("a", 3)
    armed["a"].lose_power()
    armed.run(2.0)
    assert take_over(armed, "b", "a") == ""
    assert (armed.leaders(), voters(armed, "b"), armed.term("b")) == ("b", "b", 2)
    writes += armed.writes("b", 2)
    armed["a"].start()
    armed.until(lambda: all(armed.is_on(write, *"ab") for write in writes))
    assert (armed.leaders(), voters(armed, "a"), armed.configuration("a").armed) == ("b", "b", False)


def test_what_the_old_leader_had_alone_is_replaced(armed):
    armed.split("a", "b")
    alone = armed.write("a")
    armed.run(0.05)
    armed["a"].kill()
    armed.run(2.0)
    assert take_over(armed, "b", "a") == ""
    write = armed.writes("b", 1)[0]
    armed.heal()
    armed["a"].start()
    armed.until(lambda: armed.is_on(write, "a"))
    assert not alone.answered


def test_the_leader_of_two_goes_on_when_it_has_fenced_the_follower(armed):
    armed["b"].lose_power()
    armed.run(2.0)
    assert "not verified to be off" in let_go(armed, "a", "b")
    assert let_go(armed, "a", "b", fenced=True) == ""
    assert (voters(armed, "a"), armed.configuration("a").armed) == ("a", False)
    armed.writes("a", 1)
    ends_well(armed)


def test_autopilots_arm_two_fence_whoever_is_dead_and_arm_them_again(tell_story):
    story = tell_story(voters=2, fencing=True)
    fences, autopilots = story.world.fences, story.world.autopilots
    fences.fails = fences.is_slow = autopilots.errs = 0.0
    autopilots.begin()
    writes = []
    for gone, rest in (("a", "b"), ("b", "a")):
        story.until(lambda rest=rest: could_go_on(story, rest), seconds=20.0)
        story[gone].kill()
        story.until(lambda rest=rest: story.leaders() == rest and voters(story, rest) == rest, seconds=10.0)
        writes += story.writes(rest, 1)
        story.until(lambda gone=gone: story[gone].alive)
    story.until(lambda: could_go_on(story, "b"), seconds=20.0)
    story.until(lambda: all(story.is_on(write, *"ab") for write in writes))


def test_a_follower_that_was_started_again_does_not_go_on_until_it_has_followed(armed):
    armed["b"].kill()
    armed["b"].start()
    able(armed)
    armed["a"].lose_power()
    armed.run(2.0)
    assert "since it started" in take_over(armed, "b", "a")
    assert armed.leaders() == ""
    armed["a"].start()
    armed.until(armed.leaders)


@pytest.mark.parametrize("fuse", [1, 2, 3, 4, 5, 6])
def test_a_death_while_it_goes_on_leaves_all_or_nothing(armed, fuse):
    writes = armed.writes("a", 2)
    armed["a"].lose_power()
    armed.run(2.0)
    armed["b"].disk.fuse = fuse
    armed["b"].call(lambda _host, core, _machine: dramas.take_over_now(core, armed["a"].id))
    armed.run(1.0)
    ends_well(armed)
    armed.until(lambda: all(armed.is_on(write, *"ab") for write in writes))


def test_without_a_fencing_command_nobody_says_anything_of_it(tell_story):
    story = tell_story(voters=2)
    story.run(2.0)
    assert story["b"].core.pair.watch() is None
    assert not story["a"].core.pair.able()
    assert not story["a"].core.pair.armable()


def test_two_that_are_armed_are_disarmed_before_a_third_votes(tell_story):
    story = tell_story(voters=2, spares=1)
    story.join("a", "c")
    arm(story)
    now = story.configuration("a")
    for after in (now.promoted(story["c"].id), now.demoted(story["b"].id), now.without(story["b"].id)):
        answers = story.change("a", after)
        story.until(lambda answers=answers: answers)
        assert "disarm" in answers[0]
    assert story.configuration("a") == now
    story.changed("a", now.with_fencing(False))
    story.changed("a", story.configuration("a").promoted(story["c"].id))
    with pytest.raises(ChangeRefused, match="3 voters"):
        story.configuration("a").with_fencing(True)


def test_they_can_be_armed_only_when_both_can_fence_and_nobody_is_connected_who_would_not_know(tell_story):
    story = tell_story(voters=2, spares=1)
    story.join("a", "c")
    for name in "ab":
        story[name].core.pair.can_fence = story[name].core.pair.ready = True
    story.run(2.0)
    assert story["a"].core.pair.able() == {story["b"].id}
    assert not story["a"].core.pair.armable()  # `c` might be of an earlier version, which cannot read it
    able(story)
    story.until(story["a"].core.pair.armable)
    story["b"].core.pair.ready = False
    story.until(lambda: not story["a"].core.pair.armable())


DRAMAS = [
    (dramas.a_leader_that_lets_go, ablations.let_go_without_fencing),
    (dramas.a_follower_that_was_fenced, ablations.go_on_after_a_restart),
    (dramas.a_disarming_that_is_not_known_to_be_committed, ablations.disarm_when_it_is_known_to_be_committed),
    (dramas.a_third_voter, ablations.refuse_no_change),
    (dramas.a_voter_that_an_operator_removes, ablations.refuse_no_change),
    (dramas.a_heartbeat_that_is_no_news, ablations.take_a_heartbeat_for_news),
    (dramas.a_command_that_takes_long, ablations.act_though_it_was_heard),
    (dramas.two_that_fence_each_other, ablations.lie),
]
LOST = (
    "a leader has every committed entry|what is committed stands for ever|the same at an index"
    "|no acknowledged write is lost|a read sees"
)


def told(tell_story, drama):
    spares = int(drama is dramas.a_third_voter)
    return tell_story(voters=2, spares=spares, fencing=drama is dramas.two_that_fence_each_other)


@pytest.mark.parametrize(("drama", "_plant"), DRAMAS)
def test_with_all_rules_it_goes_well(tell_story, drama, _plant):
    drama(told(tell_story, drama))


@pytest.mark.parametrize(("drama", "plant"), DRAMAS)
def test_without_its_rule_an_acknowledged_write_is_lost(tell_story, monkeypatch, drama, plant):
    plant(monkeypatch)
    story = told(tell_story, drama)
    with pytest.raises(Broken, match=LOST):
        drama(story)


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_no_pair_that_can_fence_breaks_a_law(first):
    for seed in range(first, first + 10):
        verdict = judge(seed, fencing=True)
        if verdict.law:
            pytest.fail(str(verdict), pytrace=False)
