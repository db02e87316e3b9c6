"""A machine is its machine id and its host key together; addresses and names do not make a node."""

from typing import Any

import pytest

from statemachine.commands import AddNode, ForgetNode
from statemachine.discovery_commands import ReportSighting, Sighting, SubmitDiscovery
from statemachine.model import EPOCH_MAX, NODES_MAX, TOMBSTONES_MAX, Endpoint, State
from statemachine.outcomes import Reason
from statemachine.words import JobState, NodeName, Presence, Status, TaskState
from tests.statemachine.fleet import Fleet, key_of


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.discovered("n1")
    return fleet


def refused(fleet: Fleet, name: str, **fields: Any) -> str:
    """Report a machine that must not be let in, see that nobody came in, and return why."""
    nodes = dict(fleet.state.nodes)
    job = fleet.sight(name, **fields)
    (task,) = fleet.job(job).tasks.values()
    assert task.state is TaskState.FAILED
    assert fleet.job(job).state is JobState.FAILED
    assert fleet.state.nodes == nodes
    return task.error


def test_a_new_machine_is_discovered_pinned_and_in_no_hurry(fleet: Fleet) -> None:
    node = fleet.node("n1")
    assert (node.status, node.host_key, node.machine_id) == (Status.DISCOVERED, key_of("n1"), "id-n1")
    assert [line.status for line in node.history] == [Status.NEW, Status.DISCOVERED]
    assert node.presence is Presence.REACHABLE
    assert node.seen_at == fleet.at


def test_a_machine_that_moved_is_followed_to_its_new_address(fleet: Fleet) -> None:
    moved = Endpoint(address="10.9.9.9", port=2222)
    fleet.sight("n1", endpoint=moved)
    assert fleet.node("n1").endpoint == moved
    assert list(fleet.state.nodes) == ["n1"]
    assert fleet.node("n1").status is Status.DISCOVERED


def test_a_machine_that_was_renamed_keeps_its_node(fleet: Fleet) -> None:
    fleet.sight("other", machine_id="id-n1", host_key=key_of("n1"))
    assert list(fleet.state.nodes) == ["n1"]


def test_a_clone_with_the_same_machine_id_is_refused_with_both_named(fleet: Fleet) -> None:
    error = refused(fleet, "n2", machine_id="id-n1")
    assert "n2.example" in error
    assert "machine id of node n1" in error
    assert "another host key" in error


def test_a_clone_with_the_same_host_key_is_refused_with_both_named(fleet: Fleet) -> None:
    error = refused(fleet, "n2", host_key=key_of("n1"))
    assert "n2.example" in error
    assert "host key of node n1" in error


def test_a_copy_of_a_machine_that_answers_elsewhere_is_refused_with_both_named(fleet: Fleet) -> None:
    error = refused(fleet, "n1", endpoint=Endpoint(address="10.9.9.9"), twin="n1.example:22")
    assert "10.9.9.9" in error
    assert "node n1, which answers at n1.example:22" in error


def test_a_stranger_that_takes_a_known_name_is_refused(fleet: Fleet) -> None:
    error = refused(
        fleet, "n1", machine_id="id-x", host_key=key_of("x"), endpoint=Endpoint(address="10.0.0.9")
    )
    assert "calls itself n1" in error
    assert fleet.node("n1").host_key == key_of("n1")


@pytest.mark.parametrize(
    "fields",
    [{"machine_id": ""}, {"host_key": ""}, {"epoch": -1}, {"epoch": EPOCH_MAX + 1}, {"epoch": 2**64 - 1}],
)
def test_a_machine_without_proof_or_with_an_epoch_that_nobody_can_follow_is_refused(
    fleet: Fleet, fields: dict[str, Any]
) -> None:
    assert refused(fleet, "n2", **fields)


def test_a_machine_with_a_name_that_cannot_be_a_node_is_refused(fleet: Fleet) -> None:
    error = refused(fleet, "Not_A_Name", endpoint=Endpoint(address="10.0.0.9"))
    assert "cannot be a node's name" in error


def test_a_machine_that_was_fenced_before_is_never_claimed_below_its_epoch(fleet: Fleet) -> None:
    fleet.sight("n1", epoch=41)
    assert fleet.node("n1").epoch == 41
    fleet.sight("n1", epoch=7)
    assert fleet.node("n1").epoch == 41


def test_a_node_added_by_hand_is_matched_by_name(fleet: Fleet) -> None:
    fleet.added("n2", labels={"rack": "r1"})
    assert fleet.node("n2").status is Status.NEW
    fleet.sight("n2", endpoint=Endpoint(address="10.0.0.9"))
    assert fleet.node("n2").status is Status.DISCOVERED
    assert fleet.node("n2").labels == {"rack": "r1"}
    assert fleet.node("n2").endpoint.address == "10.0.0.9"


def test_a_node_added_by_hand_is_matched_by_address(fleet: Fleet) -> None:
    fleet.added("n2")
    fleet.sight("localhost", machine_id="id-9", host_key=key_of("9"), endpoint=Endpoint(address="n2.example"))
    assert fleet.node("n2").machine_id == "id-9"
    assert "localhost" not in fleet.state.nodes


def test_a_forgotten_machine_leaves_a_tombstone_and_does_not_come_back_unasked(fleet: Fleet) -> None:
    fleet.accept(ForgetNode, node="n1")
    assert fleet.state.tombstones[0].machine_id == "id-n1"
    assert "forget" in refused(fleet, "n1")
    assert "forget" in refused(fleet, "alias", machine_id="id-n1")
    assert "forget" in refused(fleet, "alias", host_key=key_of("n1"))


def test_a_forgotten_machine_comes_back_when_discovery_is_told_to_readmit_it(fleet: Fleet) -> None:
    fleet.accept(ForgetNode, node="n1")
    fleet.sight("n1", readmit=True)
    assert fleet.node("n1").status is Status.DISCOVERED
    fleet.sight("n1")
    assert fleet.node("n1").status is Status.DISCOVERED


def test_a_node_that_nobody_has_seen_leaves_no_tombstone(fleet: Fleet) -> None:
    fleet.added("n2")
    fleet.accept(ForgetNode, node="n2")
    assert fleet.state.tombstones == ()


def test_tombstones_are_bounded_and_the_oldest_go_first(fleet: Fleet) -> None:
    fleet.accept(ForgetNode, node="n1")
    stones = fleet.state.tombstones * TOMBSTONES_MAX
    full = State(index=fleet.state.index, nodes=Fleet().state.nodes, tombstones=stones, job_count=9)
    later = Fleet(full)
    later.discovered("n2")
    later.accept(ForgetNode, node="n2")
    assert len(later.state.tombstones) == TOMBSTONES_MAX
    assert later.state.tombstones[-1].name == "n2"


def test_a_probe_ends_no_task_but_the_one_that_it_was_made_for(fleet: Fleet) -> None:
    first, second = Endpoint(address="10.0.0.1"), Endpoint(address="10.0.0.2")
    job = fleet.accept(SubmitDiscovery, endpoints=(first, second)).ref
    fleet.sight("n5", job=job, endpoint=first)
    assert fleet.task(job, str(first)).state is TaskState.SUCCEEDED
    assert fleet.task(job, str(second)).state is TaskState.QUEUED
    assert fleet.job(job).state is JobState.RUNNING
    sighting = Sighting(endpoint=first, name="n6", machine_id="id-6", host_key=key_of("6"), epoch=0)
    fleet.refuse(Reason.STALE_CLAIM, ReportSighting, job=job, task=NodeName(str(first)), sighting=sighting)


def test_adding_a_node_twice_is_refused_and_names_it(fleet: Fleet) -> None:
    refusal = fleet.refuse(Reason.IDENTITY, AddNode, node="n1", endpoint=Endpoint(address="x"))
    assert refusal.offenders == ("n1",)


@pytest.mark.parametrize(
    "fields",
    [
        {"node": "Upper"},
        {"node": "n2\n"},
        {"node": "x" * 64},
        {"node": "n2", "labels": {"Bad Key": "v"}},
        {"node": "n2", "labels": {"k": "bad value"}},
        {"node": "n2", "labels": {f"k{i}": "v" for i in range(65)}},
    ],
)
def test_a_node_with_a_name_or_a_label_that_cannot_be_is_refused(
    fleet: Fleet, fields: dict[str, Any]
) -> None:
    fleet.refuse(Reason.INVALID, AddNode, endpoint=Endpoint(address="x"), **fields)


def test_labels_of_a_discovery_are_checked_before_anything_is_probed(fleet: Fleet) -> None:
    where = (Endpoint(address="x"),)
    fleet.refuse(Reason.INVALID, SubmitDiscovery, endpoints=where, labels={"k": "bad value"})
    fleet.refuse(Reason.NO_TARGETS, SubmitDiscovery, endpoints=())


def test_a_full_inventory_takes_nobody_in(fleet: Fleet) -> None:
    many = {NodeName(f"x{i}"): fleet.node("n1") for i in range(NODES_MAX)}
    full = Fleet(State(index=5, nodes=many))
    full.refuse(Reason.LIMIT, AddNode, node="n2", endpoint=Endpoint(address="x"))
