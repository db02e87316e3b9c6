"""A cluster begins again: nothing of the old one is done twice, obeyed, or taken for the new one's."""

import dataclasses
import re

import pytest

from backends.memory.node import MemoryNode
from backends.ports import StaleEpoch
from statemachine import codec
from statemachine.cluster import generations
from statemachine.cluster.generations import EPOCHS, GENERATIONS_MAX, INDEXES, LOTS, STEP, count_of
from statemachine.commands import CancelJob, ResumeJob
from statemachine.jobs import upkeep
from statemachine.model import EPOCH_MAX, Debt, State
from statemachine.rollout import HoldKind
from statemachine.schedule import Schedule
from statemachine.why.jobs import why_job
from statemachine.words import JobId, JobKind, NodeName
from tests.statemachine.fleet import AT, Fleet, component, digest, manifest


def under_way(fleet: Fleet) -> str:
    """Begin a job on a, with b still to come; return its name."""
    fleet.bundle(1, manifest(component("app"), roles={"web": ()}))
    fleet.in_service("a", "b")
    job = fleet.submit(JobKind.VERIFY, "a", "b", max_parallel=1)
    fleet.claim(job, "a")
    fleet.start(job, "a")
    return job


def with_a() -> State:
    """Return a state with the node a in service."""
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app"), roles={"web": ()}))
    fleet.in_service("a")
    return fleet.state


def begun(state: State, cluster: str) -> State:
    return generations.begin(state, cluster=cluster, source="recovered from r2", at=AT, actor="operator")


def reborn(fleet: Fleet, cluster: str = "b0edf660") -> None:
    before = fleet.state
    fleet.state = begun(before, cluster)
    assert count_of(fleet.state.generation) == count_of(before.generation) + 1
    assert codec.decode_state(codec.encode_state(fleet.state)) == fleet.state


def test_epochs_and_indexes_are_beyond_all_that_was_lost() -> None:
    fleet = Fleet()
    job = under_way(fleet)
    before = fleet.node("a")
    reborn(fleet)
    assert fleet.node("a").epoch > before.epoch + EPOCHS
    epoch = fleet.node("a").epoch
    assert fleet.node("a").index >= before.index + INDEXES
    assert fleet.state.index >= INDEXES
    fleet.accept(ResumeJob, job=job)
    assert fleet.claim(job, "a") == epoch + 1
    assert fleet.state.events[-1].index == fleet.state.index


def test_what_was_under_way_waits_for_an_operator_even_where_it_had_begun() -> None:
    fleet = Fleet()
    job = under_way(fleet)
    assert fleet.due(job) == ["a"]
    reborn(fleet)
    assert fleet.due(job) == []
    fleet.stale_claim(job, "a")
    fleet.stale_claim(job, "b")
    hold = fleet.job(job).holds[-1]
    assert (hold.kind, hold.reason) == (
        HoldKind.REBORN,
        "recovered from r2; what it did since is not known here",
    )
    causes = why_job(fleet.state, fleet.job(job), AT)
    assert any(f"hamgr job resume {job}" in cause.way_out for cause in causes)


def test_a_job_that_is_resumed_asks_for_the_attempt_that_was_announced() -> None:
    fleet = Fleet()
    job = under_way(fleet)
    owed = fleet.step_due(job, "a")
    reborn(fleet)
    fleet.accept(ResumeJob, job=job)
    assert fleet.due(job) == ["a"]
    fleet.claim(job, "a")
    again = fleet.step_due(job, "a")
    assert owed is not None
    assert again is not None
    assert (again.key, again.attempt, again.launched_at) == (owed.key, owed.attempt, owed.launched_at)
    fleet.finish(job, "a")
    fleet.drive(job, "b")
    assert fleet.job(job).state == "succeeded"


def test_a_job_that_is_cancelled_ends() -> None:
    fleet = Fleet()
    job = under_way(fleet)
    reborn(fleet)
    fleet.accept(CancelJob, job=job)
    assert fleet.due(job) == ["a"]
    assert fleet.claim(job, "a") > EPOCHS


def test_jobs_have_names_that_the_old_cluster_never_gave() -> None:
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app"), roles={"web": ()}))
    fleet.in_service("a")
    first = fleet.submit(JobKind.VERIFY, "a")
    fleet.drive(first)
    reborn(fleet)
    second = fleet.submit(JobKind.VERIFY, "a")
    fleet.drive(second)
    reborn(fleet)
    third = fleet.submit(JobKind.VERIFY, "a")
    number = int(first.removeprefix("j-"))
    named = re.compile(r"j([123])\d{6}-(\d+)")
    assert [named.fullmatch(job).groups() for job in (second, third)] == [  # type: ignore[union-attr]  # no match fails, too
        ("1", str(number + 1)),
        ("2", str(number + 2)),
    ]


@pytest.mark.parametrize("generation", [GENERATIONS_MAX, GENERATIONS_MAX * STEP + 7])
def test_there_is_an_end_to_generations_before_there_is_one_to_epochs(generation: int) -> None:
    last = dataclasses.replace(State(), generation=generation)
    with pytest.raises(generations.TooManyGenerations):
        begun(last, "x")
    assert (GENERATIONS_MAX + 1) * EPOCHS <= EPOCH_MAX


def test_two_that_begin_from_one_backup_are_strangers_to_each_other() -> None:
    backup = Fleet()
    under_way(backup)
    names, epochs, indexes, numbers = set(), [], set(), set()
    for cluster in ("b0edf660-f706-4072-a262-7645c8a6edd9", "fda36dcd-1e61-44e3-937b-a7bf8477a18b"):
        one = Fleet()
        one.state = begun(backup.state, cluster)
        names.add(one.submit(JobKind.VERIFY, "b"))
        epochs.append(one.node("a").epoch)
        indexes.add(one.state.index)
        numbers.add(one.state.generation)
    assert len(names) == len(indexes) == len(numbers) == 2
    assert abs(epochs[0] - epochs[1]) > 1_000_000  # claims of the lower one, before they meet
    assert begun(backup.state, "x") == begun(backup.state, "x")


def test_a_node_that_obeyed_the_one_refuses_the_other_whose_lot_is_lower() -> None:
    backup = Fleet()
    under_way(backup)
    higher, lower = sorted(
        (begun(backup.state, cluster).nodes[NodeName("a")].epoch for cluster in ("one", "other")),
        reverse=True,
    )
    node = MemoryNode("a")
    node.fence(lower + 1, job="j-1", now=AT)
    node.fence(higher + 1, job="j-1", now=AT)
    with pytest.raises(StaleEpoch):
        node.fence(lower + 1_000, job="j-2", now=AT)
    assert node.epoch == higher + 1


def test_a_later_generation_is_obeyed_whatever_the_lots() -> None:
    state = with_a()
    clusters = [f"cluster-{number}" for number in range(50)]
    firsts = [begun(state, cluster) for cluster in clusters]
    highest = max(one.nodes[NodeName("a")].epoch for one in firsts)
    lowest = min(firsts, key=lambda one: one.nodes[NodeName("a")].epoch)
    seconds = [begun(lowest, cluster) for cluster in clusters]
    assert min(one.nodes[NodeName("a")].epoch for one in seconds) > highest + LOTS
    assert min(one.generation for one in seconds) > max(one.generation for one in firsts)
    assert min(one.index for one in seconds) > max(one.index for one in firsts)


@pytest.mark.parametrize("epoch", [0, EPOCHS - 1, EPOCHS, 7 * EPOCHS + 5, 8 * EPOCHS - 1])
def test_epochs_are_raised_far_whatever_a_node_said_that_it_had_seen(epoch: int) -> None:
    state = with_a()
    node = dataclasses.replace(state.nodes[NodeName("a")], epoch=epoch)
    state = dataclasses.replace(state, nodes={node.name: node}, generation=3)
    assert begun(state, "x").nodes[node.name].epoch >= epoch + LOTS


def test_what_an_older_version_began_goes_on_with_the_next_number() -> None:
    old = dataclasses.replace(Fleet().state, generation=3)
    assert begun(old, "x").generation // STEP == 4


def test_nothing_begins_by_itself_debts_and_schedules_wait_for_an_operator() -> None:
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app"), roles={"web": ()}))
    fleet.in_service("a")
    owing = dataclasses.replace(fleet.node("a"), debt=Debt(job=JobId("j-1"), bundle=digest(1), since=AT))
    nightly = Schedule(
        name="nightly", cron="0 2 * * *", zone="UTC", request=b"", kind=JobKind.VERIFY, author="ann",
        since=AT, next_at=AT + 60.0,
    )  # fmt: skip
    resting = dataclasses.replace(nightly, name="resting", paused="ann paused it")
    fleet.state = dataclasses.replace(
        fleet.state, nodes={owing.name: owing}, schedules={one.name: one for one in (nightly, resting)}
    )
    assert {type(duty) for duty in upkeep.duties(fleet.state)} == {upkeep.DebtsDue, upkeep.ScheduleDue}
    reborn(fleet)
    assert upkeep.duties(fleet.state) == ()
    debt = fleet.node("a").debt
    assert debt is not None
    assert debt.error == "recovered from r2"
    assert fleet.state.schedules["nightly"].paused == "recovered from r2"
    assert fleet.state.schedules["resting"].paused == "ann paused it"
