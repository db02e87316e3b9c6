"""One machine takes another one's place: in order, at once, and not at all where anything fails before."""

import pytest

from statemachine import phases
from statemachine.commands import (
    ClaimTask,
    EditNode,
    ForgetNode,
    ReplaceNode,
    ReportPresence,
    RetryJob,
    SetMaintenance,
    SubmitJob,
)
from statemachine.jobs import work
from statemachine.model import Node
from statemachine.nodes import takeover, variables
from statemachine.outcomes import Reason
from statemachine.words import Ending, JobId, JobKind, JobState, NodeName, Presence, Status, TaskState
from tests.statemachine.fleet import MASTERS, Fleet, component, digest, key_of, manifest

OLD, NEW = "web-1", "spare"


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app")))
    fleet.in_service(OLD, "web-2")
    fleet.discovered(NEW)
    fleet.accept(EditNode, node=OLD, labels={"rack": "r1"}, variables={"port": 81})
    fleet.accept(EditNode, node=NEW, labels={"rack": "r9", "cpu": "arm"}, variables={"port": 99})
    return fleet


def ask(fleet: Fleet, **fields: object) -> str:
    return fleet.accept(ReplaceNode, old=OLD, new=NEW, **fields).ref


def machine(node: Node) -> str:
    return node.machine_id.removeprefix("id-")


def moved(fleet: Fleet) -> bool:
    return machine(fleet.node(OLD)) == NEW


def test_a_replacement_moves_name_role_labels_variables_and_history(fleet: Fleet) -> None:
    before = fleet.node(OLD)
    job = ask(fleet, reason="old disk")
    fleet.drive(job, NEW)
    assert not moved(fleet), "the old one serves until it is out of service"
    assert fleet.node(NEW).status is Status.COMMISSIONED
    fleet.drive(job, OLD)
    assert fleet.job(job).state is JobState.SUCCEEDED
    node = fleet.node(OLD)
    assert (machine(node), node.host_key, node.role, node.status) == (
        NEW,
        key_of(NEW),
        "web",
        Status.COMMISSIONED,
    )
    assert node.endpoint.address == f"{NEW}.example"
    assert node.labels == {"rack": "r1", "cpu": "arm"}
    assert node.variables == {"port": 81}
    assert node.past[: len(before.history)] == before.history
    assert node.past[-1].status is Status.DECOMMISSIONED
    assert NodeName(NEW) not in fleet.state.nodes
    kept = fleet.node(f"{OLD}-replaced-{job.removeprefix('j-')}")
    assert (machine(kept), kept.status, kept.labels, kept.variables) == (
        OLD,
        Status.DECOMMISSIONED,
        {},
        {},
    )


def test_the_new_machine_is_configured_as_the_one_whose_place_it_takes(fleet: Fleet) -> None:
    job = ask(fleet)
    owner = fleet.job(job)
    assert phases.name_on(owner, NodeName(NEW)) == OLD
    assert phases.name_on(owner, NodeName(OLD)) == OLD
    layers = variables.layers(fleet.state, fleet.node(NEW), owner.bundle, job=owner)
    assert variables.resolve(layers) == {"port": 81}
    fleet.claim(job, NEW)
    assert fleet.owed(job, NEW) == "work.00.app.install/1"


def test_what_a_task_ran_on_is_found_by_whatever_name_it_goes_now(fleet: Fleet) -> None:
    def found(name: str) -> str:
        node = takeover.whereabouts(fleet.state, fleet.job(job), NodeName(name))
        return machine(node) if node else ""

    job = ask(fleet)
    assert (found(NEW), found(OLD)) == (NEW, OLD)
    fleet.drive(job, NEW)
    assert (found(NEW), found(OLD)) == (NEW, OLD)
    fleet.drive(job, OLD)
    assert (found(NEW), found(OLD)) == (NEW, OLD)
    assert takeover.whereabouts(fleet.state, None, NodeName(NEW)) is None


def test_an_old_machine_that_nobody_can_reach_is_left_alone_and_leaves_a_tombstone(fleet: Fleet) -> None:
    fleet.unreachable(OLD)
    job = ask(fleet)
    assert list(fleet.job(job).tasks) == [NEW]
    fleet.drive(job)
    assert fleet.job(job).state is JobState.SUCCEEDED
    assert moved(fleet)
    assert set(fleet.state.nodes) == {OLD, "web-2"}
    assert fleet.state.tombstones[-1].machine_id == f"id-{OLD}"
    fleet.sight("web-9", machine_id=f"id-{OLD}", host_key=key_of(OLD))
    assert NodeName("web-9") not in fleet.state.nodes, "it does not come back unasked"


def test_an_old_machine_that_falls_silent_in_time_does_not_stop_the_replacement(fleet: Fleet) -> None:
    job = ask(fleet)
    fleet.drive(job, NEW)
    fleet.claim(job, OLD)
    fleet.finish(job, OLD, Ending.UNREACHABLE, error="no route")
    assert fleet.task(job, OLD).state is TaskState.SKIPPED
    assert moved(fleet)
    assert fleet.node(OLD).debt is None
    ended = fleet.job(job)
    assert (ended.state, ended.error) == (JobState.SUCCEEDED, f"{OLD}: {fleet.task(job, OLD).error}")
    assert "no route" in ended.error


def test_an_old_machine_that_breaks_while_it_is_cleaned_up_is_kept_for_somebody_to_look(fleet: Fleet) -> None:
    job = ask(fleet)
    fleet.drive(job, NEW)
    fleet.claim(job, OLD)
    fleet.fail(job, OLD)
    assert fleet.job(job).state is JobState.PARTLY
    assert moved(fleet)
    assert fleet.node(f"{OLD}-replaced-{job.removeprefix('j-')}").status is Status.QUARANTINED


def test_a_quarantined_node_can_be_replaced(fleet: Fleet) -> None:
    upgrade = fleet.submit(JobKind.UPGRADE, OLD)
    fleet.claim(upgrade, OLD)
    fleet.start(upgrade, OLD)
    fleet.finish(upgrade, OLD, Ending.UNREACHABLE)
    assert fleet.node(OLD).status is Status.QUARANTINED
    fleet.drive(ask(fleet))
    assert moved(fleet)
    assert fleet.node(OLD).status is Status.COMMISSIONED


def as_it_was(fleet: Fleet, before: Node) -> bool:
    node = fleet.node(OLD)
    same = (node.status, node.labels, node.variables, node.history, node.machine_id, node.past)
    return same == (
        before.status,
        before.labels,
        before.variables,
        before.history,
        before.machine_id,
        before.past,
    )


@pytest.mark.parametrize("step", range(3))
@pytest.mark.parametrize("ending", [Ending.EXITED, Ending.TIMED_OUT, Ending.UNREACHABLE, Ending.CANCELLED])
def test_whatever_fails_on_the_new_machine_leaves_the_old_one_as_it_was(
    fleet: Fleet, step: int, ending: Ending
) -> None:
    before = fleet.node(OLD)
    job = ask(fleet)
    fleet.claim(job, NEW)
    for _ in range(step):
        fleet.step(job, NEW)
    fleet.start(job, NEW)
    if ending is Ending.CANCELLED:
        fleet.cancel(job)
    fleet.finish(job, NEW, ending, **({"exit_code": 1} if ending is Ending.EXITED else {}))
    while fleet.owed(job, NEW):
        fleet.step(job, NEW)
    assert fleet.job(job).state in (JobState.FAILED, JobState.CANCELLED)
    assert fleet.task(job, OLD).state in (TaskState.SKIPPED, TaskState.CANCELLED)
    assert as_it_was(fleet, before)
    assert fleet.node(NEW).variables == {"port": 99}
    assert fleet.node(NEW).labels == {"rack": "r9", "cpu": "arm"}


def test_a_cancel_between_the_two_machines_moves_nothing_and_it_can_be_asked_for_again(fleet: Fleet) -> None:
    before = fleet.node(OLD)
    job = ask(fleet)
    fleet.drive(job, NEW)
    fleet.cancel(job)
    assert as_it_was(fleet, before)
    assert fleet.node(NEW).status is Status.COMMISSIONED
    fleet.refuse(Reason.WRONG_STATUS, RetryJob, job=job, unfinished=True)
    again = ask(fleet)
    assert fleet.task(again, NEW).kind is JobKind.UPGRADE
    fleet.drive(again)
    assert moved(fleet)


def test_a_new_leader_at_every_boundary_brings_the_replacement_to_the_same_end(fleet: Fleet) -> None:
    job = JobId(ask(fleet))
    claims = 0
    while job in fleet.state.running:
        due = [one for one in work.pending(fleet.state) if isinstance(one, work.TaskDue)]
        assert len(due) == 1
        name = due[0].node
        for _ in range(2):  # a leader claims and dies, and the next one does as well
            fleet.accept(ClaimTask, job=job, node=name, claimant=f"replica-{claims}/1")
            claims += 1
            if job not in fleet.state.running:
                break
        else:
            fleet.start(job, name)
            fleet.accept(ClaimTask, job=job, node=name, claimant=f"replica-{claims}/1")
            fleet.finish(job, name)
    assert claims == 8, "four steps"
    assert moved(fleet)
    assert fleet.job(job).state is JobState.SUCCEEDED


def test_other_jobs_wait_for_both_nodes_until_the_names_have_moved(fleet: Fleet) -> None:
    job = ask(fleet)
    other = fleet.submit(JobKind.UPGRADE, OLD)
    assert fleet.due(other) == [OLD], "what has not begun keeps nothing"
    fleet.claim(job, NEW)
    assert fleet.due(other) == []
    fleet.stale_claim(other, OLD)
    while fleet.owed(job, NEW):
        fleet.step(job, NEW)
    verify = fleet.submit(JobKind.VERIFY, NEW)
    assert fleet.due(verify) == []
    fleet.refuse(Reason.BUSY, ForgetNode, node=OLD, force=True)
    fleet.refuse(Reason.BUSY, ForgetNode, node=NEW, force=True)
    fleet.drive(job, OLD)
    assert moved(fleet)
    assert fleet.task(verify, NEW).state is TaskState.SKIPPED
    fleet.drive(other)
    assert fleet.node(OLD).status is Status.UPGRADED


def test_a_replacement_waits_for_whoever_is_at_work_on_the_old_node(fleet: Fleet) -> None:
    job = ask(fleet)
    other = fleet.submit(JobKind.VERIFY, OLD, priority=5)
    fleet.claim(other, OLD)
    assert fleet.due(job) == []
    fleet.stale_claim(job, NEW)
    fleet.drive(other, OLD)
    assert fleet.due(job) == [NEW]


def test_an_old_node_that_was_forgotten_before_it_began_ends_the_replacement(fleet: Fleet) -> None:
    job = ask(fleet)
    fleet.accept(ForgetNode, node=OLD, force=True)
    assert fleet.job(job).state is JobState.FAILED
    assert fleet.node(NEW).status is Status.DISCOVERED


def test_a_new_machine_that_was_forgotten_before_it_began_leaves_the_old_one_at_work(fleet: Fleet) -> None:
    before = fleet.node(OLD)
    job = ask(fleet)
    fleet.accept(ForgetNode, node=NEW)
    assert fleet.job(job).state is JobState.FAILED
    assert fleet.task(job, OLD).error == f"{NEW} is not ready to come in its place"
    assert as_it_was(fleet, before)


def test_the_cordon_of_a_broken_machine_does_not_stop_its_replacement(fleet: Fleet) -> None:
    fleet.accept(SetMaintenance, node=OLD, on=True, reason="broken fan")
    fleet.drive(ask(fleet))
    assert moved(fleet)
    assert fleet.node(OLD).maintenance is None


def test_the_last_master_can_be_replaced_because_the_new_one_is_there_first() -> None:
    fleet = Fleet()
    fleet.bundle(1, MASTERS)
    fleet.in_service("m1", role="master")
    fleet.in_service("w1", role="worker")
    fleet.discovered("m2")
    job = fleet.accept(ReplaceNode, old="m1", new="m2").ref
    assert fleet.due(job) == ["m2"]
    fleet.drive(job)
    assert machine(fleet.node("m1")) == "m2"
    assert fleet.job(job).state is JobState.SUCCEEDED


def test_what_the_old_machine_owed_the_new_one_pays(fleet: Fleet) -> None:
    fleet.bundle(2, manifest(component("app"), component("more")))
    fleet.unreachable(OLD)
    fleet.accept(SubmitJob, kind=JobKind.UPGRADE, selector=f"name={OLD}")
    fleet.accept(ReportPresence, node=OLD, presence=Presence.REACHABLE)
    fleet.drive(ask(fleet))
    node = fleet.node(OLD)
    assert moved(fleet)
    assert node.debt is not None
    assert node.debt.bundle == digest(2)


def test_a_name_that_is_long_is_cut_for_the_old_machine() -> None:
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app")))
    long = "a" * 62 + "b"
    fleet.in_service(long)
    fleet.discovered(NEW)
    job = fleet.accept(ReplaceNode, old=long, new=NEW).ref
    fleet.drive(job)
    kept = [name for name in fleet.state.nodes if "-replaced-" in name]
    assert [len(name) for name in kept] == [63]


def test_a_replacement_that_makes_no_sense_is_refused_and_nothing_changes(fleet: Fleet) -> None:
    fleet.refuse(Reason.NO_SUCH_NODE, ReplaceNode, old="nobody", new="noone")
    fleet.refuse(Reason.INVALID, ReplaceNode, old=OLD, new=OLD)
    fleet.refuse(Reason.WRONG_STATUS, ReplaceNode, old=NEW, new=OLD)
    fleet.refuse(Reason.INVALID, SubmitJob, kind=JobKind.REPLACE, nodes=(OLD, NEW))
    fleet.refuse(Reason.INVALID, ReplaceNode, old=OLD, new=NEW, priority=101)
    fleet.added("never-seen")
    fleet.refuse(Reason.WRONG_STATUS, ReplaceNode, old=OLD, new="never-seen")
    fleet.unreachable(NEW)
    fleet.refuse(Reason.UNREACHABLE, ReplaceNode, old=OLD, new=NEW)


def test_two_replacements_do_not_share_a_node(fleet: Fleet) -> None:
    ask(fleet)
    fleet.discovered("spare-2")
    refused = fleet.refuse(Reason.BUSY, ReplaceNode, old=OLD, new="spare-2")
    assert refused.offenders == (OLD,)
    fleet.refuse(Reason.BUSY, ReplaceNode, old="web-2", new=NEW)
    fleet.accept(ReplaceNode, old="web-2", new="spare-2")


def test_a_node_that_a_job_holds_is_not_replaced(fleet: Fleet) -> None:
    other = fleet.submit(JobKind.VERIFY, OLD)
    fleet.claim(other, OLD)
    fleet.refuse(Reason.BUSY, ReplaceNode, old=OLD, new=NEW)
