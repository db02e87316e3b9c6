"""Who belongs to the cluster: one change at a time, taken from the log, whatever happens meanwhile."""

import pytest


def voters(story, name):
    return "".join(
        sorted(host.name for host in story.world.hosts if host.id in story.configuration(name).voter_ids)
    )


def without(story, leader, name):
    return story.configuration(leader).without(story[name].id)


def test_a_minority_changes_nothing(tell_story):
    story = tell_story()
    story.split("a", "bc")
    first, second = story.change("a", without(story, "a", "b")), []
    story.run(0.02)
    second = story.change("a", without(story, "a", "c"))
    story.run(0.02)
    assert voters(story, "a") == "ac"
    assert "under way" in second[0]
    story.elect("b")
    write = story.writes("b", 1)[0]
    story.run(1.0)
    story.heal()
    story.until(lambda: story.is_on(write, "a"))
    assert [voters(story, name) for name in "abc"] == ["abc"] * 3
    assert "not known" in first[0]


def test_whom_an_ex_leader_wanted_to_remove_can_lead_it(tell_story):
    """`a` and `b` have an uncommitted configuration without `e`, and `e` is the only one who can lead."""
    story = tell_story(voters=5)
    story.split("ab", "cde")
    story.change("a", without(story, "a", "e"))
    story.until(lambda: voters(story, "b") == "abcd")
    story.elect("e")
    writes = story.writes("e", 2)
    story["c"].kill()
    story["d"].lose_power()
    story.heal()
    story.until(lambda: voters(story, "a") == voters(story, "b") == "abcde")
    assert story.leaders() == "e"
    story.until(lambda: story.is_on(writes[-1], "a", "b"))


def test_a_restart_keeps_the_latest_configuration_of_the_log_committed_or_not(tell_story):
    story = tell_story(spares=1)
    story.split("a", "bc")
    after = story.configuration("a").with_learner(story["d"].member)
    story.change("a", after)
    story.run(0.05)
    assert story["a"].core.commit < story.last("a")
    story["a"].kill()
    story["a"].start()
    assert story.configuration("a") == after
    story.heal()
    story.until(lambda: story.leaders() and len({story.configuration(name) for name in "abc"}) == 1)


@pytest.mark.parametrize("compact_every", [10, 1_000])
def test_a_learner_gets_everything_counts_for_nothing_and_becomes_a_voter(tell_story, compact_every):
    story = tell_story(spares=1, compact_every=compact_every, trailing_entries=0)
    writes = story.writes("a", 30)
    story.run(1.0)
    story.join("a", "d")
    story.until(lambda: all(story.is_on(write, "d") for write in writes))
    assert story["d"].core.counters["snapshots_received"] == (compact_every == 10)
    story.split("abc")
    story.run(2.0)
    story.heal()
    story.run(1.0)
    assert (story.leaders(), story.term("a"), story.term("d")) == ("a", 1, 1)
    story.changed("a", story.configuration("a").promoted(story["d"].id))
    story.split("ab", "cd")
    story.until(lambda: not story.leaders())
    story.run(2.0)
    assert not story.leaders()  # two of four are no majority
    story.heal()
    story.until(story.leaders)
    (gone,) = story.leaders()
    story["a" if gone != "a" else "b"].kill()
    story.arrives(story.writes("d", 1)[0], "d")


def test_a_leader_does_not_remove_itself(tell_story):
    story = tell_story()
    answers = story.change("a", without(story, "a", "a"))
    story.run(0.1)
    assert "hand leadership over first" in answers[0]
    assert voters(story, "a") == "abc"


def test_only_one_voter_is_changed_at_a_time(tell_story):
    story = tell_story(voters=5)
    after = without(story, "a", "b").without(story["c"].id)
    answers = story.change("a", after)
    story.run(0.1)
    assert "one voter" in answers[0]
    assert voters(story, "a") == "abcde"


def test_a_cluster_goes_down_to_its_last_voter_and_up_again(tell_story):
    story = tell_story()
    story["b"].kill()
    story.changed("a", without(story, "a", "b"))
    story.changed("a", without(story, "a", "c"))
    story["c"].kill()
    story.writes("a", 5)
    story["a"].lose_power()
    story["a"].start()
    assert story.until(lambda: story.leads("a"), seconds=1.0) < 0.5
    before = story.writes("a", 5)
    for name in "bc":
        story[name].start()
        story.changed("a", story.configuration("a").with_learner(story[name].member))
        story.until(lambda name=name: story.is_on(before[-1], name))
        story.changed("a", story.configuration("a").promoted(story[name].id))
    story["a"].kill()
    story.until(story.leaders)
    story.arrives(story.writes("b", 1)[0], "b")


def test_a_removed_replica_learns_no_more_and_leads_nothing(tell_story):
    story = tell_story()
    story.changed("a", without(story, "a", "c"))
    write = story.writes("a", 1)[0]
    story.run(3.0)
    assert not story.is_on(write, "c")
    assert story.leaders() == "a"


def test_a_replica_of_an_older_version_stops_at_what_it_does_not_know_and_leads_no_more(tell_story):
    story = tell_story()
    story["a"].kill()
    story["a"].unknown = b"SetGlobals"
    story["a"].start()
    story.elect("a")
    story.world.clients.new_kind = True
    story.until(lambda: story.write("b") and story["a"].machine.stuck_at)
    story.until(lambda: story.leaders() in ("b", "c"), seconds=2.0)
    story.world.clients.new_kind = False
    writes = story.writes("b", 30)
    assert not story.is_on(writes[-1], "a")
    assert story.last("a") == story.last(story.leaders())  # it stores what it cannot apply
    story["c" if story.leads("b") else "b"].kill()
    story.writes(story.leaders(), 1)  # and counts
    story["a"].kill()
    story["a"].unknown = None
    story["a"].start()
    story.until(lambda: story.is_on(writes[-1], "a"))


def test_a_learner_that_was_away_follows_a_leader_it_has_never_heard_of(tell_story):
    story = tell_story(voters=1, spares=2)
    story.join("a", "b")
    story.until(lambda: story.last("b") == story.last("a"))
    story["b"].kill()
    story.join("a", "c")
    story.until(lambda: story.last("c") == story.last("a"))
    story.changed("a", story.configuration("a").promoted(story["c"].id))
    story.writes("a", 1)
    story.elect_by_transfer("a", "c")
    story["b"].start()
    write = story.writes("c", 1)[0]
    story.until(lambda: story.is_on(write, "a", "b", "c"))
