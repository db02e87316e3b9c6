"""The faults that the memory cluster can play, on a loop where waiting costs nothing."""

import asyncio
import time

import pytest

from hamgr.raft import memory
from hamgr.raft.memory import Fault, MemoryCluster, Verdict
from hamgr.raft.port import NoLeader, NotCommitted, OutcomeUnknown
from statemachine import codec
from statemachine.outcomes import Accepted
from tests.hamgr.raft import kit

NAMES = ("a", "b", "c")


class HurriedLoop(asyncio.SelectorEventLoop):
    """Skips to the next timer whenever nothing else is to be done."""

    skipped_s = 0.0

    def time(self) -> float:
        return super().time() + self.skipped_s

    def _run_once(self) -> None:
        timers = [timer.when() for timer in self._scheduled if not timer.cancelled()]
        if timers and not self._ready:
            self.skipped_s += max(0.0, min(timers) - self.time())
        super()._run_once()


def run(scenario) -> None:
    """Run `scenario(cluster, a, b, c)` on a started cluster of three that `a` leads."""

    async def main() -> None:
        cluster = MemoryCluster(NAMES)
        for name in NAMES:
            await cluster.replica(name).start()
        assert cluster.leader == "a"
        await scenario(cluster, *map(cluster.replica, NAMES))

    begun = time.monotonic()
    with asyncio.Runner(loop_factory=HurriedLoop) as runner:
        runner.run(main())
    assert time.monotonic() - begun < 60.0


def digests(cluster) -> set[str]:
    return {codec.state_digest(cluster.replica(name).state) for name in cluster.names()}


def play(verdict: Verdict, delay_s: float = 0.0):
    """A fault hook that plays one fault on the first proposal, and none after it."""
    faults = [Fault(verdict=verdict, delay_s=delay_s)]
    return lambda _name, _command: faults.pop() if faults else Fault()


def test_a_lost_answer_leaves_the_command_committed_and_a_repeat_learns_the_outcome():
    async def scenario(cluster, a, b, c):
        cluster.fault = play(Verdict.LOSE_ANSWER)
        with pytest.raises(OutcomeUnknown):
            await b.propose(kit.add_node("n"), timeout_s=5)
        assert "n" in c.state.nodes
        assert await b.propose(kit.add_node("n"), timeout_s=5) == Accepted(index=1, ref="n")
        assert len(c.state.events) == 1

    run(scenario)


def test_a_dropped_command_never_takes_effect_until_it_is_sent_again():
    async def scenario(cluster, a, b, c):
        cluster.fault = play(Verdict.DROP)
        with pytest.raises(OutcomeUnknown):
            await b.propose(kit.add_node("n"), timeout_s=5)
        assert cluster.length == 0
        await b.propose(kit.add_node("n"), timeout_s=5)
        assert "n" in a.state.nodes

    run(scenario)


def test_a_refused_command_never_takes_effect():
    async def scenario(cluster, a, b, c):
        cluster.fault = play(Verdict.REFUSE)
        with pytest.raises(NotCommitted):
            await a.propose(kit.add_node("n"), timeout_s=5)
        assert cluster.length == 0
        assert not a.state.nodes

    run(scenario)


def test_a_command_that_is_delayed_beyond_its_time_is_known_not_to_be_committed():
    async def scenario(cluster, a, b, c):
        cluster.fault = play(Verdict.COMMIT, delay_s=3600)
        with pytest.raises(NotCommitted):
            await a.propose(kit.add_node("n"), timeout_s=1800)
        await asyncio.sleep(7200)
        assert cluster.length == 0
        cluster.fault = play(Verdict.COMMIT, delay_s=3600)
        begun = asyncio.get_running_loop().time()
        await a.propose(kit.add_node("n"), timeout_s=7200)
        assert asyncio.get_running_loop().time() - begun >= 3600

    run(scenario)


def test_a_crashed_replica_applies_nothing_and_replays_the_log_when_it_is_back():
    async def scenario(cluster, a, b, c):
        await a.propose(kit.add_node("n"), timeout_s=5)
        cluster.crash("c")
        pending = c.state
        await a.propose(kit.add_node("m"), timeout_s=5)
        assert c.state is pending
        with pytest.raises(NotCommitted):
            await c.propose(kit.add_node("o"), timeout_s=5)
        cluster.restart("c")
        assert sorted(c.state.nodes) == ["m", "n"]
        assert len(digests(cluster)) == 1

    run(scenario)


def test_a_crashed_leader_is_replaced_in_a_new_term_and_waiters_are_woken():
    async def scenario(cluster, a, b, c):
        term, version = c.leadership.term, c.version
        cluster.crash("a")
        assert cluster.leader == "b"
        assert c.leadership.leader == "b"
        assert c.leadership.term == term + 1
        assert await asyncio.wait_for(c.changed(version), 5) > version
        cluster.restart("a")
        assert a.leadership == c.leadership

    run(scenario)


def test_an_isolated_leader_believes_in_itself_and_commits_nothing():
    async def scenario(cluster, a, b, c):
        cluster.isolate("a")
        assert a.leadership.leads
        assert b.leadership.leads
        assert b.leadership.term > a.leadership.term
        with pytest.raises(OutcomeUnknown):
            await a.propose(kit.add_node("n"), timeout_s=5)
        with pytest.raises(NoLeader):
            await a.read(timeout_s=5)
        await b.propose(kit.add_node("m"), timeout_s=5)
        assert not a.state.nodes
        assert list(c.state.nodes) == ["m"]

    run(scenario)


@pytest.mark.parametrize(("verdict", "nodes"), [(Verdict.COMMIT, ["m", "n"]), (Verdict.DROP, ["m"])])
def test_what_an_isolated_leader_was_told_comes_late_or_never_as_the_fault_says(verdict, nodes):
    async def scenario(cluster, a, b, c):
        cluster.isolate("a")
        cluster.fault = play(verdict)
        with pytest.raises(OutcomeUnknown):
            await a.propose(kit.add_node("n"), timeout_s=5)
        await b.propose(kit.add_node("m"), timeout_s=5)
        cluster.heal("a")
        assert not a.leadership.leads
        assert list(b.state.nodes) == nodes
        assert len(digests(cluster)) == 1

    run(scenario)


def test_what_an_isolated_leader_was_told_dies_with_it():
    async def scenario(cluster, a, b, c):
        cluster.isolate("a")
        with pytest.raises(OutcomeUnknown):
            await a.propose(kit.add_node("n"), timeout_s=5)
        cluster.crash("a")
        cluster.restart("a")
        cluster.heal("a")
        assert cluster.length == 0
        assert not a.state.nodes

    run(scenario)


def test_a_crash_ends_what_is_pending_at_once_even_when_nobody_leads():
    async def scenario(cluster, a, b, c):
        cluster.crash("b")
        cluster.crash("c")
        loop = asyncio.get_running_loop()
        pending = [
            asyncio.ensure_future(a.propose(kit.add_node("n"), timeout_s=600)),
            asyncio.ensure_future(a.read(timeout_s=600)),
        ]
        await asyncio.sleep(1)
        begun = loop.time()
        cluster.crash("a")
        answers = await asyncio.gather(*pending, return_exceptions=True)
        assert list(map(type, answers)) == [NotCommitted, NoLeader]
        assert loop.time() - begun < 60

    run(scenario)


def test_a_proposal_that_waits_through_an_isolation_is_answered_after_it():
    async def scenario(cluster, a, b, c):
        cluster.isolate("c")
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(c.propose(kit.add_node("n"), timeout_s=60))
            reading = group.create_task(c.read(timeout_s=60))
            await asyncio.sleep(30)
            assert cluster.length == 0
            cluster.heal("c")
        assert isinstance(waiting.result(), Accepted)
        assert reading.result().index == 1

    run(scenario)


def test_without_a_majority_nobody_leads_and_nobody_can_be_elected():
    async def scenario(cluster, a, b, c):
        cluster.crash("b")
        cluster.crash("c")
        assert a.leadership.leader == ""
        with pytest.raises(NotCommitted):
            await a.propose(kit.add_node("n"), timeout_s=5)
        with pytest.raises(NoLeader):
            await a.read(timeout_s=5)
        with pytest.raises(ValueError, match="majority"):
            cluster.elect("a")
        assert cluster.length == 0

    run(scenario)


def test_the_cluster_elects_whom_the_test_says():
    async def scenario(cluster, a, b, c):
        cluster.elect("c")
        assert [replica.leadership.leads for replica in (a, b, c)] == [False, False, True]
        cluster.crash("b")
        with pytest.raises(ValueError, match="majority"):
            cluster.elect("b")
        assert cluster.leader == "c"

    run(scenario)


def test_a_replica_that_lags_shows_an_old_state_but_reads_the_new_one():
    async def scenario(cluster, a, b, c):
        cluster.lag_s = lambda name: 10.0 if name == "c" else 0.0
        await a.propose(kit.add_node("n"), timeout_s=60)
        assert not c.state.nodes
        assert "n" in (await c.read(timeout_s=60)).nodes
        cluster.lag_s = lambda name: 10.0
        await c.propose(kit.add_node("m"), timeout_s=60)
        assert "m" in c.state.nodes

    run(scenario)


def test_a_log_that_is_folded_still_brings_a_replica_up_to_date(monkeypatch):
    monkeypatch.setattr(memory, "LOG_ENTRIES_MAX", 64)

    async def scenario(cluster, a, b, c):
        cluster.crash("c")
        for number in range(200):
            await a.propose(kit.set_globals(x=number), timeout_s=5)
        cluster.restart("c")
        assert c.state.globals["x"] == 199
        assert c.applied == cluster.length
        assert len(digests(cluster)) == 1

    run(scenario)
