"""Who leads, and who does not: partitions, comebacks, votes that count and votes that do not."""

import statistics

from tests.consensus.story import Story

TRIALS = 20


def vote_of(story, voter, term):
    """Deliver a vote for `e` that nobody has cast."""
    story["e"].core.receive(voter, {"type": "response_vote", "term": term})


def test_a_partitioned_leader_steps_down_and_another_one_is_elected_within_a_second(tell_story):
    down_s, up_s = [], []
    for seed in range(TRIALS):
        story = tell_story(seed)
        story.split("a", "bc")
        began = story.world.schedule.now
        up_s.append(story.until(lambda story=story: story.leads("b") or story.leads("c"), seconds=1.0))
        story.until(lambda story=story: not story.leads("a"), seconds=1.0)
        down_s.append(story.world.schedule.now - began)
    print(f"steps down after {statistics.median(down_s):.2f} s, at most {max(down_s):.2f} s")
    print(f"another one after {statistics.median(up_s):.2f} s, at most {max(up_s):.2f} s")


def test_a_partitioned_leader_answers_no_read_and_no_write_after_its_successor_has(tell_story):
    story = tell_story()
    story.split("a", "bc")
    story.until(lambda: "a" not in story.leaders() and story.leaders())
    (successor,) = story.leaders()
    story.writes(successor, 1)
    read, write = story.read("a"), story.write("a")
    story.run(5.0)
    assert not read.answered
    assert not write.answered
    story.heal()
    story.until(lambda: read.answered and write.answered)
    story.arrives(write, "a", "b", "c")


def test_a_follower_that_comes_back_disturbs_nobody(tell_story):
    for seed in range(TRIALS):
        story = tell_story(seed)
        term = story.term("a")
        story.split("ab", "c")
        story.run(3.0)
        assert story.term("c") == term
        story.heal()
        story.run(1.5)
        assert (story.leaders(), story.term("a"), story.term("c")) == ("a", term, term)
        story.until(lambda story=story: story["c"].core.leader == story["a"].id)


def test_a_broken_link_to_one_follower_costs_no_election(tell_story):
    story = tell_story()
    term, a, c = story.term("a"), story["a"].id, story["c"].id
    story.block([(a, c)])
    story.run(20.0)
    assert (story.leaders(), story.term("a")) == ("a", term)


def test_a_removed_replica_disturbs_nobody(tell_story):
    story = tell_story(voters=4)
    story.split("abc", "d")
    story.changed("a", story.configuration("a").without(story["d"].id))
    term = story.term("a")
    story.heal()
    story.run(5.0)
    assert (story.leaders(), story.term("a")) == ("a", term)
    assert story["d"].id not in {peer for host in "abc" for peer in story[host].wanted}


def candidate(tell_story) -> tuple[Story, int]:
    """Return a story in which `e`, cut off, stands for election with its own vote alone."""
    story = tell_story(voters=5)
    story.split("abcd", "e")
    story.until(lambda: story["e"].core.leader is None or not story["e"].core.peers.up)
    core = story["e"].core
    core.election.allow(core.term, story["e"]._clock())
    story.until(lambda: core.term > story.term("a"))
    assert not core.leads
    return story, core.term


def test_a_vote_sent_again_counts_once(tell_story):
    story, term = candidate(tell_story)
    for _ in range(5):
        vote_of(story, story["d"].id, term)
    story.run(0.02)
    assert not story.leads("e")
    assert story["e"].core.counters["duplicate_votes"] == 4
    vote_of(story, story["c"].id, term)
    assert story.leads("e")


def test_the_vote_of_a_stranger_and_of_another_term_count_for_nothing(tell_story):
    story, term = candidate(tell_story)
    vote_of(story, "d2b2a4e4-1111-4222-8333-444455556666", term)
    vote_of(story, story["a"].id, term - 1)
    vote_of(story, story["b"].id, term - 1)
    assert not story.leads("e")
    assert story["e"].core.counters["foreign_messages"] == 1


def test_leadership_is_handed_over_to_whom_it_was_meant_for(tell_story):
    story = tell_story(voters=5)
    before = story.writes("a", 3)
    story["a"].call(lambda _host, core, _machine: core.transfer(story["d"].id))
    took_s = story.until(lambda: story.leads("d"), seconds=0.2)
    story.until(lambda: story.leaders() == "d")
    story.arrives(story.writes("b", 1)[0], "d")
    story.arrives(before[-1], "d")
    print(f"handed over in {took_s * 1000:.0f} ms")


def test_a_leader_that_was_frozen_learns_that_it_leads_no_more_before_it_answers(tell_story):
    story = tell_story()
    story["a"].freeze(2.0)
    story.until(lambda: story.leads("b") or story.leads("c"))
    story.writes("b" if story.leads("b") else "c", 3)
    reads = [story.read("a") for _ in range(20)]  # answered by the laws' measure, or not at all
    story.run(3.0)
    assert not story.leads("a")
    assert any(read.answered for read in reads)


def test_a_dead_process_is_replaced_sooner_than_a_silent_one(tell_story):
    took_s = {"killed": [], "silent": []}
    for seed in range(10):
        for how, times in took_s.items():
            story = tell_story(100 * (how == "silent") + seed)
            (story["a"].kill if how == "killed" else story["a"].lose_power)()
            times.append(story.until(lambda story=story: story.leaders(), seconds=1.0))
    medians = {how: statistics.median(times) for how, times in took_s.items()}
    print({how: f"{median:.3f} s" for how, median in medians.items()})
    assert medians["killed"] < medians["silent"] / 2
