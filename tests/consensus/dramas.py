"""Stories of losses that go well only because of one rule each; they are told with it, and without it."""

from collections.abc import Callable

from hamgr.raft.core.shrinking import Evidence
from tests.consensus.story import Story

Drama = Callable[[Story], None]
SEEN_S = 4.0


def fly(story: Story) -> None:
    """Put the autopilots to work, with probes that do not err."""
    story.world.autopilots.errs = 0.0
    story.world.autopilots.begin()


def voters(story: Story, name: str) -> str:
    now = story.configuration(name)
    return "".join(host.name for host in story.world.hosts if host.id in now.voter_ids)


def let_go(story: Story, leader: str, target: str, *, silent_s: float = 0.8, **more: object) -> str:
    """Have a leader give a voter up; return what it answers."""
    answers: list[str] = []

    def ask(_host: object, core: object, _machine: object) -> None:
        given = {
            "failed": ("from here", "from another one"),
            "begun_at": core.now(),  # type: ignore[attr-defined]  # a core; stories treat it as anything
            "silent_s_min": silent_s,
        }
        evidence = Evidence(target=story[target].id, **{**given, **more})  # type: ignore[arg-type]  # as above
        answers.append(core.shrinking.let_go(evidence))  # type: ignore[attr-defined]  # as above

    story[leader].call(ask)
    story.until(lambda: answers)
    return answers[0]


def two_halves_of_which_one_was_led_before(story: Story) -> None:
    """`a` led, and `b` leads now: when they are parted, the half of `b` goes on, and only that."""
    story.elect_by_transfer("a", "b")
    story.writes("a", 1)
    story.run(0.5)
    fly(story)
    story.split("ad", "bc")
    story.until(lambda: story.leads("b") and len(voters(story, "b")) == 3, seconds=SEEN_S)
    refused = story.write("a")
    story.writes("b", 2)
    story.run(SEEN_S)
    assert (story.leaders(), refused.answered) == ("b", False)
    story.heal()
    story.until(lambda: refused.answered)


def who_comes_back_is_of_use(story: Story) -> None:
    """`b` and `c` die at once; when `c` comes back, `a` and `c` are a majority again."""
    story["b"].kill()
    story["c"].kill()
    story.until(lambda: not story.leaders())
    story.run(2.0)
    refusal = let_go(story, "a", "c")
    story.run(1.0)
    story["c"].start()
    story.until(story.leaders, seconds=3.0)
    assert "no majority" in refusal


def a_change_in_a_term_that_was_only_begun(story: Story) -> None:
    """Ongaro's example, with voters that are let go: `a` has one such change alone, `b` wants another one."""
    story.split("a", "bcd")
    story.change("a", story.configuration("a").demoted(story["d"].id))
    story.run(0.01)

    def elected() -> bool:
        for name in "cd":
            core = story[name].core
            if core is not None:
                core.election.deferred(story[name]._clock())
        return story.leads("b")

    story.world.schedule.run_while(lambda: not elected(), seconds_max=5.0, look_every_s=0.0001)
    story["c"].kill()  # it has voted for `b`, and has nothing of its term
    story.run(0.05)
    refusal = let_go(story, "b", "a", silent_s=0.0)
    write = story.write("b")
    story.run(0.5)
    story.heal()
    story.split("ac", "bd")
    story["c"].start()
    story.run(2.0)
    story.heal()
    story.until(lambda: write.answered)
    story.until(lambda: story.is_on(write, *"abcd"))
    assert "a moment ago" in refusal
