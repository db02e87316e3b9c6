"""Stories of two that can fence each other, each of which goes well only because of one rule.

They are the counterexamples of `docs/decisions/0018`, told step by step.
"""

from typing import Any

from hamgr.raft.core.shrinking import Evidence
from hamgr.raft.protocol.membership import ReplicaId
from tests.consensus.dramas import let_go, voters
from tests.consensus.story import Story

DEAD_S = 0.8


def able(story: Story) -> None:
    """Give a fencing command to every replica that runs."""
    for host in story.world.hosts:
        if host.core is not None:
            host.core.pair.can_fence = host.core.pair.ready = True


def arm(story: Story) -> None:
    """Arm `a`, which leads, and `b`; return when `b` could go on alone, and its disk knows that."""
    able(story)
    story.changed("a", story.configuration("a").with_fencing(True))
    story.until(lambda: could_go_on(story, "b"))
    story.run(2.5)


def could_go_on(story: Story, name: str) -> bool:
    core = story[name].core
    watch = None if core is None else core.pair.watch()
    return watch is not None and not watch.refusal


def ask(story: Story, name: str, question: Any) -> Any:
    """Ask a replica, in a turn of its own."""
    answers: list[Any] = []
    story[name].call(lambda _host, core, _machine: answers.append(question(core)))
    story.until(lambda: answers)
    return answers[0]


def now(story: Story, name: str) -> float:
    return float(ask(story, name, lambda core: core.now()))


def take_over(story: Story, name: str, target: str) -> str:
    """Have a follower go on whose fencing of `target` went well; return what it answers."""
    return str(ask(story, name, lambda core: take_over_now(core, story[target].id)))


def take_over_now(core: Any, target: ReplicaId) -> str:
    evidence = Evidence(
        target=target,
        failed=("from here", "from another one"),
        begun_at=core.now(),
        silent_s_min=DEAD_S,
        fenced=True,
    )
    return str(core.pair.take_over(evidence))


def goes_on_if_it_may(story: Story, name: str, gone: str) -> None:
    """Switch `gone` off, and have `name` go on; whatever the outcome, it all ends well.

    Raises:
        AssertionError: The one that came back did not find what it had acknowledged.
    """
    story[gone].lose_power()
    story.run(2 * DEAD_S)
    take_over(story, name, gone)
    story.run(0.5)
    ends_well(story)


def ends_well(story: Story) -> None:
    """Start all, and find all that was acknowledged: the laws look."""
    story.heal()
    for host in story.world.hosts:
        if not host.alive and host.life:
            host.start()
    story.until(lambda: len(story.leaders()) == 1)
    writes = story.writes(story.leaders(), 1)
    story.until(lambda: all(story.is_on(write, *"ab") for write in writes))
    read = story.read(story.leaders())
    story.until(lambda: read.answered)


def a_leader_that_lets_go(story: Story) -> None:
    """`a` loses sight of `b`, and would go on without it; `b` would, too."""
    arm(story)
    story.split("a", "b")
    story.run(2 * DEAD_S)
    refused = let_go(story, "a", "b")
    if not refused:
        story.writes("a", 2)
    goes_on_if_it_may(story, "b", "a")
    assert "not verified to be off" in refused


def a_follower_that_was_fenced(story: Story) -> None:
    """`a` fences `b`, goes on and dies; `b` is started, and fences `a`."""
    arm(story)
    story["b"].lose_power()
    story.run(2 * DEAD_S)
    assert let_go(story, "a", "b", fenced=True) == ""
    story.writes("a", 2)
    story["a"].lose_power()
    story["b"].start()
    able(story)
    could_go_on(story, "b")  # silence is counted from the first look
    story.run(2 * DEAD_S)
    refused = take_over(story, "b", "a")
    story.run(0.5)
    ends_well(story)
    assert "since it started" in refused


def a_disarming_that_is_not_known_to_be_committed(story: Story) -> None:
    """`a` disarms with `b`, lets it go without fencing it, and goes on; `b` knows no more than its log."""
    arm(story)
    story.change("a", story.configuration("a").with_fencing(False))
    story.until_closely(lambda: not story.configuration("b").armed)
    story.until_closely(lambda: story["a"].core.commit >= story["a"].core.configuration_index)
    story.split("a", "b")
    assert story["b"].core.commit < story["b"].core.configuration_index
    story.run(2 * DEAD_S)
    assert let_go(story, "a", "b") == ""
    story.writes("a", 2)
    goes_on_if_it_may(story, "b", "a")


def a_third_voter(story: Story) -> None:
    """`a` promotes `c`, and both commit what `b` lacks."""
    story.join("a", "c")
    arm(story)
    story.until(lambda: story["c"].core.commit == story["a"].core.commit)
    story.split("ac", "b")
    story.change("a", story.configuration("a").promoted(story["c"].id))
    story.run(0.2)
    if len(voters(story, "a")) == 3:
        story.writes("a", 2)
    story["c"].kill()
    goes_on_if_it_may(story, "b", "a")


def a_voter_that_an_operator_removes(story: Story) -> None:
    """`a` makes `b` a standby, commits that alone, and `b` has not heard of it."""
    arm(story)
    story.split("a", "b")
    story.change("a", story.configuration("a").demoted(story["b"].id))
    story.run(0.2)
    if voters(story, "a") == "a":
        story.writes("a", 2)
    goes_on_if_it_may(story, "b", "a")


def a_heartbeat_that_is_no_news(story: Story) -> None:
    """`a` goes on without `b`, which then hears of `a`, gets some entries, and not the one that matters."""
    arm(story)
    story["b"].lose_power()
    for _ in range(60):
        story.write("a")
    story.run(3 * DEAD_S)
    assert let_go(story, "a", "b", fenced=True) == ""
    story.writes("a", 2)
    story["b"].start()
    able(story)
    story.until_closely(lambda: story["b"].core.pair._followed[0] == story["b"].core.term)
    assert story.configuration("b").armed
    goes_on_if_it_may(story, "b", "a")


def a_command_that_takes_long(story: Story) -> None:
    """`b` is off, and on again and follows, while the command of `a` is still at work."""
    arm(story)
    story["b"].lose_power()
    story.run(2 * DEAD_S)
    begun_at = now(story, "a")
    story["b"].start()
    able(story)
    story.elect("a")
    story.until(lambda: could_go_on(story, "b"))
    story.split("a", "b")
    story.run(2 * DEAD_S)
    refused = let_go(story, "a", "b", fenced=True, begun_at=begun_at)
    if not refused:
        story.writes("a", 2)
    goes_on_if_it_may(story, "b", "a")
    assert "was heard of" in refused


def two_that_fence_each_other(story: Story) -> None:
    """The network between them fails, and both try to fence the other one, until one has done it."""
    fences, autopilots = story.world.fences, story.world.autopilots
    fences.fails = fences.is_slow = autopilots.errs = 0.0
    autopilots.begin()
    story.until(lambda: could_go_on(story, "b"), seconds=10.0)
    story.split("a", "b")
    story.run(4.0)
    for name in story.leaders():
        story.writes(name, 2)
    assert len(story.leaders()) == 1
    story.run(4.0)
    ends_well(story)
