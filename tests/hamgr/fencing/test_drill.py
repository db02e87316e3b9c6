"""When the fencing command is tested, and what consensus hears of it."""

from types import SimpleNamespace

import pytest

from hamgr.fencing.drill import Drill
from hamgr.fencing.port import Verdict
from hamgr.fencing.settings import FencingSection
from hamgr.raft.port import NotCommitted
from hamgr.raft.protocol.membership import Configuration, Member, ReplicaId

A, B, C = (
    Member(id=ReplicaId(f"00000000-0000-4000-8000-00000000000{i}"), name=name, raft=f"127.0.0.1:700{i}")
    for i, name in enumerate("abc")
)


class Rig:
    """Fence, replica and members in one."""

    def __init__(self) -> None:
        self.verdict = Verdict(ok=True, words="it is on")
        self.configuration = Configuration((A, B))
        self.peers = [SimpleNamespace(name="b", connected=True), SimpleNamespace(name="c", connected=True)]
        self.tested: list[str] = []
        self.ready: list[bool] = []
        self.events: list[str] = []
        self.deaf = False
        settings = FencingSection(command=("/fence",))
        self.drill = Drill(settings, self, me=A.id, replica=self, members=self, clock=self, tell=self.tell)

    def now(self):
        return 1_700_000_000.0

    async def status(self, member):
        self.tested.append(member.name)
        return self.verdict

    async def may_fence(self, ready, *, timeout_s):
        self.ready.append(ready)

    async def tell(self, kind, _message):
        if self.deaf:
            raise NotCommitted("nobody leads")
        self.events.append(kind)


@pytest.fixture
def rig():
    return Rig()


async def test_the_other_one_of_two_is_tested_once_and_then_counted_on(rig):
    await rig.drill.look()
    await rig.drill.look()
    assert (rig.tested, rig.ready, rig.events) == (["b"], [True, True], ["fencing-tested"])


async def test_another_one_is_tested_anew(rig):
    await rig.drill.look()
    rig.configuration = Configuration((A, C))
    await rig.drill.look()
    assert rig.tested == ["b", "c"]


async def test_who_is_not_connected_is_not_tested_and_not_counted_on(rig):
    rig.peers[0].connected = False
    await rig.drill.look()
    assert (rig.tested, rig.ready) == ([], [False])


async def test_a_test_that_fails_is_told_once_and_nothing_is_counted_on(rig):
    rig.verdict = Verdict(ok=False, words="no route to host")
    await rig.drill.look()
    await rig.drill.look()
    assert (rig.ready, rig.events) == ([False, False], ["fencing-failed"])
    assert "no route to host" in rig.drill.failure


@pytest.mark.parametrize("voters", [(A,), (A, B, C), (B, C)])
async def test_other_electorates_need_no_test(rig, voters):
    rig.configuration = Configuration(voters)
    await rig.drill.look()
    assert (rig.tested, rig.ready) == ([], [False])


async def test_a_test_counts_although_nobody_can_be_told_of_it(rig):
    rig.deaf = True
    await rig.drill.look()
    assert rig.ready == [True]


async def test_an_operator_has_the_other_one_of_two_tested_at_any_time_and_that_counts(rig):
    await rig.drill.look()
    rig.verdict = Verdict(ok=False, words="no route")
    assert await rig.drill.test() == [{"other": "b", "ok": False, "said": "no route"}]
    await rig.drill.look()
    assert (rig.ready, rig.events) == ([True, False], ["fencing-tested", "fencing-failed"])
    view = rig.drill.view()
    assert (view["other"], view["passed_at"]) == ("b", 1_700_000_000.0)
    assert "no route" in view["failure"]


async def test_among_more_than_two_all_are_tested_and_nothing_is_counted_on(rig):
    rig.configuration = Configuration((A, B, C))
    assert [item["other"] for item in await rig.drill.test()] == ["b", "c"]
    await rig.drill.look()
    assert (rig.ready, rig.events, rig.drill.view()["other"]) == ([False], [], None)


async def test_who_is_away_and_cannot_be_switched_off_costs_no_trust_that_a_test_gave(rig):
    await rig.drill.look()
    rig.peers[0].connected = False
    rig.verdict = Verdict(ok=False, words="it is off")
    assert not (await rig.drill.test())[0]["ok"]
    await rig.drill.look()
    assert rig.ready == [True, True]
