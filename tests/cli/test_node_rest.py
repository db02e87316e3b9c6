"""`hamgr node drain`, `undrain` and `forgive`, as people type them."""

import pytest

from statemachine.commands import SubmitJob
from statemachine.words import JobKind
from tests.cli.conftest import Cli, Replicas
from tests.hamgr.api.rig import NOW
from tests.statemachine.fleet import Fleet, component, manifest


@pytest.fixture
def fleet(live: Cli, replicas: Replicas) -> Fleet:
    fleet = Fleet()
    fleet.at = NOW
    fleet.bundle(1, manifest(component("app")))
    fleet.in_service("web-1", "web-2")
    replicas.on_loop(setattr, replicas.cluster, "state", fleet.state)
    return fleet


def test_a_drain_is_tried_out_and_submitted_with_its_deadline(
    live: Cli, replicas: Replicas, fleet: Fleet
) -> None:
    dry = live("node", "drain", "web-1", "--deadline", "10m", "--dry-run")
    assert (dry.code, "would drain 1 node" in dry.out) == (0, True)
    made = live("node", "drain", "web-1", "--deadline", "10m", "--reason", "new DIMM", "--detach")
    assert made.code == 0
    job = replicas.cluster.state.jobs[made.out.strip()]
    assert (job.kind, job.task_deadline_s, job.reason) == (JobKind.DRAIN, 600.0, "new DIMM")
    assert live("node", "drain").code == 2
    assert live("node", "drain", "web-1", "--deadline", "soon").code == 2
    back = live("node", "undrain", "web-2", "--detach")
    assert back.code == 0
    assert replicas.cluster.state.jobs[back.out.strip()].kind is JobKind.UNDRAIN


def test_a_debt_is_listed_shown_and_forgiven(live: Cli, replicas: Replicas, fleet: Fleet) -> None:
    fleet.unreachable("web-2")
    job = fleet.accept(SubmitJob, kind=JobKind.UPGRADE, selector="name=web-2").ref
    replicas.on_loop(setattr, replicas.cluster, "state", fleet.state)
    assert f"of {job}" in live("node", "ls").out
    assert "it pays by itself" in live("node", "show", "web-2").out
    assert live("node", "forgive", "web-2", "--dry-run").code == 0
    assert replicas.cluster.state.nodes["web-2"].debt is not None
    done = live("node", "forgive", "web-2", "--reason", "reinstalled")
    assert (done.code, done.out) == (0, "web-2 owes nothing any more\n")
    assert replicas.cluster.state.nodes["web-2"].debt is None
    assert live("node", "forgive", "web-2").code == 4


def test_the_list_says_who_cordoned_a_node_and_until_when(live: Cli, fleet: Fleet) -> None:
    assert live("node", "maintenance", "on", "web-1", "--reason", "disk", "--for", "3d").code == 0
    assert live("node", "maintenance", "on", "web-2", "--reason", "disk").code == 0
    listed = live("node", "ls").out
    assert "maintenance by operator: disk" in listed
    assert "maintenance by operator until 2" in listed


def test_a_replacement_says_what_becomes_of_the_old_machine_and_has_to_be_confirmed(
    live: Cli, replicas: Replicas, fleet: Fleet
) -> None:
    fleet.discovered("spare")
    replicas.on_loop(setattr, replicas.cluster, "state", fleet.state)
    dry = live("node", "replace", "web-1", "spare", "--dry-run")
    assert (dry.code, "would replace 2 nodes" in dry.out) == (0, True)
    asked = live("node", "replace", "web-1", "spare")
    assert asked.code == 2
    assert "spare comes in the place of web-1" in asked.err
    assert "taken out of service" in asked.err
    assert not replicas.cluster.state.running
    made = live("node", "replace", "web-1", "spare", "--yes", "--detach", "--reason", "broken board")
    assert made.code == 0
    job = replicas.cluster.state.jobs[made.out.strip()]
    assert (job.kind, job.replaces, job.reason) == (JobKind.REPLACE, "web-1", "broken board")


def test_an_upgrade_says_what_becomes_of_nodes_that_are_offline_and_how_long_one_may_take(
    live: Cli, replicas: Replicas, fleet: Fleet
) -> None:
    fleet.unreachable("web-2")
    replicas.on_loop(setattr, replicas.cluster, "state", fleet.state)
    named = ("node", "upgrade", "web-1", "web-2", "--detach")
    refused = live(*named)
    assert (refused.code, "--offline owe" in refused.err) == (4, True)
    made = live(*named, "--offline", "owe", "--task-deadline", "30m")
    assert made.code == 0
    job = replicas.cluster.state.jobs[made.out.strip()]
    assert (job.owes, job.task_deadline_s) == (True, 1_800.0)
