"""Whoever does what `pending` says comes to an end, with every node where the lifecycle says it can be."""

from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statemachine.commands import EditNode, RetryJob, RevertJob, SubmitJob
from statemachine.discovery_commands import SubmitDiscovery
from statemachine.jobs import work
from statemachine.lifecycle import IN_SERVICE, UNDERWAY
from statemachine.manifest import Requirement
from statemachine.model import Endpoint, State
from statemachine.outcomes import Accepted
from statemachine.phases import KEEP_STATUS
from statemachine.words import JobId, JobKind, JobState, NodeName, Status, TaskState
from tests.statemachine.chaos import BUNDLES, ROLES, start
from tests.statemachine.driver import Driver, JudgedFleet
from tests.statemachine.fleet import Fleet, component, digest, manifest
from tests.statemachine.strategies import sensible

SEEDS = st.integers(min_value=0, max_value=2**32)
LEAVES = {
    (JobKind.COMMISSION, TaskState.SUCCEEDED): {Status.COMMISSIONED},
    (JobKind.COMMISSION, TaskState.FAILED): {Status.DISCOVERED, Status.QUARANTINED},
    (JobKind.COMMISSION, TaskState.CANCELLED): {Status.DISCOVERED, Status.DECOMMISSIONED, Status.QUARANTINED},
    (JobKind.UPGRADE, TaskState.SUCCEEDED): {Status.UPGRADED},
    (JobKind.UPGRADE, TaskState.FAILED): {*IN_SERVICE, Status.QUARANTINED},
    (JobKind.UPGRADE, TaskState.CANCELLED): {*IN_SERVICE, Status.QUARANTINED},
    (JobKind.VERIFY, TaskState.SUCCEEDED): set(IN_SERVICE),
    (JobKind.VERIFY, TaskState.FAILED): set(IN_SERVICE),
    (JobKind.VERIFY, TaskState.CANCELLED): set(IN_SERVICE),
    (JobKind.DECOMMISSION, TaskState.SUCCEEDED): {Status.DECOMMISSIONED},
    (JobKind.DECOMMISSION, TaskState.FAILED): {*IN_SERVICE, Status.QUARANTINED},
    (JobKind.DECOMMISSION, TaskState.CANCELLED): {*IN_SERVICE, Status.QUARANTINED},
}
"""DESIGN 2: where a task may leave its node."""


def _submit(fleet: Fleet, rng: Random) -> str:
    """Ask for something that the cluster as it is would accept, if there is anything."""
    kind = rng.choice(list(JobKind))
    if kind is JobKind.DISCOVER:
        endpoints = tuple(Endpoint(address=f"{name}.example") for name in ("m1", "w2", "w3", "w4"))
        outcome = fleet.send(SubmitDiscovery, endpoints=endpoints, sweep=rng.random() < 0.5)
    else:
        size = rng.randrange(1, 4)
        nodes = tuple(rng.sample(sorted(fleet.state.nodes), min(size, len(fleet.state.nodes))))
        outcome = fleet.send(
            SubmitJob,
            kind=kind,
            nodes=nodes,
            role=rng.choice(ROLES) if kind is JobKind.COMMISSION else "",
            bundle=digest(rng.choice((1, 2))) if kind in (JobKind.COMMISSION, JobKind.UPGRADE) else "",
            max_parallel=rng.randrange(3),
            max_failed=rng.choice((None, 0, 1)),
        )
    return outcome.ref if isinstance(outcome, Accepted) else ""


@pytest.mark.timeout(600)  # a failure takes minutes to shrink
@settings(max_examples=120)
@given(seed=SEEDS, bad_percent=st.sampled_from((0, 10, 40, 80, 100)), cancel_percent=st.sampled_from((0, 3)))
def test_every_job_ends_whatever_happens_to_its_attempts(
    seed: int, bad_percent: int, cancel_percent: int
) -> None:
    rng = Random(seed)
    fleet = Fleet(start())
    driver = Driver(fleet, rng, bad_percent=bad_percent, cancel_percent=cancel_percent)
    for _ in range(4):
        jobs = [job for job in (_submit(fleet, rng) for _ in range(3)) if job]
        driver.rounds = 0
        driver.run()
        assert fleet.state.running == ()
        assert not any(node.status in UNDERWAY or node.job for node in fleet.state.nodes.values())
        for job in jobs:
            _left_where_the_lifecycle_says(fleet, job)


def _left_where_the_lifecycle_says(fleet: Fleet, job_id: str) -> None:
    job = fleet.job(job_id)
    assert job.state is not JobState.RUNNING
    for name, task in job.tasks.items():
        if job.kind is JobKind.DISCOVER:
            continue
        lines = [line for line in fleet.node(name).history if line.job == job.id]
        if task.state is TaskState.SKIPPED or not task.epoch:
            assert lines == [], f"{name} was never begun, and yet {lines}"
        elif job.kind not in KEEP_STATUS:
            assert lines[-1].status in LEAVES[job.kind, task.state], (name, task.state, lines[-1])


@cache
def _ten_in_service() -> State:
    """Return ten nodes in service in three racks, of two roles that need each other, and a newer bundle."""
    fleet = Fleet()
    roles = {"db": (Requirement(role="db", minimum=2),), "web": (Requirement(role="db"),)}
    for number in (1, 2, 3):
        fleet.bundle(number, manifest(component("app"), roles=roles))
    names = [f"n{place}" for place in range(10)]
    fleet.discovered(*names)
    fleet.drive(fleet.submit(JobKind.COMMISSION, *names[:4], role="db"))
    fleet.drive(fleet.submit(JobKind.COMMISSION, *names[4:], role="web"))
    for place, name in enumerate(names):
        fleet.accept(EditNode, node=name, labels={"rack": "abc"[place % 3]})
    return fleet.state


def _roll_out(fleet: Fleet, rng: Random) -> None:
    """Ask for a rollout with some strategy, or for what an ended one needs."""
    ended = [job.id for job in fleet.state.jobs.values() if job.state is not JobState.RUNNING][-5:]
    roll = rng.random()
    if roll < 0.3:
        fleet.send(RetryJob, job=rng.choice(ended), unfinished=rng.random() < 0.8)
        return
    if roll < 0.4:
        fleet.send(RevertJob, job=rng.choice(ended))
        return
    nodes = tuple(rng.sample(sorted(fleet.state.nodes), rng.randrange(2, 9)))
    kind = rng.choice(
        (JobKind.UPGRADE, JobKind.UPGRADE, JobKind.UPGRADE, JobKind.VERIFY, JobKind.DECOMMISSION)
    )
    rollout, asked = sensible(rng, nodes=len(nodes), at=fleet.at)
    bundle = digest(rng.choice((1, 2, 3))) if kind is JobKind.UPGRADE else ""
    fleet.send(SubmitJob, kind=kind, nodes=nodes, bundle=bundle, rollout=rollout, **asked)


@pytest.mark.timeout(600)  # a failure takes minutes to shrink
@settings(max_examples=60)
@given(seed=SEEDS, bad_percent=st.sampled_from((0, 5, 20)), steer_percent=st.sampled_from((0, 5)))
def test_every_rollout_ends_and_keeps_its_laws(seed: int, bad_percent: int, steer_percent: int) -> None:
    rng = Random(seed)
    fleet = JudgedFleet(_ten_in_service())
    driver = Driver(fleet, rng, bad_percent=bad_percent, cancel_percent=1, steer_percent=steer_percent)
    for _ in range(3):
        for _ in range(3):
            _roll_out(fleet, rng)
        driver.rounds = 0
        driver.run()
        assert not any(node.status in UNDERWAY or node.job for node in fleet.state.nodes.values())


@pytest.mark.parametrize("kind", [JobKind.COMMISSION, JobKind.UPGRADE, JobKind.VERIFY, JobKind.DECOMMISSION])
def test_a_job_whose_attempts_all_pass_succeeds(kind: JobKind) -> None:
    fleet = Fleet()
    fleet.bundle(1, BUNDLES[digest(1)])
    fleet.discovered("s1", "s2", "s3")
    if kind is not JobKind.COMMISSION:
        fleet.drive(fleet.submit(JobKind.COMMISSION, "s1", "s2", "s3", role="solo"))
    role = {"role": "solo"} if kind is JobKind.COMMISSION else {}
    job = fleet.submit(kind, "s1", "s2", "s3", **role)
    Driver(fleet, Random(1), bad_percent=0).run()
    assert fleet.job(job).state is JobState.SUCCEEDED
    assert {fleet.node(name).status for name in ("s1", "s2", "s3")} <= LEAVES[kind, TaskState.SUCCEEDED]


def test_two_leaders_read_the_same_due_work_from_the_same_state() -> None:
    fleet = Fleet(start())
    job = fleet.submit(JobKind.COMMISSION, "m2", "w2", role="master")
    fleet.claim(job, "m2")
    assert work.pending(fleet.state) == work.pending(Fleet(fleet.state).state)
    epoch = fleet.task(job, "m2").epoch
    assert work.step_due(fleet.state, JobId(job), NodeName("m2"), epoch) is not None
    assert work.step_due(fleet.state, JobId(job), NodeName("m2"), epoch + 1) is None
    assert work.step_due(fleet.state, JobId(job), NodeName("m2"), epoch - 1) is None


def test_nothing_is_due_when_no_job_runs() -> None:
    fleet = Fleet(start())
    assert fleet.state.running == ()
    assert work.pending(fleet.state) == ()
