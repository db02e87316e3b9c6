"""Jobs that are steered on real OpenSSH hosts: cancelled, tried again, taken back, overtaken."""

import signal
from pathlib import Path

import pytest

from tests.cluster.bundle import write_bundle
from tests.cluster.conftest import NODES, Fleet
from tests.cluster.steer import (
    CAREFUL,
    PATIENCE_S,
    REFUSES,
    begun,
    done,
    ends,
    in_service,
    nothing_twice,
    steer,
    succeeds,
    upgrade,
)

pytestmark = pytest.mark.timeout(300)
CONFIG = "/etc/app.conf"
WORK = ["work.01.app.first 1", "work.02.app.second 1"]
BACK = ["undo.01.app.first 1", "undo.02.app.second 1"]


def test_a_cancel_kills_what_runs_and_a_leader_that_slept_through_it_changes_nothing(
    shared: Fleet,
) -> None:
    in_service(shared)
    frozen = shared.cluster.wait("a leader", shared.cluster.leader)
    job = upgrade(shared, variables={"pause": 66.6})
    begun(shared, job, "n1")
    shared.cluster.processes.signal_replica(frozen, signal.SIGSTOP)
    shared.cluster.wait(
        "another leader",
        lambda: next(
            (
                name
                for name in shared.cluster.names
                if name != frozen and (shared.cluster.on(name, "GET", "/v1/replica").body or {}).get("leads")
            ),
            "",
        ),
        timeout_s=PATIENCE_S,
    )
    shared.cluster.ask("POST", f"/v1/jobs/{job}:cancel", {"reason": "for a test"}).ok()
    ended = ends(shared, job, "cancelled")
    assert [one["state"] for one in ended["tasks"]] == ["cancelled"] * 3
    assert shared.lab.run("n1", "pgrep", "-f", "sleep 66.6").stdout == ""
    effects = shared.effects("n1")
    assert done(shared, job, "n2") == done(shared, job, "n3") == []
    node = shared.cluster.node("n1")
    assert (node["bundle"], node["health"]) == (shared.first, "verified")
    assert shared.lab.read("n1", CONFIG) == b"version=1.0 port=8080\n"

    shared.cluster.processes.signal_replica(frozen, signal.SIGCONT)
    shared.cluster.revive()
    shared.cluster.wait("a leader", shared.cluster.leader)
    assert shared.cluster.job(job) == ended
    for key in ("status", "role", "bundle", "last_good", "epoch", "history"):
        assert shared.cluster.node("n1")[key] == node[key]
    assert shared.effects("n1") == effects
    nothing_twice(shared)


def test_a_retry_works_where_it_failed_and_a_rollback_goes_to_the_bundle_that_was_named(
    shared: Fleet, tmp_path: Path
) -> None:
    careful = shared.cluster.push(write_bundle(tmp_path / "careful", version="3.0", extra=CAREFUL))
    in_service(shared)
    shared.lab.run("n2", "touch", REFUSES, check=True)
    try:
        job = upgrade(shared, bundle=careful, max_failed=1)
        ended = ends(shared, job, "partly")
    finally:
        shared.lab.run("n2", "rm", "-f", REFUSES)
    assert [one["state"] for one in ended["tasks"]] == ["succeeded", "failed", "succeeded"]
    assert done(shared, job, "n2") == [WORK[0], *BACK]
    assert [shared.cluster.node(node)["bundle"] for node in NODES] == [careful, shared.first, careful]

    again = str(steer(shared, job, "retry")["id"])
    retried = succeeds(shared, again)
    assert ([one["node"] for one in retried["tasks"]], retried["retry_of"]) == (["n2"], job)
    assert done(shared, again, "n2") == WORK
    assert done(shared, again, "n1") == done(shared, again, "n3") == []

    succeeds(shared, upgrade(shared, "n1"))
    back = upgrade(shared, "n1", "n3", bundle=shared.first)
    succeeds(shared, back)
    for node, version in (("n1", b"1.0"), ("n2", b"3.0"), ("n3", b"1.0")):
        assert shared.lab.read(node, CONFIG) == b"version=%b port=8080\n" % version
    nothing_twice(shared)


def test_of_jobs_that_want_the_same_nodes_the_higher_priority_is_first(shared: Fleet) -> None:
    in_service(shared)
    first = upgrade(shared, "n1", "n2", pause=3)
    begun(shared, first, "n1")
    plain = upgrade(shared, "n1", bundle=shared.first)
    urgent = upgrade(shared, "n1", priority=5)
    blocked = shared.cluster.job(plain)["blocked_by"]
    assert blocked == [{"job": first, "nodes": 1}]
    for job in (first, plain, urgent):
        succeeds(shared, job)
    order = list(dict.fromkeys(line.split()[0].rpartition("-j-")[2] for line in shared.effects("n1")))
    names = [job.removeprefix("j-") for job in (first, urgent, plain)]
    assert order[-3:] == names
    assert shared.cluster.node("n1")["bundle"] == shared.first
    nothing_twice(shared)


def test_a_revert_brings_the_variables_of_the_request_before_back_too(shared: Fleet) -> None:
    in_service(shared, "n1")
    succeeds(shared, upgrade(shared, "n1", variables={"port": 81}))
    wrong = upgrade(shared, "n1", bundle=shared.first, variables={"port": 82})
    succeeds(shared, wrong)
    assert shared.lab.read("n1", CONFIG) == b"version=1.0 port=82\n"
    back = str(steer(shared, wrong, "revert")["id"])
    succeeds(shared, back)
    assert shared.lab.read("n1", CONFIG) == b"version=2.0 port=81\n"
