"""Moves of the address as events: one for each, from whoever took it, and never a storm of them."""

from types import SimpleNamespace

import pytest

from hamgr.jobs.proposer import NotInCharge
from hamgr.raft.port import Leadership, OutcomeUnknown
from hamgr.vip.herald import EVERY_S, SETTLE_S, Herald
from hamgr.vip.moves import Move
from statemachine.model import Event

WHAT = "10.0.0.5/24 on eth0"


class Rig:
    """Holder, replica and clock in one."""

    def __init__(self) -> None:
        self.name = "r2"
        self.move: Move | None = None
        self.now = 100.0
        self.told: list[tuple[str, str]] = []
        self.error: Exception | None = None
        self.state = SimpleNamespace(events=())
        self.leads(True)
        self.herald = Herald(self, self, what=WHAT, tell=self.tell, now=lambda: self.now)

    def leads(self, leads: bool) -> None:
        self.leadership = Leadership(term=1, leader="r2" if leads else "r1", leads=leads)

    def moves(self, *, held: bool, why: str = "it was elected") -> None:
        number = 1 if self.move is None else self.move.number + 1
        self.move = Move(number=number, at=self.now, held=held, why=why)

    async def tell(self, kind: str, message: str) -> None:
        if self.error:
            raise self.error
        self.told.append((kind, message))

    async def look(self, *, after_s: float = 0.0) -> list[tuple[str, str]]:
        """Return what is told when it looks."""
        self.now += after_s
        self.told.clear()
        await self.herald.look()
        return list(self.told)


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_a_replica_that_takes_the_address_says_so_once_and_names_who_had_it(rig: Rig) -> None:
    assert await rig.look() == []
    rig.state.events = tuple(
        Event(index=n, part=0, at=1.0, kind=kind, subject=subject, message="")
        for n, (kind, subject) in enumerate(
            [("replica.vip-taken", "r3"), ("replica.vip-taken", "r1"), ("replica.let-go", "r3")]
        )
    )
    rig.moves(held=True)
    assert await rig.look() == [("vip-taken", f"r2 has {WHAT}: it was elected; before, r1 had it")]
    assert await rig.look(after_s=60.0) == []


async def test_a_replica_that_no_longer_leads_leaves_it_to_its_successor(rig: Rig) -> None:
    rig.moves(held=True)
    assert await rig.look()
    rig.moves(held=False)
    rig.leads(False)
    assert await rig.look(after_s=60.0) == []
    rig.leads(True)
    assert await rig.look(after_s=60.0) == []


async def test_an_address_that_is_back_at_once_is_one_event_with_the_reason(rig: Rig) -> None:
    rig.moves(held=True)
    await rig.look()
    rig.now += EVERY_S
    rig.moves(held=False, why="no majority was heard of")
    assert await rig.look(after_s=0.1) == []
    rig.moves(held=True, why="it had let it go, since no majority was heard of")
    assert await rig.look(after_s=1.0) == [
        ("vip-taken", f"r2 has {WHAT}: it had let it go, since no majority was heard of")
    ]


async def test_an_address_that_does_not_come_back_is_told_of_with_the_reason(rig: Rig) -> None:
    rig.moves(held=True)
    await rig.look()
    rig.now += EVERY_S
    rig.moves(held=False, why="the watchdog has ended")
    assert await rig.look(after_s=SETTLE_S - 0.1) == []
    assert await rig.look(after_s=0.2) == [("vip-dropped", f"r2 let {WHAT} go: the watchdog has ended")]


async def test_an_address_that_comes_and_goes_makes_few_events_that_count_the_rest(rig: Rig) -> None:
    told = []
    for _ in range(50):
        rig.moves(held=True)
        told += await rig.look(after_s=0.2)
        rig.moves(held=False)
        told += await rig.look(after_s=0.2)
    assert len(told) == 2
    rig.moves(held=True)
    ((kind, message),) = await rig.look(after_s=EVERY_S)
    assert kind == "vip-taken"
    assert message.endswith("times more since the last word")


@pytest.mark.parametrize("error", [NotInCharge(), OutcomeUnknown("no answer")])
async def test_what_nobody_could_be_told_of_is_not_repeated(rig: Rig, error: Exception) -> None:
    rig.moves(held=True)
    rig.error = error
    assert await rig.look() == []
    rig.error = None
    assert await rig.look(after_s=60.0) == []


async def test_a_holder_that_does_not_know_yet_that_it_leads_tells_as_soon_as_it_does(rig: Rig) -> None:
    rig.leads(False)
    rig.moves(held=True)
    assert await rig.look() == []
    rig.leads(True)
    assert len(await rig.look()) == 1
