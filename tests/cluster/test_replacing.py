"""Machines that take the place of others, on real OpenSSH hosts, with the leader killed in between."""

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.bundle import write_bundle
from tests.cluster.conftest import Fleet
from tests.cluster.steer import (
    AWAY,
    begun,
    done,
    events,
    in_service,
    kill_leader,
    nothing_twice,
    now,
    succeeds,
)

pytestmark = pytest.mark.timeout(300)
CONFIG = "/etc/app.conf"
WORK = ["work.01.app.first 1", "work.02.app.second 1"]
NAMED = 'printf "%s\\n" "{{ node.name }} {{ port }}" > /etc/app.name; sleep {{ pause }}'


def bundle(fleet: Fleet, tmp_path: Path) -> str:
    """Return a bundle whose steps depend on the node's name and variables."""
    return fleet.cluster.push(write_bundle(tmp_path / "named", version="4.0", extra=NAMED))


def replace(fleet: Fleet, old: str, new: str) -> str:
    asked = {"new": new, "reason": "broken board"}
    return str(fleet.cluster.ask("POST", f"/v1/nodes/{old}:replace", asked).ok()["id"])


def who_serves(fleet: Fleet) -> dict[str, Any]:
    """Return what n1 is, without what is seen of it: that may change on a busy machine."""
    node = fleet.cluster.node("n1")
    same = ("address", "machine_id", "host_key", "status", "role", "bundle", "variables", "labels", "past")
    return {key: node[key] for key in same}


def serving(fleet: Fleet, tmp_path: Path) -> str:
    """Put n1 to work under labels and variables of its own; return its bundle."""
    named = bundle(fleet, tmp_path)
    in_service(fleet, "n1", bundle=named)
    own = {"labels": {"rack": "a"}, "variables": {"port": 9090, "pause": 1}}
    fleet.cluster.ask("PATCH", "/v1/nodes/n1", own).ok()
    return named


def test_a_machine_takes_the_place_of_one_at_hand_although_two_leaders_die(
    shared: Fleet, tmp_path: Path
) -> None:
    named = serving(shared, tmp_path)
    since = now(shared)
    job = replace(shared, "n1", "n2")
    begun(shared, job, "n2")
    kill_leader(shared)
    shared.cluster.wait("the old machine's turn", lambda: done(shared, job, "n1"))
    shared.cluster.revive()
    kill_leader(shared)
    ended = succeeds(shared, job)
    assert (ended["kind"], ended["replaces"]) == ("replace", "n1")

    node = shared.cluster.node("n1")
    assert node["address"] == shared.lab.address("n2")
    assert (node["status"], node["role"], node["bundle"]) == ("commissioned", "app", named)
    assert (node["labels"], node["variables"]) == ({"rack": "a"}, {"port": 9090, "pause": 1})
    assert [line["status"] for line in node["past"]][-1] == "decommissioned"
    assert "commissioned" in [line["status"] for line in node["past"]]
    assert node["history"][-1]["job"] == job
    assert shared.lab.read("n2", CONFIG) == b"version=4.0 port=9090\n"
    assert shared.lab.read("n2", "/etc/app.name") == b"n1 9090\n"

    kept = shared.cluster.node(f"n1-replaced-{job.removeprefix('j-')}")
    assert (kept["status"], kept["address"]) == ("decommissioned", shared.lab.address("n1"))
    assert (kept["labels"], kept["variables"]) == ({}, {})
    assert shared.lab.run("n1", "cat", CONFIG).returncode != 0
    assert shared.cluster.ask("GET", "/v1/nodes/n2").status == 404
    assert len(events(shared, "node.replaced", "n1", since=since)) == 1
    assert done(shared, job, "n2") == WORK
    assert done(shared, job, "n1") == ["work.00.app.undo 1"]
    nothing_twice(shared, "n1", "n2")


def test_a_machine_that_died_is_replaced_and_cannot_come_back_as_what_it_was(
    shared: Fleet, tmp_path: Path
) -> None:
    named = serving(shared, tmp_path)
    shared.lab.run("n1", "sh", "-c", AWAY, check=True)
    job = replace(shared, "n1", "n2")
    begun(shared, job, "n2")
    kill_leader(shared)
    ended = shared.cluster.ended(job)
    assert ended["tasks"][0]["state"] == "succeeded", ended
    assert [one["error"].partition(":")[0] for one in ended["tasks"][1:]] in (
        ["out of reach, and left as it is"],
        [],  # it was known when the job began
    )
    node = shared.cluster.node("n1")
    assert (node["address"], node["bundle"]) == (shared.lab.address("n2"), named)
    assert shared.lab.read("n2", "/etc/app.name") == b"n1 9090\n"
    assert done(shared, job, "n2") == WORK

    shared.lab.run("n1", "systemctl", "start", "ssh", check=True)
    effects, before = shared.effects("n1"), who_serves(shared)
    found = shared.cluster.submit("discover", addresses=[shared.lab.address("n1")])
    ended = shared.cluster.ended(found)
    assert ended["state"] == "failed", ended
    assert "which is the name of the node at" in ended["tasks"][0]["error"]
    assert who_serves(shared) == before
    assert shared.effects("n1") == effects
    assert shared.lab.read("n1", CONFIG) == b"version=4.0 port=8080\n"
