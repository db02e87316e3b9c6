"""Questions about the members whose answers come late, and wishes that somebody else has fulfilled."""

from types import SimpleNamespace

import pytest

from hamgr.raft.members import Members
from hamgr.raft.port import Leadership, OutcomeUnknown
from hamgr.raft.protocol.membership import Configuration, Member, ReplicaId

ONE, TWO = (
    Member(id=ReplicaId(f"00000000-0000-4000-8000-00000000000{i}"), name=name, raft=f"127.0.0.1:700{i}")
    for i, name in enumerate("ab")
)


class SlowEngine:
    """Takes requests, and turns only when told to."""

    def __init__(self) -> None:
        self.requests = []
        self.answers = []
        self.core = SimpleNamespace(
            configuration=Configuration((ONE,), (TWO,)),
            configuration_index=1,
            commit=1,
            term=1,
            leads=True,
            log=SimpleNamespace(term_at=lambda _index: 1),
            lag=lambda _replica: 0,
            change=lambda _after, answer: self.answers.append(answer),
            shrinking=SimpleNamespace(roll_call=lambda: None),
        )
        self.consensus = SimpleNamespace(
            settings=SimpleNamespace(me="nobody"),
            core=self.core,
            leadership=Leadership(term=1, leader="a", leads=True),
        )
        self.ask = self.requests.append

    def turn(self) -> None:
        while self.requests:
            self.requests.pop(0)(self.core)


async def test_a_roll_call_that_nobody_waits_for_is_dropped() -> None:
    engine = SlowEngine()
    with pytest.raises(OutcomeUnknown):
        await Members(engine).roll_call(timeout_s=0.01)
    engine.turn()


async def test_a_change_that_is_committed_after_its_asker_gave_up_stops_no_replica() -> None:
    engine = SlowEngine()
    with pytest.raises(OutcomeUnknown):
        await Members(engine).promote(TWO.id, timeout_s=0.01)
    engine.turn()
    for answer in engine.answers:
        answer("")
    assert len(engine.answers) == 1


@pytest.mark.parametrize("wish", ["promote", "demote"])
async def test_what_somebody_else_did_meanwhile_is_as_good_as_done(wish) -> None:
    engine = SlowEngine()
    engine.ask = lambda request: request(engine.core)
    replica = ONE.id if wish == "promote" else TWO.id
    await getattr(Members(engine), wish)(replica, timeout_s=1.0)
    assert engine.answers == []
