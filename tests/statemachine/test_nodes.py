"""Editing, maintenance, presence and forgetting: what operators and probes may say of a node."""

import pytest

from statemachine.commands import (
    CommitBundle,
    EditNode,
    ForgetNode,
    FoundCluster,
    ReportPresence,
    SetGlobals,
    SetMaintenance,
    SubmitJob,
)
from statemachine.manifest import Manifest, RoleSpec
from statemachine.model import BUNDLES_MAX, EVENTS_MAX, HISTORY_MAX
from statemachine.outcomes import Reason
from statemachine.words import Health, JobKind, JobState, NodeName, Presence, Status
from tests.statemachine.fleet import Fleet, component, digest, manifest

N = NodeName("n1")


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app")))
    fleet.in_service(N)
    return fleet


def test_a_node_in_maintenance_is_left_alone_until_it_ends(fleet: Fleet) -> None:
    fleet.accept(SetMaintenance, node=N, on=True, reason="new disk", until=fleet.at + 60)
    cordon = fleet.node(N).maintenance
    assert cordon is not None
    assert (cordon.owner, cordon.reason, cordon.since) == ("ann", "new disk", fleet.at)
    refusal = fleet.refuse(Reason.IN_MAINTENANCE, SubmitJob, kind=JobKind.VERIFY, nodes=(N,))
    assert "new disk" in refusal.message
    fleet.passed_time(60)
    fleet.submit(JobKind.VERIFY, N)


def test_maintenance_is_lifted_by_hand(fleet: Fleet) -> None:
    fleet.accept(SetMaintenance, node=N, on=True, reason="disk")
    fleet.accept(SetMaintenance, node=N, on=False)
    fleet.submit(JobKind.VERIFY, N)


def test_maintenance_needs_a_reason_and_a_node_in_service(fleet: Fleet) -> None:
    fleet.refuse(Reason.INVALID, SetMaintenance, node=N, on=True)
    fleet.refuse(Reason.NO_SUCH_NODE, SetMaintenance, node="ghost", on=True, reason="disk")
    fleet.discovered("n2")
    fleet.refuse(Reason.WRONG_STATUS, SetMaintenance, node="n2", on=True, reason="disk")


def test_an_edit_merges_labels_and_variables_and_empty_removes(fleet: Fleet) -> None:
    fleet.accept(EditNode, node=N, labels={"rack": "r1", "row": "2"}, variables={"a": {"b": 1, "c": 2}})
    fleet.accept(EditNode, node=N, labels={"row": ""}, variables={"a": {"b": None}})
    assert fleet.node(N).labels == {"rack": "r1"}
    assert fleet.node(N).variables == {"a": {"c": 2}}
    fleet.accept(EditNode, node=N)
    assert fleet.node(N).labels == {"rack": "r1"}


def test_an_edit_of_an_older_version_is_refused(fleet: Fleet) -> None:
    seen = fleet.node(N).index
    fleet.accept(EditNode, node=N, labels={"rack": "r1"}, if_index=seen)
    fleet.refuse(Reason.CHANGED, EditNode, node=N, labels={"rack": "r2"}, if_index=seen)
    fleet.refuse(Reason.CHANGED, ForgetNode, node=N, force=True, if_index=seen)


def test_global_variables_of_an_older_version_are_not_written_over(fleet: Fleet) -> None:
    fleet.accept(SetGlobals, variables={"a": {"b": 1, "c": 2}}, if_index=0)
    fleet.refuse(Reason.CHANGED, SetGlobals, variables={"a": None}, if_index=0)
    fleet.accept(SetGlobals, variables={"a": {"b": None}}, if_index=fleet.state.globals_index)
    assert fleet.state.globals == {"a": {"c": 2}}


def test_the_role_of_a_node_in_service_cannot_be_changed_and_an_unknown_role_is_refused(fleet: Fleet) -> None:
    fleet.refuse(Reason.WRONG_STATUS, EditNode, node=N, role="")
    fleet.discovered("n2")
    fleet.refuse(Reason.NO_SUCH_ROLE, EditNode, node="n2", role="jester")
    fleet.refuse(Reason.NO_SUCH_NODE, EditNode, node="ghost")


def test_a_node_in_service_is_forgotten_only_by_force(fleet: Fleet) -> None:
    fleet.refuse(Reason.WRONG_STATUS, ForgetNode, node=N)
    fleet.accept(ForgetNode, node=N, force=True)
    assert N not in fleet.state.nodes
    fleet.refuse(Reason.NO_SUCH_NODE, ForgetNode, node=N)


def test_a_node_that_a_job_is_at_work_on_is_not_forgotten_even_by_force(fleet: Fleet) -> None:
    fleet.claim(fleet.submit(JobKind.VERIFY, N), N)
    fleet.refuse(Reason.BUSY, ForgetNode, node=N, force=True)


def test_a_job_does_without_a_node_that_is_forgotten_before_its_turn(fleet: Fleet) -> None:
    job = fleet.submit(JobKind.VERIFY, N)
    fleet.accept(ForgetNode, node=N, force=True)
    assert "forgotten" in fleet.task(job, N).error
    assert fleet.job(job).state is JobState.FAILED


def test_a_node_out_of_reach_has_no_known_health_and_its_status_stays(fleet: Fleet) -> None:
    seen = fleet.node(N).seen_at
    fleet.passed_time(30)
    fleet.unreachable(N)
    node = fleet.node(N)
    assert (node.presence, node.health, node.status) == (
        Presence.UNREACHABLE,
        Health.UNKNOWN,
        Status.COMMISSIONED,
    )
    assert node.seen_at == seen
    fleet.accept(ReportPresence, node=N, presence=Presence.REACHABLE)
    assert fleet.node(N).seen_at == fleet.at
    fleet.refuse(Reason.NO_SUCH_NODE, ReportPresence, node="ghost", presence=Presence.SUSPECT)


def test_history_and_events_are_bounded_and_keep_the_newest(fleet: Fleet) -> None:
    for number in range(HISTORY_MAX):
        fleet.drive(fleet.submit(JobKind.DECOMMISSION if number % 2 == 0 else JobKind.COMMISSION, N))
    assert len(fleet.node(N).history) == HISTORY_MAX
    assert fleet.node(N).history[-1].status is fleet.node(N).status
    for number in range(EVENTS_MAX):
        fleet.accept(ReportPresence, node=N, presence=list(Presence)[number % 2])
    assert len(fleet.state.events) == EVENTS_MAX
    assert 0 < fleet.state.event_base <= fleet.state.events[0].index
    assert fleet.state.events[-1].index == fleet.state.index


def test_the_first_cluster_id_wins() -> None:
    fleet = Fleet()
    fleet.refuse(Reason.INVALID, FoundCluster, cluster="Not An Id")
    assert fleet.accept(FoundCluster, cluster="0123456789ab").ref == "0123456789ab"
    assert fleet.accept(FoundCluster, cluster="ffffffffffff").ref == "0123456789ab"
    assert fleet.state.cluster == "0123456789ab"


def test_a_bundle_without_a_component_that_a_role_names_is_refused(fleet: Fleet) -> None:
    broken = Manifest(roles={"web": RoleSpec(name="web", components=("app", "gone"))})
    refusal = fleet.refuse(Reason.INVALID, CommitBundle, digest=digest(2), manifest=broken, size_bytes=1)
    assert refusal.offenders == ("web/app", "web/gone")
    fleet.refuse(Reason.INVALID, CommitBundle, digest="sha256:short", manifest=Manifest(), size_bytes=1)


def test_bundles_are_bounded_and_those_that_nodes_need_stay(fleet: Fleet) -> None:
    for number in range(2, BUNDLES_MAX + 5):
        fleet.bundle(number, Manifest())
    assert len(fleet.state.bundles) == BUNDLES_MAX
    assert digest(1) in fleet.state.bundles
    assert digest(2) not in fleet.state.bundles
    assert fleet.state.current_bundle == digest(BUNDLES_MAX + 4)


def test_an_older_bundle_becomes_current_again_as_it_was(fleet: Fleet) -> None:
    fleet.bundle(2, Manifest())
    first = fleet.state.bundles[digest(1)]
    fleet.bundle(1, Manifest())
    assert fleet.state.current_bundle == digest(1)
    assert fleet.state.bundles[digest(1)] == first
