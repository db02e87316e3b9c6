"""What becomes of logs: entries of deposed leaders, late answers, duplicates, snapshots."""

import copy

import pytest

from statemachine import codec
from statemachine.commands import SetGlobals
from statemachine.model import State


def acknowledgement(story, term, index):
    """Return what a follower says that has everything up to `index`."""
    return {
        "type": "next_node_idx",
        "term": term,
        "next_node_idx": index + 1,
        "reset": False,
        "success": True,
        "sent_at": story["a"]._clock(),
    }


def diverged(tell_story):
    """Return a story in which `a` has entries of its own, and `b` leads and has forgotten its old log."""
    story = tell_story(compact_every=20, trailing_entries=0)
    story.writes("a", 3)
    story.split("a", "bc")
    ghosts = [story.write("a") for _ in range(20)]
    story.run(0.05)
    for ghost in ghosts:
        ghost.over = True  # nobody asks again
    assert story.last("a") > 20
    story.elect("b")
    real = story.writes("b", 45)
    story.until(lambda: story["b"].core.log.first > story.last("a"))
    return story, ghosts, real


def test_a_diverged_follower_takes_a_snapshot_and_never_obeys_its_own_entries(tell_story):
    story, ghosts, real = diverged(tell_story)
    applied = story["a"].machine.index
    story.heal()
    while not story["a"].core.counters["snapshots_received"]:
        # Nothing is committed while it comes, but for the entry that was on its way when the links broke.
        assert story["a"].core.commit - applied in (0, 1)
        story.run(0.001)
    story.until(lambda: story.is_on(real[-1], "a", "c"))
    assert story["a"].core.counters["snapshots_received"]
    assert not any(story.is_on(ghost, name) for ghost in ghosts for name in "abc")


def test_a_snapshot_that_was_interrupted_is_sent_again(tell_story):
    story, _ghosts, real = diverged(tell_story)
    sent = story.world.figures.counts
    story.heal()
    story.until(lambda: sent["snapshot sent in pieces"])
    story["b"].kill()
    story["b"].start()
    story.until(lambda: story.is_on(real[-1], "a", "b", "c"))


def test_an_acknowledgement_of_an_older_term_commits_nothing(tell_story):
    story = tell_story(voters=5)
    story.split("a", "b", "c", "d", "e")
    write = story.write("a")
    story.run(0.01)
    core, last = story["a"].core, story.last("a")
    assert core.commit < last
    stale = core.counters["stale_acknowledgements"]
    for peer in "bcd":
        core.receive(story[peer].id, acknowledgement(story, core.term - 1, last))
    story.run(0.02)
    assert core.commit < last
    assert not write.answered
    assert core.counters["stale_acknowledgements"] == stale + 3
    for peer in "bc":
        core.receive(story[peer].id, acknowledgement(story, core.term, last))
    story.world.laws.watching = False  # those two lied
    story.run(0.02)
    assert core.commit == last


def test_an_append_that_comes_again_takes_nothing_back(tell_story):
    story = tell_story()
    sent = []
    send = story["a"].core._outbox._send
    story["a"].core._outbox._send = lambda to, message: sent.append((to, message)) or send(to, message)
    story.writes("a", 5)
    last = story.last("b")
    for to, message in copy.deepcopy(sent):
        if to == story["b"].id and message["type"] == "append_entries":
            message["entries"] = [list(entry) for entry in message["entries"]]
            story["b"].core.receive(story["a"].id, message)
            assert story.last("b") == last
    story.run(0.1)
    assert story["b"].alive
    story.arrives(story.writes("a", 1)[0], "b")


@pytest.mark.parametrize("last", [False, True])
def test_a_snapshot_that_is_none_is_refused_and_changes_nothing(tell_story, last):
    story = tell_story()
    story.writes("a", 3)
    core = story["b"].core
    before = (core.commit, core.applied, core.log.last, story["b"].machine.state)
    junk = {
        "type": "snapshot_piece",
        "term": core.term,
        "transfer": 7,
        "offset": 0,
        "data": b"junk" * 100,
        "last": last,
        "sent_at": 1.0,
    }
    core.receive(story["a"].id, junk)
    assert core.counters["snapshots_refused"] == 1
    assert (core.commit, core.applied, core.log.last, story["b"].machine.state) == before
    story.arrives(story.writes("a", 1)[0], "a", "c")
    story.until(lambda: story["b"].machine.index == story.last("a"))


def test_all_lose_power_at_once_and_have_what_was_acknowledged(tell_story):
    story = tell_story(compact_every=10)
    writes = story.writes("a", 35)
    for name in "abc":
        story[name].lose_power()
    assert story["a"].machine is None
    for name in "abc":
        story[name].start()
    story.until(lambda: all(story.is_on(write, "a", "b", "c") for write in writes))


def test_an_entry_that_nobody_can_read_is_answered_and_followed_by_others(tell_story):
    story = tell_story()
    entry, states = b"no command of any version", []
    story.world.laws.answered = lambda *_: states.append("answered")
    story["a"].call(lambda _host, core, _machine: core.submit(entry, states.append))
    story.until(lambda: states.count("answered") == 3)
    del story.world.laws.answered
    assert all(isinstance(story[name].machine.state, State) for name in "abc")
    story.arrives(story.writes("b", 1)[0], "b")


def test_a_large_entry_travels_whole(tell_story):
    story = tell_story()
    command = SetGlobals(request_id="large", at=1.0, actor="test", variables={"large": "x" * 2_000_000})
    entry = codec.encode_command(command)
    story["b"].call(lambda _host, core, _machine: core.submit(entry, bool))
    story.until(lambda: all(story[name].machine.state.globals for name in "abc"))
    story.arrives(story.writes("c", 1)[0], "c")


def test_a_follower_acknowledges_before_it_applies_and_applies_all_the_same(tell_story):
    story = tell_story()
    follower = story["b"].core
    settle, waited = follower.settle, []

    def note():
        more = settle()
        if follower.commit > follower.applied:
            assert more
            waited.append(follower.commit)
            follower.send(story["a"].id, acknowledgement(story, follower.term, follower.commit))
            settle()
            assert follower.commit == follower.applied  # it does not wait for a second time
        return more

    follower.settle = note
    leader = story["a"].core
    for _ in range(100):  # without a pause: there is always more to acknowledge
        story.write("a")
        story.run(0.0005)
        assert leader.commit - follower.applied < 40
    assert waited
    story.until(lambda: follower.applied == leader.commit)
