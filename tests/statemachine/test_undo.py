"""How a task ends badly: undone, given back untouched, or with a node that only an operator can judge."""

from dataclasses import replace

import pytest

from statemachine.commands import EditNode, SubmitJob
from statemachine.lifecycle import Trigger
from statemachine.manifest import StepSpec
from statemachine.outcomes import Reason
from statemachine.words import Ending, Health, JobKind, JobState, NodeName, Presence, Status, TaskState
from tests.statemachine.fleet import Fleet, component, digest, manifest

N = "n1"


@pytest.fixture
def fleet() -> Fleet:
    """One node that waits to be commissioned, and a bundle whose newer version comes later."""
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app"), roles={"web": (), "db": ()}))
    fleet.discovered(N)
    return fleet


def commission(fleet: Fleet, role: str = "web") -> str:
    job = fleet.submit(JobKind.COMMISSION, N, role=role)
    fleet.claim(job, N)
    return job


def upgrade(fleet: Fleet) -> str:
    """Serve by bundle 1 and begin to go to bundle 2."""
    fleet.drive(commission(fleet))
    fleet.bundle(2, manifest(component("app"), roles={"web": (), "db": ()}))
    job = fleet.submit(JobKind.UPGRADE, N)
    fleet.claim(job, N)
    return job


def status(fleet: Fleet) -> Status:
    return fleet.node(N).status


def test_a_commission_that_passes_gives_role_bundle_and_health(fleet: Fleet) -> None:
    job = commission(fleet)
    assert status(fleet) is Status.COMMISSIONING
    fleet.step(job, N)
    fleet.step(job, N)
    assert status(fleet) is Status.COMMISSIONING, "the work is done, and nothing is proven"
    assert fleet.owed(job, N) == "verify.00.app.answers/1"
    fleet.step(job, N)
    node = fleet.node(N)
    assert (node.status, node.role, node.health) == (Status.COMMISSIONED, "web", Health.VERIFIED)
    assert node.bundle == node.last_good == digest(1)
    assert fleet.job(job).state is JobState.SUCCEEDED


def test_a_failed_commission_is_cleaned_up_and_keeps_the_error(fleet: Fleet) -> None:
    job = commission(fleet)
    fleet.fail(job, N)
    assert fleet.owed(job, N) == "undo.00.app.remove/1"
    fleet.step(job, N)
    node = fleet.node(N)
    assert (node.status, node.bundle, node.last_good) == (Status.DISCOVERED, "", "")
    assert node.error == "work.00.app.install failed with exit status 1"
    assert node.history[-1].trigger == Trigger.CLEANED
    assert fleet.task(job, N).state is TaskState.FAILED


def test_a_commission_that_cannot_be_proven_is_cleaned_up_too(fleet: Fleet) -> None:
    job = commission(fleet)
    fleet.step(job, N)
    fleet.step(job, N)
    fleet.fail(job, N)
    assert fleet.owed(job, N) == "undo.00.app.remove/1"


def test_a_failed_cleanup_quarantines_the_node_with_both_errors(fleet: Fleet) -> None:
    job = commission(fleet)
    fleet.fail(job, N)
    fleet.fail(job, N)
    node = fleet.node(N)
    assert (node.status, node.bundle, node.health) == (Status.QUARANTINED, digest(1), Health.UNKNOWN)
    assert "work.00.app.install failed" in node.error
    assert "then undo.00.app.remove failed" in node.error


@pytest.mark.parametrize("ending", [Ending.UNREACHABLE, Ending.REFUSED, Ending.NOT_RUN])
def test_a_node_that_was_not_touched_gets_its_status_back(fleet: Fleet, ending: Ending) -> None:
    before = fleet.node(N)
    job = commission(fleet, role="db")
    fleet.finish(job, N, ending, error="no")
    node = fleet.node(N)
    assert (node.status, node.role, node.bundle) == (before.status, before.role, before.bundle)
    assert "not touched" in node.history[-1].reason
    assert fleet.task(job, N).state is TaskState.FAILED


def test_an_untouched_upgrade_gives_back_the_very_status_it_took(fleet: Fleet) -> None:
    fleet.drive(upgrade(fleet))
    assert status(fleet) is Status.UPGRADED
    job = fleet.submit(JobKind.UPGRADE, N)
    fleet.claim(job, N)
    fleet.finish(job, N, Ending.REFUSED)
    assert status(fleet) is Status.UPGRADED
    job = fleet.submit(JobKind.DECOMMISSION, N)
    fleet.claim(job, N)
    fleet.finish(job, N, Ending.NOT_RUN)
    assert status(fleet) is Status.UPGRADED


def test_a_quarantined_node_that_was_not_touched_stays_what_it_was(fleet: Fleet) -> None:
    job = commission(fleet)
    fleet.fail(job, N)
    fleet.fail(job, N)
    fleet.bundle(2, manifest(component("other"), roles={"db": ()}))
    job = commission(fleet, role="db")
    fleet.finish(job, N, Ending.NOT_RUN)
    node = fleet.node(N)
    assert (node.status, node.role, node.bundle) == (Status.QUARANTINED, "web", digest(1))


def test_a_node_unreachable_after_work_was_announced_is_quarantined(fleet: Fleet) -> None:
    job = commission(fleet)
    fleet.step(job, N, Ending.UNREACHABLE, error="no route")
    node = fleet.node(N)
    assert (node.status, node.presence) == (Status.QUARANTINED, Presence.UNREACHABLE)
    assert "whether work.00.app.install finished is unknown" in node.error


def test_a_node_is_reachable_again_when_a_step_passed_on_it(fleet: Fleet) -> None:
    job = commission(fleet)
    fleet.start(job, N)
    fleet.unreachable(N)
    fleet.finish(job, N)
    assert fleet.node(N).presence is Presence.REACHABLE


def test_an_upgrade_that_passes_moves_the_last_good_bundle(fleet: Fleet) -> None:
    job = upgrade(fleet)
    assert fleet.node(N).bundle == digest(1)
    fleet.start(job, N)
    assert (fleet.node(N).bundle, fleet.node(N).last_good) == (digest(2), digest(1))
    fleet.drive(job)
    node = fleet.node(N)
    assert (node.status, node.bundle, node.last_good) == (Status.UPGRADED, digest(2), digest(2))


def test_a_failed_upgrade_reverts_and_proves_the_last_good_bundle(fleet: Fleet) -> None:
    job = upgrade(fleet)
    fleet.fail(job, N)
    due = fleet.step_due(job, N)
    assert (due.key, due.step.bundle) == ("undo.00.app.replace", digest(1))
    fleet.step(job, N)
    due = fleet.step_due(job, N)
    assert (due.key, due.step.bundle) == ("reverify.00.app.answers", digest(1))
    assert status(fleet) is Status.UPGRADING
    fleet.step(job, N)
    node = fleet.node(N)
    assert (node.status, node.bundle, node.health) == (Status.COMMISSIONED, digest(1), Health.VERIFIED)
    assert fleet.task(job, N).state is TaskState.FAILED


def test_a_revert_that_has_no_steps_gives_the_last_good_bundle_back_too(fleet: Fleet) -> None:
    verify = (StepSpec(name="answers", check=True),)
    fleet.bundle(3, manifest(component("app", commission=(StepSpec(name="install"),), verify=verify)))
    fleet.drive(commission(fleet))
    fleet.bundle(4, manifest(component("app", upgrade=(StepSpec(name="replace"),), verify=verify)))
    job = fleet.submit(JobKind.UPGRADE, N)
    fleet.claim(job, N)
    fleet.fail(job, N)
    assert fleet.owed(job, N) == "reverify.00.app.answers/1"
    assert fleet.node(N).bundle == digest(4)
    fleet.step(job, N)
    assert (status(fleet), fleet.node(N).bundle) == (Status.COMMISSIONED, digest(3))


@pytest.mark.parametrize("changes", [(), (StepSpec(name="install"),)])
def test_a_commission_that_nothing_proves_never_serves(fleet: Fleet, changes: tuple[StepSpec, ...]) -> None:
    """No command leads here; a state that lacks the proof is made by hand."""
    job = fleet.submit(JobKind.COMMISSION, N, role="web")
    bare = manifest(component("app", commission=changes))
    bundle = replace(fleet.state.bundles[digest(1)], manifest=bare)
    fleet.state = replace(fleet.state, bundles={digest(1): bundle})
    fleet.claim(job, N)
    for _ in changes:
        fleet.step(job, N)
    assert status(fleet) is Status.DISCOVERED
    assert "nothing verifies the role" in fleet.node(N).error


@pytest.mark.parametrize("passes", [0, 1])
def test_an_upgrade_whose_revert_or_its_proof_fails_is_quarantined(fleet: Fleet, passes: int) -> None:
    job = upgrade(fleet)
    fleet.fail(job, N)
    for _ in range(passes):
        fleet.step(job, N)
    fleet.fail(job, N)
    assert status(fleet) is Status.QUARANTINED
    assert fleet.node(N).last_good == digest(1)


def test_a_decommission_removes_what_the_node_has(fleet: Fleet) -> None:
    fleet.drive(commission(fleet))
    job = fleet.submit(JobKind.DECOMMISSION, N)
    fleet.claim(job, N)
    assert fleet.owed(job, N) == "work.00.app.remove/1"
    fleet.step(job, N)
    node = fleet.node(N)
    assert (node.status, node.bundle, node.health) == (Status.DECOMMISSIONED, "", Health.UNKNOWN)
    fleet.drive(commission(fleet))
    assert status(fleet) is Status.COMMISSIONED


def test_components_are_installed_in_order_and_removed_from_the_last_to_the_first(fleet: Fleet) -> None:
    fleet.bundle(2, manifest(component("disk"), component("app")))
    job = commission(fleet)
    assert fleet.owed(job, N) == "work.00.disk.install/1"
    fleet.drive(job)
    job = fleet.submit(JobKind.DECOMMISSION, N)
    fleet.claim(job, N)
    assert fleet.owed(job, N) == "work.00.app.remove/1"
    fleet.step(job, N)
    assert fleet.owed(job, N) == "work.01.disk.remove/1"


def test_a_decommission_that_fails_has_no_way_back(fleet: Fleet) -> None:
    fleet.drive(commission(fleet))
    job = fleet.submit(JobKind.DECOMMISSION, N)
    fleet.claim(job, N)
    fleet.fail(job, N)
    assert status(fleet) is Status.QUARANTINED


def test_a_failed_verify_says_drifted_and_leaves_the_status(fleet: Fleet) -> None:
    fleet.drive(commission(fleet))
    job = fleet.submit(JobKind.VERIFY, N)
    fleet.claim(job, N)
    fleet.fail(job, N)
    assert (status(fleet), fleet.node(N).health) == (Status.COMMISSIONED, Health.DRIFTED)
    fleet.drive(fleet.submit(JobKind.VERIFY, N))
    assert (fleet.node(N).health, fleet.node(N).error) == (Health.VERIFIED, "")


@pytest.mark.parametrize("ending", [Ending.REFUSED, Ending.NOT_RUN, Ending.CANCELLED])
def test_a_verify_that_looked_at_nothing_says_nothing_about_health(fleet: Fleet, ending: Ending) -> None:
    fleet.drive(commission(fleet))
    job = fleet.submit(JobKind.VERIFY, N)
    fleet.claim(job, N)
    fleet.finish(job, N, ending)
    assert fleet.node(N).health is Health.VERIFIED
    assert fleet.job(job).state is JobState.FAILED


def test_a_verify_of_a_node_out_of_reach_leaves_its_health_unknown(fleet: Fleet) -> None:
    fleet.drive(commission(fleet))
    job = fleet.submit(JobKind.VERIFY, N)
    fleet.claim(job, N)
    fleet.finish(job, N, Ending.UNREACHABLE, error="no route")
    assert (status(fleet), fleet.node(N).health) == (Status.COMMISSIONED, Health.UNKNOWN)
    fleet.refuse(Reason.UNREACHABLE, SubmitJob, kind=JobKind.VERIFY, nodes=(NodeName(N),))


def test_the_role_of_a_node_that_is_locked_or_configured_cannot_be_changed(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.COMMISSION, N, role="web")
    fleet.claim(job, N)
    fleet.refuse(Reason.BUSY, EditNode, node=N, role="db")
    fleet.fail(job, N)
    fleet.fail(job, N)
    assert status(fleet) is Status.QUARANTINED
    fleet.refuse(Reason.WRONG_STATUS, EditNode, node=N, role="db")


def test_a_role_that_nothing_verifies_is_refused(fleet: Fleet) -> None:
    fleet.bundle(3, manifest(component("bare", commission=(), cleanup=())))
    refusal = fleet.refuse(Reason.INVALID, SubmitJob, kind=JobKind.COMMISSION, nodes=(N,), role="web")
    assert "nothing verifies role web" in refusal.message
