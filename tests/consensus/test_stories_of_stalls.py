"""A machine that stood still must not take its own absence for the others' silence."""

from tests.consensus.story import Story

TRIALS = 20


def kept(story: Story, term: int) -> bool:
    return story.leaders() == "a" and story.term("a") == term


def test_all_that_stand_still_at_once_go_on_as_before(tell_story):
    """The virtual machines of one computer are paused, or their common storage hiccups."""
    lost = []
    for seed in range(TRIALS):
        story = tell_story(seed)
        term = story.term("a")
        story.run(seed * 0.007)
        for name in "abc":
            story[name].freeze(1.5, points=1)
        story.run(4.0)
        if not kept(story, term):
            lost.append(seed)
        story.writes("b", 1)
    assert not lost


def test_disks_that_stand_still_at_once_cost_no_leadership(tell_story):
    lost = []
    for seed in range(TRIALS):
        story = tell_story(seed)
        term = story.term("a")
        for name in "abc":
            story[name].disk.sync_s, story[name].disk.steady = 1.5, True
        write = story.write("b")
        story.run(0.03)
        for name in "abc":
            story[name].disk.sync_s, story[name].disk.steady = 0.001, False
        story.until(lambda write=write: write.answered, seconds=10)
        if not kept(story, term):
            lost.append(seed)
    assert not lost


def test_a_leader_that_stood_still_and_is_alone_steps_down_and_serves_nothing(tell_story):
    for seed in range(TRIALS):
        story = tell_story(seed)
        story["a"].freeze(2.0, points=1)
        story.run(0.1)
        story.split("a", "bc")
        story.until(lambda story=story: story.leads("b") or story.leads("c"))
        story.until(lambda story=story: story["a"].local >= story["a"].frozen_until > 0)
        read = story.read("a")
        story.until(lambda story=story: not story.leads("a"), seconds=3.0)
        assert not read.answered


def test_a_leader_that_dies_while_its_followers_stand_still_is_replaced(tell_story):
    for seed in range(TRIALS):
        story = tell_story(seed)
        for name in "bc":
            story[name].freeze(1.0, points=1)
        story.run(0.2)
        story["a"].lose_power()
        story.until(lambda story=story: story.leads("b") or story.leads("c"), seconds=3.0)
