"""What could go wrong with a job, told before it is begun."""

from typing import Any

from hamgr.jobs.risks import risks
from hamgr.jobs.sights import NodeSeen, Seen, Verdict
from statemachine import phases
from statemachine.commands import SetMaintenance
from statemachine.manifest import Requirement, StepSpec
from statemachine.rollout import Rollout
from statemachine.words import JobKind, StepClass
from tests.statemachine.fleet import Fleet, component, manifest


def told(fleet: Fleet, kind: JobKind, *nodes: str, **fields: Any) -> list[str]:
    """Return the risks of a job that nobody begins."""
    voters = fields.pop("voters", {})
    seen: dict[str, Any] = fields.pop("seen", {})
    after = fleet.clone()
    job = after.job(after.submit(kind, *nodes, **fields))
    looks = [
        NodeSeen(
            node=name,
            steps=tuple(
                Seen(step=step, verdict=Verdict.UNCHANGED, **seen.get(step.spec.name, {}))
                for step in phases.steps(after.state, job, after.node(name), phases.way(job)[0])
            ),
            error=seen.get(name, ""),
        )
        for name in job.tasks
    ]
    return risks(fleet.state, job, looks, voters)


def fleet_of(masters: int, workers: int, minimum: int = 1, *steps: StepSpec) -> Fleet:
    """Return masters and workers at work; a worker needs masters."""
    fleet = Fleet()
    upgrade = steps or (StepSpec(name="replace"),)
    app = component(
        "app",
        commission=(StepSpec(name="install"),),
        upgrade=upgrade,
        verify=(StepSpec(name="answers", check=True),),
    )
    roles = {"master": (), "worker": (Requirement(role="master", minimum=minimum),)}
    fleet.bundle(1, manifest(app, roles=roles))
    fleet.in_service(*(f"m{n}" for n in range(1, masters + 1)), role="master")
    fleet.in_service(*(f"w{n}" for n in range(1, workers + 1)), role="worker")
    return fleet


def test_a_harmless_job_has_no_risks() -> None:
    assert told(fleet_of(3, 2), JobKind.UPGRADE, "w1", "w2") == []
    assert told(fleet_of(3, 2), JobKind.VERIFY, "m1", "w1") == []


def test_a_wave_that_would_take_more_than_a_role_may_lose_is_told() -> None:
    fleet = fleet_of(3, 1, 2)
    nodes = ("m1", "m2", "m3")
    assert told(fleet, JobKind.UPGRADE, *nodes, max_parallel=1) == []
    sentence = "if all of wave 1 stopped at once, role worker needs 2 x master at work and would have 1"
    assert told(fleet, JobKind.UPGRADE, *nodes, max_parallel=2) == [
        f"{sentence}; so its nodes take turns, which takes longer"
    ]
    careless = Rollout(below_minimum=True)
    assert told(fleet, JobKind.UPGRADE, *nodes, max_parallel=2, rollout=careless) == [
        f"{sentence}; this job accepts that"
    ]


def test_a_wave_on_too_many_voters_is_told_and_loopback_is_nobodys_machine() -> None:
    fleet = fleet_of(3, 1)
    voters = {"r1": "m1.example", "r2": "m2.example", "r3": "elsewhere"}
    assert told(fleet, JobKind.UPGRADE, "m1", "m2", max_parallel=2, voters=voters)[0] == (
        "wave 1 works on 2 of hamgr's 3 voters at once (r1, r2);"
        " if they stop together, hamgr has no quorum: make the waves smaller"
    )
    assert told(fleet, JobKind.UPGRADE, "m1", "m2", max_parallel=1, voters=voters)[:2] == [
        "wave 1 works on the machine of voter r1",
        "wave 2 works on the machine of voter r2",
    ]
    assert told(fleet, JobKind.VERIFY, "m1", "m2", voters=voters) == []
    assert told(fleet, JobKind.UPGRADE, "w1", voters={"r1": "127.0.0.1", "r2": "::1"}) == []


def test_reboots_and_steps_that_run_once_are_told_with_their_nodes() -> None:
    steps = (StepSpec(name="migrate", step_class=StepClass.ONCE), StepSpec(name="boot", reboot=True))
    assert told(fleet_of(3, 2, 1, *steps), JobKind.UPGRADE, "w1", "w2") == [
        "w1, w2 would be rebooted",
        "step app: migrate runs once on w1, w2: if it is interrupted, it is not repeated,"
        " and somebody has to look",
    ]


def test_a_step_that_cannot_be_prepared_comes_first_of_all() -> None:
    seen = {"replace": {"broken": True, "note": "no port"}, "w2": "could not look: silence"}
    assert told(fleet_of(3, 2), JobKind.UPGRADE, "w1", "w2", seen=seen) == [
        "the job would fail on w1, w2 at app: replace: no port",
        "nobody could look at w2, so what would change there is not known",
    ]


def test_locked_nodes_are_told_with_who_has_them() -> None:
    fleet = fleet_of(3, 2)
    job = fleet.submit(JobKind.VERIFY, "w1")
    fleet.claim(job, "w1")
    assert told(fleet, JobKind.UPGRADE, "w1", "w2") == [
        f"w1: locked by {job}, a verify, and would wait for that"
    ]


def test_a_cordon_that_has_run_out_and_was_not_lifted_is_told() -> None:
    fleet = fleet_of(3, 1)
    fleet.accept(SetMaintenance, node="w1", on=True, reason="disk", until=fleet.at + 1)
    fleet.passed_time(2)
    assert told(fleet, JobKind.UPGRADE, "w1") == ["w1: in maintenance: disk"]


def test_many_nodes_are_told_in_few_words() -> None:
    fleet = fleet_of(3, 12)
    seen = {f"w{n}": "could not look: silence" for n in range(1, 13)}
    (risk,) = told(fleet, JobKind.UPGRADE, *(f"w{n}" for n in range(1, 13)), seen=seen)
    assert risk.startswith("nobody could look at w1, w10, w11, w12, w2, w3, w4, w5 and 4 more,")
