"""Replicas are lost one by one, by halves and all at once: who goes on, who waits, and nothing is lost.

The autopilots' probes say what is so. A voter is dead after 0.8 s here, and after 10 s by default.
"""

import pytest

from hamgr.raft.core.clients import Clients
from tests.consensus import ablations, dramas
from tests.consensus.autopilots import PACE
from tests.consensus.dramas import SEEN_S, let_go, voters
from tests.consensus.dramas import fly as put_to_work
from tests.consensus.laws import Broken


@pytest.fixture
def fly(tell_story):
    """Return a function that begins a story with an autopilot on each host."""

    def begin(**plan):
        story = tell_story(**plan)
        put_to_work(story)
        return story

    return begin


def lose(story, name, *, rest):
    """Kill a replica, and wait until those in `rest` are the voters."""
    story[name].kill()
    story.until(lambda: settled(story, story.leaders()[-1:]) == rest, seconds=SEEN_S)


def settled(story, leader):
    """Return the voters, when they are committed."""
    core = story[leader].core if leader else None
    return voters(story, leader) if core and core.configuration_index <= core.commit else ""


def regrow(story, wanted):
    story.until(
        lambda: (
            len(story.leaders()) == 1
            and voters(story, story.leaders()) == wanted
            and not story.configuration(story.leaders()).learners
        ),
        seconds=20.0,
    )


def test_five_followers_are_lost_one_by_one_and_the_last_replica_accepts_writes(fly):
    story = fly(voters=5)
    writes = story.writes("a", 3)
    for name, rest in (("e", "abcd"), ("d", "abc"), ("c", "ab"), ("b", "a")):
        lose(story, name, rest=rest)
        writes += story.writes("a", 3)
    for name in "bcde":
        story[name].start()
    regrow(story, "abcde")
    writes += story.writes("b", 1)
    story.until(lambda: all(story.is_on(write, *"abcde") for write in writes))


def test_leaders_are_lost_one_by_one_down_to_two(fly):
    story = fly(voters=5)
    left = "abcde"
    writes = []
    while len(left) > 2:
        gone = story.leaders()
        left = left.replace(gone, "")
        lose(story, gone, rest=left)
        writes += story.writes(story.leaders(), 2)
    leader = story.leaders()
    follower = left.replace(leader, "")
    story[leader].kill()
    unanswered = story.write(follower)
    story.run(3 * SEEN_S)
    assert (story.leaders(), unanswered.answered) == ("", False)
    story[leader].start()
    story.until(lambda: unanswered.answered)
    for name in set("abcde") - set(left):
        story[name].start()
    regrow(story, "abcde")
    story.until(lambda: all(story.is_on(write, *"abcde") for write in [*writes, unanswered]))


def test_the_leader_of_two_goes_on_alone_and_the_other_comes_back_as_a_standby(fly):
    story = fly(voters=2)
    story.writes("a", 1)
    story["b"].kill()
    story.until(lambda: not story.leads("a"))  # it refuses at once, as long as it does not know better
    story.until(lambda: story.leads("a"), seconds=SEEN_S)
    assert (voters(story, "a"), story.term("a")) == ("a", 1)
    write = story.writes("a", 1)[0]
    story["b"].start()
    story.until(lambda: story.is_on(write, "b"))
    assert voters(story, "a") == "a"
    regrow(story, "ab")


def test_two_that_lose_each_other_are_never_both_written_to(fly):
    story = fly(voters=2)
    story.split("a", "b")
    story.until(lambda: story.leads("a") and voters(story, "a") == "a", seconds=SEEN_S)
    refused = story.write("b")
    story.writes("a", 3)
    story.run(SEEN_S)
    assert (story.leaders(), refused.answered) == ("a", False)
    story.heal()
    story.until(lambda: refused.answered)
    regrow(story, "ab")


def test_the_half_with_the_leader_goes_on(fly):
    story = fly(voters=4)
    story["c"].kill()
    story["d"].kill()
    story.until(lambda: story.leads("a") and voters(story, "a") in ("abc", "abd"), seconds=SEEN_S)
    write = story.writes("b", 1)[0]
    story.until(lambda: voters(story, "a") == "ab", seconds=SEEN_S)
    for name in "cd":
        story[name].start()
    story.until(lambda: settled(story, "a") == "abc", seconds=20.0)  # a fourth vote would be of no use
    story.until(lambda: story.is_on(write, *"abcd"))


def test_the_half_without_the_leader_waits_for_one_more(fly):
    story = fly(voters=4)
    story["a"].kill()
    story["b"].kill()
    refused = story.write("c")
    story.run(3 * SEEN_S)
    assert (story.leaders(), refused.answered) == ("", False)
    assert [voters(story, name) for name in "cd"] == ["abcd", "abcd"]
    story["b"].start()
    story.until(lambda: refused.answered)


@pytest.mark.parametrize("first", ["a", "e"])
def test_a_majority_that_is_lost_at_once_is_waited_for(fly, first):
    story = fly(voters=5)
    for name in ("b", "c", first):
        story[name].kill()
    left = [name for name in "ade" if name != first]
    refused = story.write(left[0])
    story.run(3 * SEEN_S)
    assert (story.leaders(), refused.answered) == ("", False)
    story["b"].start()
    story.until(lambda: refused.answered)


def test_after_a_cold_start_only_who_was_last_can_lead(fly):
    story = fly(voters=3)
    lose(story, "c", rest="ab")
    lose(story, "b", rest="a")
    write = story.writes("a", 1)[0]
    story["a"].lose_power()
    for name in "bc":
        story[name].start()
    story.run(3 * SEEN_S)
    assert story.leaders() == ""  # they have the majority of the electorate that they know
    story["a"].start()
    regrow(story, "abc")
    story.until(lambda: story.is_on(write, *"abc"))


def test_a_standby_takes_the_place_of_a_voter_that_is_gone(fly):
    story = fly(voters=3, spares=1)
    story.join("a", "d")
    story.run(2.0)
    assert voters(story, "a") == "abc"
    story["c"].kill()
    story.until(lambda: voters(story, "a") == "abd", seconds=SEEN_S)
    story["c"].start()
    story.run(3 * SEEN_S)
    assert voters(story, "a") == "abd"  # it comes back as a standby


def test_who_falls_again_and_again_waits_longer_for_its_vote(fly):
    story = fly(voters=3)
    waits = []
    for _ in range(3):
        lose(story, "c", rest="ab")
        story["c"].start()
        waits.append(story.until(lambda: voters(story, "a") == "abc", seconds=20.0))
    assert waits[0] >= PACE.stable_s
    assert waits[2] > 2 * waits[0]


def test_a_leader_that_was_deposed_does_not_lead_on(tell_story):
    story = tell_story(voters=4)
    story.split("a", "bcd")
    story.elect("b")
    story["b"].kill()
    story["c"].kill()
    story.heal()
    story.run(1.0)
    assert "does not lead" in let_go(story, "a", "b", silent_s=0.0)
    assert story.leaders() == ""


def test_a_leader_that_started_again_does_not_lead_on(tell_story):
    story = tell_story(voters=2)
    story["b"].kill()
    story.run(1.0)
    story["a"].kill()
    story["a"].start()
    story.run(SEEN_S)
    assert "does not lead" in let_go(story, "a", "b", silent_s=0.0)


def test_who_would_lead_on_and_may_not_make_the_change_follows_again(tell_story, monkeypatch):
    story = tell_story(voters=2)
    story["b"].kill()
    story.until(lambda: not story.leads("a"))
    story.run(1.0)
    monkeypatch.setattr(Clients, "_refusal", lambda *_: "not now")
    assert let_go(story, "a", "b") == "not now"
    assert (story.leaders(), voters(story, "a")) == ("", "ab")
    monkeypatch.undo()
    assert let_go(story, "a", "b") == ""
    assert story.leaders() == "a"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"planned": True}, "away as planned"),
        ({"silent_s": 60.0}, "was heard of"),
        ({"failed": ("from here",)}, "did not fail 2 probes"),
        ({"failed": ("from here", "from here")}, "did not fail 2 probes"),
    ],
)
def test_a_voter_that_may_live_keeps_its_vote(tell_story, more, why):
    story = tell_story(voters=3)
    story["c"].kill()
    story.run(2.0)
    assert why in let_go(story, "a", "c", **more)
    assert voters(story, "a") == "abc"
    assert let_go(story, "a", "c") == ""


def test_a_voter_that_lives_and_is_heard_keeps_its_vote(tell_story):
    story = tell_story(voters=3)
    story.run(2.0)
    assert "was heard of" in let_go(story, "a", "c")


def test_what_a_frozen_leader_slept_through_is_not_the_others_silence(tell_story):
    story = tell_story(voters=3)
    story.run(1.0)
    answers = []
    for name in "abc":
        story[name].freeze(5.0)
    story.run(1.0)
    story["a"].call(lambda _host, core, _machine: answers.append(core.shrinking.roll_call()))
    story.until(lambda: answers, seconds=10.0)
    assert all(silent_s < 1.0 for silent_s in answers[0].silent_s.values())


def test_no_voter_is_let_go_while_another_change_is_in_flight(tell_story):
    story = tell_story(voters=4)
    story.split("a", "bcd")
    story.change("a", story.configuration("a").demoted(story["d"].id))
    story.run(0.05)
    assert voters(story, "a") == "abc"
    assert "under way" in let_go(story, "a", "c", silent_s=0.0)


DRAMAS = [
    (
        dramas.two_halves_of_which_one_was_led_before,
        4,
        ablations.lead_on_in_a_term_of_another,
        "at most one leader in a term",
    ),
    (
        dramas.who_comes_back_is_of_use,
        3,
        ablations.let_go_without_a_majority_of_the_new,
        "not within",
    ),
    (
        dramas.a_change_in_a_term_that_was_only_begun,
        4,
        ablations.let_go_before_the_own_term_is_committed,
        "a leader has every committed entry",
    ),
]


@pytest.mark.parametrize(("drama", "count", "_plant", "_how"), DRAMAS)
def test_with_all_rules_it_goes_well(tell_story, drama, count, _plant, _how):
    drama(tell_story(voters=count))


@pytest.mark.parametrize(("drama", "count", "plant", "how"), DRAMAS)
def test_without_its_rule_it_goes_wrong(tell_story, monkeypatch, drama, count, plant, how):
    story = tell_story(voters=count)
    plant(monkeypatch)
    with pytest.raises((Broken, AssertionError), match=how):
        drama(story)
