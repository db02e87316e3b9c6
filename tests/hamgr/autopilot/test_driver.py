"""The driver with hands and probes that only take notes."""

import dataclasses
import logging
from types import SimpleNamespace

import pytest

from hamgr.autopilot.driver import Autopilot
from hamgr.autopilot.record import FALLS_KEPT_S
from hamgr.autopilot.rules import Pace
from hamgr.raft.core.shrinking import RollCall
from hamgr.raft.port import Leadership, NotCommitted, OutcomeUnknown
from hamgr.raft.protocol.membership import ChangeRefused, Configuration, Member, ReplicaId
from statemachine.electorate import Electorate, ReplicaWish
from statemachine.model import Event

IDS = {name: ReplicaId(f"00000000-0000-4000-8000-00000000000{i}") for i, name in enumerate("abcd")}
MEMBERS = {name: Member(id=IDS[name], name=name, raft=f"127.0.0.1:700{i}") for i, name in enumerate("abcd")}


def roll_of(*, voters="abc", learners="", alive="abc", leads=True, at=100.0, silent_s=12.0):
    others = set(voters + learners) - {"a"}
    return RollCall(
        at=at,
        me=IDS["a"],
        term=1,
        leads=leads,
        settled=True,
        configuration=Configuration(
            tuple(MEMBERS[name] for name in voters), tuple(MEMBERS[name] for name in learners)
        ),
        silent_s={IDS[name]: 0.0 if name in alive else silent_s for name in others},
        alive=frozenset(IDS[name] for name in alive),
        lag={IDS[name]: 0 for name in others},
    )


class Rig:
    """Hands, probes, replica and proposer in one."""

    def __init__(self) -> None:
        self.name = "a"
        self.roll = roll_of()
        self.done: list[object] = []
        self.told: list[str] = []
        self.asked: list[str] = []
        self.answers = ("nobody answers at its port", "its API does not answer")
        self.refusal: Exception | None = None
        self.deaf = False
        self.leadership = Leadership(term=1, leader="a", leads=True)
        self.state = SimpleNamespace(electorate=Electorate(), upgrade=None, events=())
        self.pilot = Autopilot(
            pace=Pace(),
            replica=self,
            members=self,
            probes=self,
            proposer=SimpleNamespace(make=lambda command, **fields: (command, fields)),
            clock=SimpleNamespace(now=lambda: 1000.0),
        )

    async def roll_call(self, *, timeout_s):
        self.asked.append("roll call")
        return self.roll

    async def let_go(self, evidence, *, timeout_s):
        self._do(evidence)

    async def promote(self, replica, *, timeout_s):
        self._do(("promote", replica))

    async def demote(self, replica, *, timeout_s):
        self._do(("demote", replica))

    def _do(self, what):
        if self.refusal:
            raise self.refusal
        self.done.append(what)

    async def failed(self, member):
        self.asked.append(member.name)
        return self.answers

    async def close(self):
        self.asked.append("close")

    async def propose(self, command, *, timeout_s):
        if self.deaf:
            raise OutcomeUnknown("no answer")
        self.told.append(command[1]["message"])


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_who_is_dead_is_probed_let_go_and_told_of(rig: Rig) -> None:
    rig.roll = roll_of(alive="ab")
    await rig.pilot.look()
    (evidence,) = rig.done
    assert (evidence.target, evidence.begun_at, evidence.failed) == (IDS["c"], 100.0, rig.answers)
    assert (evidence.silent_s_min, evidence.planned) == (10.0, False)
    assert rig.asked == ["roll call", "c"]
    assert rig.told == [f"c lost its vote: silent for 12 s; {'; '.join(rig.answers)}"]


async def test_nobody_is_probed_who_was_heard_lately(rig: Rig) -> None:
    rig.roll = roll_of(alive="ab", silent_s=9.0)
    await rig.pilot.look()
    assert (rig.asked, rig.done) == (["roll call"], [])


async def test_one_failed_probe_is_not_enough(rig: Rig) -> None:
    rig.roll = roll_of(alive="ab")
    rig.answers = rig.answers[:1]
    await rig.pilot.look()
    assert (rig.done, rig.told) == ([], [])


async def test_planned_absence_is_neither_probed_nor_counted(rig: Rig) -> None:
    rig.roll = roll_of(alive="ab")
    wish = ReplicaWish(rest_until=1001.0)
    rig.state.electorate = Electorate(replicas={"c": wish})
    await rig.pilot.look()
    assert (rig.asked, rig.done) == (["roll call"], [])
    rig.state.electorate = Electorate(replicas={"c": dataclasses.replace(wish, rest_until=999.0)})
    await rig.pilot.look()
    assert len(rig.done) == 1


async def test_a_standby_gets_its_vote_when_it_was_well_for_long_enough(rig: Rig) -> None:
    rig.roll = roll_of(voters="ab", learners="c")
    await rig.pilot.look()
    rig.roll = dataclasses.replace(rig.roll, at=109.0)
    await rig.pilot.look()
    assert rig.done == []
    rig.roll = dataclasses.replace(rig.roll, at=110.5)
    await rig.pilot.look()
    assert rig.done == [("promote", IDS["c"])]


async def test_a_new_term_begins_without_a_memory_of_who_was_well(rig: Rig) -> None:
    rig.roll = roll_of(voters="ab", learners="c")
    await rig.pilot.look()
    rig.roll = dataclasses.replace(rig.roll, at=111.0, term=2)
    await rig.pilot.look()
    assert rig.done == []


def fall(name: str, at: float, index: int, kind: str = "replica.let-go") -> Event:
    return Event(index=index, part=0, at=at, kind=kind, subject=name, message="silent")


async def test_a_new_leader_lets_a_standby_wait_for_falls_that_former_leaders_told_of(rig: Rig) -> None:
    rig.state.events = tuple(fall("c", 900.0 + n, n) for n in range(3))
    rig.roll = roll_of(voters="ab", learners="c", at=5.0)
    await rig.pilot.look()
    rig.roll = dataclasses.replace(rig.roll, at=44.0)
    await rig.pilot.look()
    assert rig.done == []
    rig.roll = dataclasses.replace(rig.roll, at=45.5)
    await rig.pilot.look()
    assert rig.done == [("promote", IDS["c"])]


@pytest.mark.parametrize(
    "events",
    [
        [fall("c", 1000.0 - FALLS_KEPT_S - 1 - n, n) for n in range(3)],
        [fall("b", 900.0, n) for n in range(3)],
        [fall("z", 900.0, n) for n in range(3)],
        [fall("c", 900.0, n, kind="replica.demoted") for n in range(3)],
    ],
    ids=["long ago", "another's", "nobody's", "no falls"],
)
async def test_only_its_own_late_falls_let_a_standby_wait(rig: Rig, events: list[Event]) -> None:
    rig.state.events = tuple(events)
    rig.roll = roll_of(voters="ab", learners="c")
    await rig.pilot.look()
    rig.roll = dataclasses.replace(rig.roll, at=110.5)
    await rig.pilot.look()
    assert rig.done == [("promote", IDS["c"])]


async def test_falls_of_our_own_former_terms_count_once(rig: Rig) -> None:
    rig.roll = roll_of(alive="ab")
    await rig.pilot.look()
    rig.state.events = (fall("c", 1000.0, 1),)
    for term in (2, 3):
        rig.roll = dataclasses.replace(roll_of(voters="ab", learners="c"), at=101.0, term=term)
        await rig.pilot.look()
    assert {one.name: one.falls for one in rig.pilot.view.replicas} == {"a": 0, "b": 0, "c": 1}


async def test_nothing_is_recalled_before_a_new_leader_has_all_of_the_log(rig: Rig) -> None:
    rig.roll = dataclasses.replace(roll_of(voters="ab", learners="c"), settled=False)
    await rig.pilot.look()
    rig.state.events = (fall("c", 990.0, 1),)
    rig.roll = dataclasses.replace(rig.roll, settled=True)
    await rig.pilot.look()
    assert [one.falls for one in rig.pilot.view.replicas if one.name == "c"] == [1]


@pytest.mark.parametrize("refusal", [ChangeRefused("no"), NotCommitted("no"), OutcomeUnknown("no")])
async def test_what_is_refused_or_unknown_is_logged_once_and_told_nobody(rig: Rig, caplog, refusal) -> None:
    rig.roll = roll_of(alive="ab")
    rig.refusal = refusal
    with caplog.at_level(logging.WARNING):
        await rig.pilot.look()
        await rig.pilot.look()
    assert rig.told == []
    assert [line.getMessage() for line in caplog.records] == ["autopilot: could not take the vote of c: no"]


async def test_a_change_stands_although_nobody_hears_of_it(rig: Rig) -> None:
    rig.roll = roll_of(alive="ab")
    rig.deaf = True
    await rig.pilot.look()
    assert len(rig.done) == 1


async def test_a_follower_does_not_even_ask(rig: Rig) -> None:
    rig.leadership = Leadership(term=1, leader="b", leads=False)
    await rig.pilot.look()
    assert (rig.asked, rig.pilot.view) == ([], None)


async def test_who_lost_its_majority_lets_go_and_promotes_nobody(rig: Rig) -> None:
    rig.leadership = Leadership(term=1, leader="", leads=False)
    rig.roll = roll_of(voters="ab", learners="c", alive="a", leads=False)
    await rig.pilot.look()
    (evidence,) = rig.done
    assert evidence.target == IDS["b"]
