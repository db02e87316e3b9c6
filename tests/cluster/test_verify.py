"""Verify jobs on real nodes: nothing is left there, and a leader that dies in the middle loses nothing."""

import pytest

from tests.cluster.conftest import Fleet
from tests.cluster.steer import ends, in_service, succeeds

CHECK = "verify.00.app.config"


def checks(fleet: Fleet, job: str) -> list[list[str]]:
    """Return `EPOCH JOB STEP ATTEMPT` of each launch on n1 by a job."""
    return [words for line in fleet.launches("n1") if (words := line.split())[1].endswith(f"-{job}")]


def test_a_verify_job_sees_what_is_there_and_leaves_nothing(shared: Fleet) -> None:
    succeeds(
        shared,
        shared.cluster.submit(
            "commission", nodes=["n1", "n2"], role="app", bundle=shared.first, variables={"port": 8081}
        ),
    )
    before = [(shared.launches(node), shared.effects(node)) for node in ("n1", "n2")]
    succeeds(shared, shared.cluster.submit("verify", nodes=["n1", "n2"]))
    shared.lab.run("n1", "sh", "-c", "echo changed >>/etc/app.conf", check=True)
    told = ends(shared, shared.cluster.submit("verify", nodes=["n1", "n2"]), "partly")
    assert [task["state"] for task in told["tasks"]] == ["failed", "succeeded"]
    (result,) = told["tasks"][0]["results"]
    assert "/etc/app.conf" in result["output_tail"]
    assert shared.cluster.node("n1")["health"] == "drifted"
    assert [(shared.launches(node), shared.effects(node)) for node in ("n1", "n2")] == before


@pytest.mark.timeout(120)
@pytest.mark.parametrize("boundary", ["claimed", "announced", "ended"])
def test_a_leader_that_dies_during_a_look_loses_nothing(shared: Fleet, boundary: str) -> None:
    in_service(shared, "n1")
    cluster = shared.cluster
    armed = cluster.arm(boundary, "kill", "/n1/" if boundary == "claimed" else f"/n1/{CHECK}")
    job = cluster.submit("verify", nodes=["n1"])
    cluster.wait(f"the death at {boundary}", lambda: not armed.exists() and cluster.dead())
    (task,) = succeeds(shared, job)["tasks"]
    assert [(result["step"], result["attempt"]) for result in task["results"]] == [(CHECK, 1)]
    # What the dead leader had announced could be under the node's runner, so that is asked.
    launched = [[str(cluster.node("n1")["epoch"]), CHECK, "1"]] if boundary != "claimed" else []
    assert [[epoch, step, attempt] for epoch, _, step, attempt in checks(shared, job)] == launched
