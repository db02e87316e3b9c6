"""The request's variables that a node had before: a failed upgrade and a revert bring them back."""

from typing import Any

import pytest

from statemachine.commands import RetryJob, RevertJob
from statemachine.model import Node
from statemachine.nodes import variables
from statemachine.outcomes import Reason
from statemachine.rollout import OnFailure, Rollout
from statemachine.words import JobKind, Offline, Phase, TaskState
from tests.statemachine.fleet import Fleet, component, digest, manifest


@pytest.fixture
def fleet() -> Fleet:
    """Two nodes that were asked for with other variables each, under bundle 1; bundle 2 is current."""
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app")))
    fleet.discovered("n1", "n2")
    for node, port in (("n1", 81), ("n2", 82)):
        fleet.drive(
            fleet.submit(JobKind.COMMISSION, node, role="web", bundle=digest(1), variables={"port": port})
        )
    fleet.bundle(2, manifest(component("app")))
    return fleet


def ports(fleet: Fleet, job: str, node: str, phase: Phase = Phase.WORK) -> Any:
    layers = variables.layers(fleet.state, fleet.node(node), digest(1), job=fleet.job(job), phase=phase)
    return variables.resolve(layers).get("port")


def asked(node: Node) -> Any:
    return node.last_request.get("port")


def test_a_revert_asks_of_each_node_what_was_asked_of_it_before(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.UPGRADE, "n1", "n2", variables={"port": 90}, max_parallel=2)
    fleet.drive(job)
    assert (asked(fleet.node("n1")), asked(fleet.node("n2"))) == (90, 90)
    back = fleet.accept(RevertJob, job=job).ref
    assert [ports(fleet, back, node) for node in ("n1", "n2")] == [81, 82]
    fleet.drive(back)
    assert (asked(fleet.node("n1")), asked(fleet.node("n2"))) == (81, 82)
    assert [fleet.node(node).bundle for node in ("n1", "n2")] == [digest(1)] * 2


def test_a_revert_of_nodes_that_were_asked_the_same_says_it_once(fleet: Fleet) -> None:
    fleet.drive(fleet.submit(JobKind.UPGRADE, "n1", "n2", bundle=digest(1), variables={"port": 83}))
    job = fleet.submit(JobKind.UPGRADE, "n1", "n2", variables={"port": 90})
    fleet.drive(job)
    back = fleet.job(fleet.accept(RevertJob, job=job).ref)
    assert (back.variables, [task.variables for task in back.tasks.values()]) == ({"port": 83}, [None, None])


def test_a_revert_that_fails_is_tried_again_with_the_same_variables(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.UPGRADE, "n1", "n2", variables={"port": 90}, max_parallel=2)
    fleet.drive(job)
    back = fleet.accept(RevertJob, job=job).ref
    fleet.cancel(back)
    again = fleet.accept(RetryJob, job=back, unfinished=True).ref
    assert [ports(fleet, again, node) for node in ("n1", "n2")] == [81, 82]


def test_a_reverted_commission_is_cleaned_up_with_what_it_was_asked_for_with(fleet: Fleet) -> None:
    fleet.discovered("n3")
    job = fleet.submit(JobKind.COMMISSION, "n3", role="web", variables={"port": 84})
    fleet.drive(job)
    back = fleet.accept(RevertJob, job=job).ref
    assert ports(fleet, back, "n3") == 84
    fleet.drive(back)
    assert fleet.node("n3").last_request == {}


def test_what_undoes_an_upgrade_has_the_variables_of_before_and_the_node_keeps_them(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.UPGRADE, "n1", variables={"port": 90})
    fleet.claim(job, "n1")
    fleet.fail(job, "n1")
    assert fleet.task(job, "n1").phase is Phase.UNDO
    phases = (Phase.WORK, Phase.VERIFY, Phase.UNDO, Phase.REVERIFY)
    assert [ports(fleet, job, "n1", phase) for phase in phases] == [90, 90, 81, 81]
    fleet.drive(job)
    assert fleet.task(job, "n1").state is TaskState.FAILED
    assert asked(fleet.node("n1")) == 81


def test_a_job_that_reverts_by_itself_brings_them_back_too(fleet: Fleet) -> None:
    rollout = Rollout(on_failure=OnFailure.REVERT)
    job = fleet.submit(JobKind.UPGRADE, "n1", "n2", variables={"port": 90}, max_parallel=1, rollout=rollout)
    fleet.drive(job, "n1")
    fleet.lose(job, "n2")
    back = next(one for one in fleet.state.jobs.values() if one.revert_of == job)
    assert (back.variables, list(back.tasks)) == ({"port": 81}, ["n1"])


def test_a_retry_leaves_those_out_that_are_away_and_owe_it(fleet: Fleet) -> None:
    fleet.unreachable("n2")
    job = fleet.submit(JobKind.UPGRADE, "n1", "n2", offline=Offline.OWE, max_failed=1, variables={"port": 90})
    fleet.lose(job, "n1")
    assert [task.state for task in fleet.job(job).tasks.values()] == [TaskState.FAILED, TaskState.SKIPPED]
    again = fleet.accept(RetryJob, job=job, unfinished=True).ref
    assert list(fleet.job(again).tasks) == ["n1"]
    debt = fleet.node("n2").debt
    assert debt is not None
    assert (debt.job, debt.variables) == (job, {"port": 90})


def test_a_retry_of_nobody_but_those_that_are_away_says_that_they_pay(fleet: Fleet) -> None:
    fleet.unreachable("n2")
    job = fleet.submit(JobKind.UPGRADE, "n1", "n2", offline=Offline.OWE)
    fleet.drive(job, "n1")
    before = fleet.state
    refused = fleet.refuse(Reason.WRONG_STATUS, RetryJob, job=job, unfinished=True)
    assert (
        refused.message == f"n2 cannot be reached; what is owed to {job} is paid as soon as that is possible"
    )
    assert fleet.state.jobs == before.jobs


@pytest.mark.parametrize(
    "kind", [JobKind.VERIFY, JobKind.DRAIN, JobKind.UNDRAIN, JobKind.DECOMMISSION], ids=str
)
def test_what_goes_by_what_a_node_has_goes_by_what_was_asked_for_with_it(fleet: Fleet, kind: JobKind) -> None:
    if kind is JobKind.UNDRAIN:
        fleet.drive(fleet.submit(JobKind.DRAIN, "n1"))
    job = fleet.submit(kind, "n1", "n2") if kind is not JobKind.UNDRAIN else fleet.submit(kind, "n1")
    assert ports(fleet, job, "n1") == 81
    layers = variables.layers(fleet.state, fleet.node("n1"), digest(1), job=fleet.job(job))
    assert variables.origins(layers) == {"port": "last request"}


def test_a_verify_may_ask_for_other_values_and_for_none_and_the_node_keeps_its_own(fleet: Fleet) -> None:
    other = fleet.submit(JobKind.VERIFY, "n1", variables={"port": 90})
    assert ports(fleet, other, "n1") == 90
    fleet.drive(other)
    none = fleet.submit(JobKind.VERIFY, "n1", variables={"port": None})
    assert ports(fleet, none, "n1") is None
    fleet.drive(none)
    assert asked(fleet.node("n1")) == 81


def test_a_step_that_its_tasks_deadline_ends_is_told_as_that(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.UPGRADE, "n1", task_deadline_s=30.0)
    fleet.claim(job, "n1")
    fleet.start(job, "n1")
    fleet.passed_time(31)
    fleet.fail(job, "n1")
    assert fleet.task(job, "n1").failure.startswith("its deadline of 30 s is over; work.00.app.")
