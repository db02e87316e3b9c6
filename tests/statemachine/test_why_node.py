"""Why a node is as it is, in the words that an operator reads at night; every one of them was recorded."""

import pytest

from statemachine.commands import (
    PauseJob,
    PayDebt,
    ReplaceNode,
    ReportPresence,
    SetMaintenance,
    SubmitJob,
)
from statemachine.manifest import StepSpec
from statemachine.rollout import Rollout
from statemachine.why.jobs import why_job
from statemachine.why.nodes import why_node
from statemachine.why.reasons import Cause, CauseKind
from statemachine.words import Ending, JobKind, Presence
from tests.statemachine.fleet import MASTERS, Fleet, component, digest, manifest


@pytest.fixture
def fleet() -> Fleet:
    """Nodes n0 to n2 in service by the current bundle."""
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app")))
    fleet.in_service("n0", "n1", "n2")
    return fleet


def causes(fleet: Fleet, node: str) -> list[Cause]:
    return why_node(fleet.state, fleet.node(node), fleet.at)


def told(fleet: Fleet, node: str) -> list[str]:
    """Return all that is said after the headline, with the way out after an arrow."""
    return [c.message + (f" -> {c.way_out}" if c.way_out else "") for c in causes(fleet, node)[1:]]


def test_a_node_of_which_nothing_is_wanted_says_so(fleet: Fleet) -> None:
    head, rest = causes(fleet, "n0")
    assert head.message == "n0 is commissioned, role web, reachable, health verified"
    assert (rest.kind, rest.message) == (CauseKind.IDLE, "nothing is wrong with it, and no job wants it")


def test_an_unreachable_node_says_what_was_seen_and_since_when_it_is_gone(fleet: Fleet) -> None:
    fleet.passed_time(600)
    fleet.accept(
        ReportPresence, node="n0", presence=Presence.UNREACHABLE, reason="no route to host, seen by r1 and r2"
    )
    (lost,) = causes(fleet, "n0")[1:]
    assert lost.message == "it is unreachable: no route to host, seen by r1 and r2"
    assert lost.since == fleet.node("n0").presence_at
    assert lost.way_out == "hamgr discover n0.example:22, when it is back"


def test_maintenance_names_its_owner_its_reason_and_both_ends_until_it_is_over(
    fleet: Fleet,
) -> None:
    fleet.accept(SetMaintenance, node="n0", on=True, reason="new DIMM", until=fleet.at + 3600)
    (cordon,) = causes(fleet, "n0")[1:]
    assert cordon.message == "ann put it into maintenance, so no job begins on it: new DIMM"
    assert (cordon.until, cordon.way_out) == (fleet.at + 3600, "hamgr node maintenance off n0")
    fleet.passed_time(3600)
    assert CauseKind.MAINTENANCE not in [cause.kind for cause in causes(fleet, "n0")]


def test_a_locked_node_says_by_which_job_and_who_queues_behind_it_in_their_order(fleet: Fleet) -> None:
    first = fleet.submit(JobKind.VERIFY, "n0")
    fleet.claim(first, "n0")
    later = fleet.submit(JobKind.UPGRADE, "n0")
    urgent = fleet.submit(JobKind.DECOMMISSION, "n0", priority=10)
    assert told(fleet, "n0") == [
        f"{first}, a verify, is at work on it: n0 is to begin 'app: answers' (verify), attempt 1; "
        f"claimed by replica-1/7 -> hamgr job log {first} --node n0 -f",
        f"{urgent}, a decommission of priority 10, is to begin on it: n0 is locked by {first}, a verify "
        f"-> hamgr why {urgent}",
        f"{later}, an upgrade of priority 0, is to begin on it: n0 is locked by {first}, a verify "
        f"-> hamgr why {later}",
    ]


def test_a_node_whose_turn_has_not_come_says_what_its_job_waits_for(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.UPGRADE, "n0", "n1", max_parallel=1)
    rival = fleet.submit(JobKind.VERIFY, "n0", priority=5)
    assert f"{rival}, a verify, goes first (priority 5) -> hamgr why {job}" in told(fleet, "n0")[1]
    assert told(fleet, "n1") == [
        f"{job}, an upgrade of priority 0, is to begin on it: its wave, 2, comes after wave 1 "
        f"-> hamgr why {job}"
    ]
    fleet.accept(PauseJob, job=job, reason="lunch")
    assert "is to begin on it: it is paused by ann: lunch" in told(fleet, "n1")[0]


def test_a_drifted_node_shows_the_verify_that_found_it_once_and_with_its_output(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.VERIFY, "n0")
    fleet.claim(job, "n0")
    fleet.passed_time(5)
    fleet.step(job, "n0", exit_code=1, output_tail="connection refused")
    (drift,) = causes(fleet, "n0")[1:]
    assert drift.message == (
        f"it is not as its bundle says: verify.00.app.answers failed with exit status 1 (job {job})"
    )
    assert (drift.output, drift.since) == ("connection refused", fleet.at)
    assert drift.way_out == f"hamgr job log {job} --node n0, then hamgr node upgrade n0"


def test_a_quarantined_node_says_why_and_every_command_that_gets_it_out(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.UPGRADE, "n0")
    fleet.claim(job, "n0")
    fleet.start(job, "n0")
    fleet.passed_time(60)
    fleet.finish(job, "n0", Ending.UNREACHABLE, error="no route to host")
    quarantine, presence = causes(fleet, "n0")[1:]
    assert quarantine.message == (
        "it is quarantined, and no job may touch it unasked: no route to host; "
        f"whether work.00.app.replace finished is unknown (job {job})"
    )
    assert quarantine.since == fleet.at
    assert quarantine.way_out == (
        "hamgr node commission n0 or hamgr node decommission n0 or hamgr node forget n0"
    )
    assert presence.kind is CauseKind.PRESENCE


def test_a_failed_upgrade_is_told_with_the_output_of_what_failed_first(fleet: Fleet) -> None:
    fleet.bundle(2, manifest(component("app")))
    job = fleet.submit(JobKind.UPGRADE, "n0")
    fleet.claim(job, "n0")
    fleet.step(job, "n0", exit_code=1, output_tail="E: broken packages")
    while fleet.owed(job, "n0"):
        fleet.step(job, "n0")
    failed, behind = causes(fleet, "n0")[1:]
    assert failed.message == (
        f"the last operation on it failed: work.00.app.replace failed with exit status 1 (job {job})"
    )
    assert (failed.output, failed.way_out) == ("E: broken packages", f"hamgr job log {job} --node n0")
    assert behind.kind is CauseKind.BUNDLE


def test_a_node_by_an_older_bundle_names_both() -> None:
    fleet = Fleet()
    fleet.bundle(0xA << 240, manifest(component("app")))
    fleet.in_service("n0")
    fleet.bundle(0xB << 240, manifest(component("app")))
    old, new = (digest(number << 240)[7:19] for number in (0xA, 0xB))
    assert told(fleet, "n0") == [
        f"it is configured with bundle {old}; the current one is {new} -> hamgr node upgrade n0"
    ]


def test_a_node_that_serves_nothing_yet_says_what_comes_next() -> None:
    fleet = Fleet()
    fleet.added("new")
    fleet.discovered("found")
    assert told(fleet, "new") == [
        "nobody has reached it yet, so it cannot be commissioned -> hamgr discover new.example:22"
    ]
    assert told(fleet, "found") == [
        "it serves nothing, and no job at work is to change that -> hamgr node commission found --role ROLE"
    ]


def test_a_node_whose_role_lacks_what_it_needs_says_how_much() -> None:
    fleet = Fleet()
    fleet.bundle(1, MASTERS)
    fleet.in_service("m", role="master")
    fleet.in_service("w", role="worker")
    assert told(fleet, "w") == ["nothing is wrong with it, and no job wants it"]
    job = fleet.submit(JobKind.UPGRADE, "m", rollout=Rollout(below_minimum=True))
    fleet.claim(job, "m")
    fleet.start(job, "m")
    fleet.finish(job, "m", Ending.UNREACHABLE, error="no route to host")
    assert told(fleet, "w") == [
        "its role needs 1 x master in service, and there are 0 -> hamgr node commission NODE --role master"
    ]


def test_of_several_failures_the_newest_is_told(fleet: Fleet) -> None:
    for seconds, tail in ((0, "first"), (60, "second"), (120, "third")):
        fleet.passed_time(seconds)
        job = fleet.submit(JobKind.UPGRADE, "n0")
        fleet.claim(job, "n0")
        fleet.step(job, "n0", exit_code=1, output_tail=tail)
        while fleet.owed(job, "n0"):
            fleet.step(job, "n0")
    (failed,) = causes(fleet, "n0")[1:]
    assert (failed.output, failed.since) == ("third", fleet.at)
    assert failed.message.endswith(f"(job {job})")


def owing(fleet: Fleet) -> str:
    """Let n2 miss an upgrade of all nodes."""
    fleet.bundle(0xB << 240, manifest(component("app")))
    fleet.unreachable("n2")
    job = fleet.accept(SubmitJob, kind=JobKind.UPGRADE, selector="*", max_parallel=3).ref
    fleet.drive(job, "n0", "n1")
    return job


def test_a_node_that_missed_an_upgrade_says_which_and_that_it_catches_up_by_itself(fleet: Fleet) -> None:
    job = owing(fleet)
    debt = causes(fleet, "n2")[2]
    assert debt.message == (
        f"it missed {job} while it was out of reach, and owes the upgrade to {digest(0xB << 240)[7:19]}; "
        "it pays by itself when it can be reached"
    )
    assert (debt.kind, debt.since, debt.way_out) == (CauseKind.DEBT, fleet.at, "")


def test_a_debt_that_could_not_be_paid_says_why_and_both_ways_out(fleet: Fleet) -> None:
    owing(fleet)
    fleet.accept(ReportPresence, node="n2", presence=Presence.REACHABLE)
    payment = fleet.accept(PayDebt, node="n2").ref
    fleet.claim(payment, "n2")
    fleet.fail(payment, "n2")
    while fleet.owed(payment, "n2"):
        fleet.step(payment, "n2")
    debt = next(cause for cause in causes(fleet, "n2") if cause.kind is CauseKind.DEBT)
    assert f"paying that failed (job {payment}): work.00.app.replace failed" in debt.message
    assert debt.way_out == "hamgr node upgrade n2, or hamgr node forgive n2"


def test_a_drained_node_is_given_back_by_an_undrain() -> None:
    fleet = Fleet()
    steps = {verb: (StepSpec(name="one"),) for verb in ("commission", "drain", "undrain")}
    fleet.bundle(1, manifest(component("app", verify=(StepSpec(name="answers", check=True),), **steps)))
    fleet.in_service("n0", "n1")
    fleet.drive(fleet.submit(JobKind.DRAIN, "n0", reason="new board"))
    assert [c.way_out for c in causes(fleet, "n0") if c.kind is CauseKind.MAINTENANCE] == [
        "hamgr node undrain n0"
    ]


def test_nodes_that_change_places_say_for_which_job_they_are_kept(fleet: Fleet) -> None:
    fleet.discovered("spare")
    replacement = fleet.accept(ReplaceNode, old="n0", new="spare").ref
    fleet.claim(replacement, "spare")
    other = fleet.submit(JobKind.VERIFY, "n0")
    kept = f"n0 is kept for {replacement}, a replace"
    assert f"{other}, a verify of priority 0, is to begin on it: {kept} -> hamgr why {other}" in told(
        fleet, "n0"
    )
    said = [cause.message for cause in why_job(fleet.state, fleet.job(other), fleet.at)]
    assert said[1] == f"n0: {kept}"
    assert causes(fleet, "spare")[1].message.startswith(
        f"{replacement}, a replace, is at work on it: spare is"
    )
