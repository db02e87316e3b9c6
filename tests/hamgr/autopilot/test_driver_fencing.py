"""The driver where two voters can fence each other: who is switched off, when, and what follows."""

import dataclasses

import pytest

from hamgr.fencing.port import Verdict
from hamgr.raft.core.pair import Watch
from hamgr.raft.port import Leadership
from hamgr.raft.protocol.membership import ChangeRefused
from statemachine.electorate import Electorate, ReplicaWish
from tests.hamgr.autopilot.test_driver import IDS, MEMBERS, Rig, roll_of


class Pair(Rig):
    """As `Rig`, with a fence that takes notes."""

    def __init__(self) -> None:
        super().__init__()
        self.verdict = Verdict(ok=True, words="off ended with 0")
        self.refusal_to_go_on = ""
        self.seen: Watch | None = Watch(at=100.0, term=1, leader=MEMBERS["b"], silent_s=12.0, refusal="")
        self.pilot._fence = self

    async def off(self, member):
        self.asked.append(f"off {member.name}")
        return self.verdict

    async def status(self, member):
        raise AssertionError(member)

    async def arm(self, armed, *, timeout_s):
        self._do(("arm", armed))

    async def watch(self, *, timeout_s):
        return self.seen

    async def take_over(self, evidence, *, timeout_s):
        if self.refusal_to_go_on:
            raise ChangeRefused(self.refusal_to_go_on)
        self._do(evidence)

    def follows(self) -> None:
        self.roll = None
        self.leadership = Leadership(term=1, leader="b", leads=False)


@pytest.fixture
def pair() -> Pair:
    return Pair()


def armed(**more):
    roll = roll_of(voters="ab", **more)
    return dataclasses.replace(roll, configuration=roll.configuration.with_fencing(True), armable=True)


async def test_two_that_are_able_are_armed_and_watchers_hear_of_it(pair: Pair) -> None:
    pair.roll = dataclasses.replace(roll_of(voters="ab", alive="ab"), armable=True)
    await pair.pilot.look()
    assert pair.done == [("arm", True)]
    assert pair.told == ["fencing is armed with b: each of the two can fence the other one"]


async def test_a_leader_switches_the_dead_one_off_before_it_lets_it_go(pair: Pair) -> None:
    pair.roll = armed(alive="a", leads=False)
    await pair.pilot.look()
    (evidence,) = pair.done
    assert (evidence.target, evidence.fenced, evidence.begun_at) == (IDS["b"], True, 100.0)
    assert pair.asked[-1] == "off b"
    assert "off ended with 0" in pair.told[0]


async def test_a_leader_whose_command_fails_lets_nobody_go_and_does_not_hurry(pair: Pair) -> None:
    pair.roll = armed(alive="a", leads=False)
    pair.verdict = Verdict(ok=False, words="no route to host")
    await pair.pilot.look()
    await pair.pilot.look()
    assert (pair.done, pair.told) == ([], [])
    assert pair.asked.count("off b") == 1


async def test_a_follower_goes_on_when_its_leader_is_dead_and_switched_off(pair: Pair) -> None:
    pair.follows()
    await pair.pilot.look()
    (evidence,) = pair.done
    assert (evidence.target, evidence.fenced, evidence.begun_at) == (IDS["b"], True, 100.0)
    assert pair.told[0].startswith("b lost its vote: silent for 12 s")


@pytest.mark.parametrize(
    "seen",
    [
        None,
        Watch(at=100.0, term=1, leader=MEMBERS["b"], silent_s=9.0, refusal=""),
        Watch(at=100.0, term=1, leader=MEMBERS["b"], silent_s=12.0, refusal="it may lack something"),
    ],
)
async def test_a_follower_fences_nobody_unless_it_could_go_on(pair: Pair, seen: Watch | None) -> None:
    pair.follows()
    pair.seen = seen
    await pair.pilot.look()
    assert pair.done == []
    assert "off b" not in pair.asked


async def test_a_leader_that_answers_a_probe_or_rests_as_planned_is_not_switched_off(pair: Pair) -> None:
    pair.follows()
    pair.answers, both = pair.answers[:1], pair.answers
    await pair.pilot.look()
    pair.answers = both
    pair.state.electorate = Electorate(replicas={"b": ReplicaWish(rest_until=1001.0)})
    await pair.pilot.look()
    assert pair.done == []
    assert "off b" not in pair.asked


async def test_a_follower_that_may_not_go_on_after_all_says_nothing_to_watchers(pair: Pair) -> None:
    pair.follows()
    pair.refusal_to_go_on = "b was heard of 0.1 s ago"
    await pair.pilot.look()
    assert (pair.done, pair.told) == ([], [])


async def test_without_a_command_a_follower_is_asked_for_nothing(pair: Pair) -> None:
    pair.follows()
    pair.pilot._fence = None
    await pair.pilot.look()
    assert pair.asked == []
