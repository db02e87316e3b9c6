"""The rules of presence in virtual time: thousands of stories, the laws, and what must break them."""

from typing import Any

import pytest

from hamgr.presence.judge import Judge, Rules, Subject
from statemachine.words import NodeName, Presence
from tests.hamgr.presence.storm import storm
from tests.hamgr.presence.world import DETECTED_S, Broken, World

N = NodeName("n0")
SEEDS = 150


def names(count: int) -> list[NodeName]:
    return [NodeName(f"n{i}") for i in range(count)]


def storms(count: int, **altered: Any) -> None:
    for seed in range(count):
        storm(seed, **altered)


@pytest.mark.parametrize("first", range(0, SEEDS, 50))
def test_the_laws_hold_whatever_happens(first: int) -> None:
    for seed in range(first, first + 50):
        storm(seed)


def test_without_a_second_vantage_somebody_is_called_unreachable_who_is_not() -> None:
    with pytest.raises(Broken, match="reaches it"):
        storms(SEEDS, lonely=True)


def test_with_more_patience_than_that_the_dead_are_found_too_late() -> None:
    with pytest.raises(Broken, match="is dead for"):
        storms(SEEDS, rules=Rules(misses_first=8, misses_alone=12))


def test_a_quiet_fleet_costs_no_entry_of_the_log_and_one_probe_a_node_and_interval() -> None:
    world = World(seed=1, nodes=50)
    world.run(60.0)
    assert world.entries == []
    assert world.asked <= 50 * (60 / 2.5 + 2)


def test_a_lost_probe_now_and_then_is_not_told() -> None:
    world = World(seed=1, nodes=50, loss=0.02)
    world.run(300.0)
    assert world.entries == []


def test_a_host_that_one_replica_cannot_reach_stays_reachable() -> None:
    world = World(seed=1)
    for name in world.subjects:
        world.cut("r1", name)
    world.run(120.0)
    assert world.entries == []


def test_a_replica_that_sees_nothing_is_not_asked_about_it_again_at_once() -> None:
    world = World(seed=1, nodes=30)
    for name in world.subjects:
        world.cut("r1", name)
    world.run(20.0)
    before = world.asked
    world.run(30.0)
    assert world.asked - before <= 30 * (30 / 2.5 + 2)


@pytest.mark.parametrize("place", ["machine 10.0.0.2:22", "another 10.0.0.1:22"])
def test_what_was_missed_of_a_node_tells_nothing_of_it_elsewhere_or_of_who_has_its_name_next(
    place: str,
) -> None:
    here = {N: Subject(presence=Presence.REACHABLE, place="machine 10.0.0.1:22")}
    there = {N: Subject(presence=Presence.REACHABLE, place=place)}

    def missed(judge: Judge, subjects: dict[NodeName, Subject], now: float) -> list[Presence]:
        asked = judge.asks(now, subjects, ["r1", "r2", "r3"], alone=False)
        judge.take(now, asked, {one: dict.fromkeys(nodes, "refused") for one, nodes in asked.items()})
        return [verdict.presence for verdict in judge.verdicts(now)]

    stays, moves = Judge(Rules()), Judge(Rules())
    for judge in (stays, moves):
        assert missed(judge, here, 10.0) == missed(judge, here, 20.0) == []
    assert missed(stays, here, 30.0) == [Presence.UNREACHABLE]
    assert missed(moves, there, 30.0) == []
    assert moves.moved(here) == {N}, "what is on its way is of the former place too"
    assert moves.verdicts(30.0) == []


def test_the_reason_names_who_has_missed_it_and_how_often() -> None:
    world = World(seed=1)
    world.die(N)
    world.run(DETECTED_S)
    ((verdict,),) = world.entries
    assert verdict.presence is Presence.UNREACHABLE
    assert verdict.reason.startswith("no answer to 3 probes from r")
    assert " and 2 from r" in verdict.reason
    assert "(no connection)" in verdict.reason


def test_the_death_of_half_of_the_fleet_is_one_entry() -> None:
    for tenth in range(35):
        world = World(seed=tenth, nodes=100)
        world.run(10.0 + tenth / 10)
        world.die(*names(50))
        world.run(DETECTED_S)
        assert [len(entry) for entry in world.entries] == [50]


def test_a_loss_that_is_met_in_two_rounds_is_one_entry_too() -> None:
    for tenth in range(35):
        world = World(seed=1, nodes=100)
        later = {name: world.subjects.pop(name) for name in names(25)}
        world.run(4.0)
        world.subjects.update(later)  # from now on they are asked in rounds of their own
        world.run(6.0 + tenth / 10)
        world.die(*names(50))
        world.run(DETECTED_S)
        assert [len(entry) for entry in world.entries] == [50]


def test_a_node_that_a_job_is_at_work_on_is_suspect_at_most_and_the_job_is_named() -> None:
    world = World(seed=1)
    world.change(N, job="j-7")
    world.die(N)
    world.run(60.0)
    ((verdict,),) = world.entries
    assert verdict.presence is Presence.SUSPECT
    assert "job j-7 is at work on it" in verdict.reason
    world.change(N, job="")
    world.run(DETECTED_S)
    assert world.subjects[N].presence is Presence.UNREACHABLE


def test_a_node_whose_own_replica_is_connected_is_suspect_at_most() -> None:
    world = World(seed=1)
    world.change(N, replica="r9", replica_up=True)
    world.die(N)
    world.run(60.0)
    ((verdict,),) = world.entries
    assert verdict.presence is Presence.SUSPECT
    assert verdict.reason.endswith("its own replica r9 is connected")
    world.change(N, replica_up=False)
    world.run(DETECTED_S)
    assert world.entries[-1][0].reason.endswith("its own replica r9 is gone too")


def test_a_node_in_maintenance_is_told_as_that() -> None:
    world = World(seed=1)
    world.change(N, cordon="new disk")
    world.die(N)
    world.run(DETECTED_S)
    assert world.entries[0][0].reason.endswith("it is in maintenance: new disk")


def test_with_no_second_replica_to_ask_a_node_is_suspect_and_with_none_at_all_it_is_unreachable() -> None:
    world = World(seed=1, replicas=("r1", "r2"))
    world.away["r2"] = float("inf")
    world.die(N)
    world.dead[N] = float("inf")
    world.run(30.0)
    assert world.subjects[N].presence is Presence.SUSPECT
    assert world.subjects[N].reason.endswith("no other replica could be asked")
    world.gone.add("r2")
    world.run(10.0)
    assert world.subjects[N].presence is Presence.UNREACHABLE


def test_who_comes_and_goes_has_to_stay_longer_each_time() -> None:
    world = World(seed=1)
    waits = []
    for _ in range(5):
        world.die(N)
        while world.subjects[N].presence is not Presence.UNREACHABLE:
            world.round()
        world.live(N)
        began = world.now
        while world.subjects[N].presence is not Presence.REACHABLE:
            world.round()
        waits.append(world.now - began)
    assert waits[0] < 6.0
    assert waits[2] > waits[0] + 4.0
    assert waits[4] > waits[2]


def test_one_that_answers_every_second_time_is_suspect_until_it_has_answered_for_a_while() -> None:
    world = World(seed=1)
    for _ in range(30):
        for vantage in world.replicas:
            world.cut(vantage, N)
        world.round()
        for vantage in world.replicas:
            world.mend(vantage, N)
        world.round()
    assert world.subjects[N].presence is Presence.SUSPECT
    assert "of its last 10 rounds" in world.subjects[N].reason
    assert len(world.entries) == 1
    world.run(30.0)
    assert world.subjects[N].presence is Presence.REACHABLE


def test_a_stranger_at_the_address_of_a_node_is_told_once_and_does_not_bring_it_back() -> None:
    world = World(seed=1)
    world.die(N)
    world.run(DETECTED_S)
    denied = world.judge.deny(world.now, N, "another machine answers")
    assert denied is not None
    assert (denied.was, denied.presence) == (Presence.UNREACHABLE, Presence.UNREACHABLE)
    world.change(N, reason=denied.reason)
    world.round()
    assert world.judge.deny(world.now, N, "another machine answers") is None
    world.live(N)
    world.alive.clear()
    for _ in range(20):
        world.round()
    assert world.subjects[N].presence is Presence.UNREACHABLE


def test_a_replica_that_goes_moves_only_its_own_nodes() -> None:
    world = World(seed=1, nodes=300)
    before = world.judge.asks(0.0, world.subjects, ["r1", "r2", "r3"], alone=False)
    after = World(seed=1, nodes=300).judge.asks(0.0, world.subjects, ["r1", "r2"], alone=False)
    assert all(60 <= len(found) <= 140 for found in before.values())
    assert set(before["r1"]) <= set(after["r1"])
    assert set(before["r2"]) <= set(after["r2"])
