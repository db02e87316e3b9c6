"""Steering jobs over HTTP: pause, resume, promote, retry, revert; and why a thing waits."""

from typing import Any

import pytest

from tests.hamgr.api import rig
from tests.hamgr.api.leading import drive
from tests.hamgr.api.rig import Server

CANARY = {"canary": 1, "promotion": "manual"}


def submitted(rollout: Any = None, **more: Any) -> dict[str, Any]:
    body = {"kind": "commission", "nodes": ["w1", "w2", "w3"], "role": "web", "rollout": rollout or {}}
    return {**body, **more}


async def test_a_job_is_paused_with_its_reason_and_resumed(bundled: Server) -> None:
    _, made, _ = await bundled.call("POST", "/v1/jobs", submitted())
    path = f"/v1/jobs/{made['id']}"
    status, tried, _ = await bundled.call("POST", f"{path}:pause?dry_run=1", {"reason": "lunch"})
    assert (status, tried["dry_run"]) == (200, True)
    assert not bundled.state.jobs[made["id"]].holds
    status, told, _ = await bundled.call("POST", f"{path}:pause", {"reason": "lunch"})
    assert (status, told["ref"]) == (202, made["id"])
    _, job, _ = await bundled.call("GET", path)
    (hold,) = job["holds"]
    assert (hold["kind"], hold["reason"]) == ("paused", "lunch")
    assert hold["way_out"] == f"hamgr job resume {made['id']}"
    assert (await bundled.call("POST", f"{path}:pause"))[1]["code"] == "wrong-status"
    assert (await bundled.call("POST", f"{path}:resume"))[0] == 202
    _, page, _ = await bundled.call("GET", "/v1/jobs?limit=1")
    assert page["items"][0]["holds"] == []


async def test_canaries_are_promoted_when_they_are_done_and_not_before(bundled: Server) -> None:
    _, made, _ = await bundled.call("POST", "/v1/jobs", submitted(CANARY))
    path = f"/v1/jobs/{made['id']}"
    status, problem, _ = await bundled.call("POST", f"{path}:promote")
    assert (status, problem["code"]) == (409, "wrong-status")
    assert "its canaries are not done yet" in problem["detail"]
    drive(bundled.replica.cluster, made["id"], "w1")
    _, glance, _ = await bundled.call("GET", "/v1/status")
    (warning,) = [one for one in glance["warnings"] if one["code"] == "job-waits"]
    assert warning["hint"] == f"hamgr job promote {made['id']}"
    _, job, _ = await bundled.call("GET", path)
    assert (job["promoted"], job["holds"][0]["way_out"]) == (False, f"hamgr job promote {made['id']}")
    assert (await bundled.call("POST", f"{path}:promote", {"reason": "fine"}))[0] == 202
    _, job, _ = await bundled.call("GET", path)
    assert (job["promoted"], job["holds"], job["waves"]) == (True, [], {"total": 2, "open": 1})


async def test_a_retry_and_a_revert_are_jobs_of_their_own_and_can_be_looked_at_first(
    bundled: Server,
) -> None:
    _, made, _ = await bundled.call("POST", "/v1/jobs", submitted())
    path = f"/v1/jobs/{made['id']}"
    status, problem, _ = await bundled.call("POST", f"{path}:revert")
    assert (status, problem["code"]) == (409, "wrong-status")
    drive(bundled.replica.cluster, made["id"], "w1")
    drive(bundled.replica.cluster, made["id"], "w2", exit_code=1)
    await bundled.call("POST", f"{path}:cancel")
    before = bundled.state
    _, plan, _ = await bundled.call("POST", f"{path}:retry?dry_run=1")
    assert (plan["dry_run"], plan["nodes"]) == (True, ["w2"])
    _, plan, _ = await bundled.call("POST", f"{path}:retry?dry_run=1", {"unfinished": True})
    assert plan["nodes"] == ["w2", "w3"]
    _, plan, _ = await bundled.call("POST", f"{path}:revert?dry_run=1")
    assert (plan["kind"], plan["nodes"]) == ("decommission", ["w1"])
    assert bundled.state is before
    status, again, headers = await bundled.call("POST", f"{path}:retry", {"reason": "disk is larger now"})
    assert (status, headers["Location"]) == (202, f"/v1/jobs/{again['id']}")
    _, job, _ = await bundled.call("GET", headers["Location"])
    assert (job["retry_of"], job["reason"]) == (made["id"], "disk is larger now")
    status, back, headers = await bundled.call("POST", f"{path}:revert")
    assert (status, headers["Location"]) == (202, f"/v1/jobs/{back['id']}")
    assert (await bundled.call("GET", headers["Location"]))[1]["revert_of"] == made["id"]


async def test_the_same_request_sent_twice_makes_one_retry(bundled: Server) -> None:
    _, made, _ = await bundled.call("POST", "/v1/jobs", submitted(nodes=["w1"]))
    drive(bundled.replica.cluster, made["id"], "w1", exit_code=1)
    headers = {"Idempotency-Key": "once"}
    path = f"/v1/jobs/{made['id']}:retry"
    _, first, _ = await bundled.call("POST", path, headers=headers)
    _, second, _ = await bundled.call("POST", path, headers=headers)
    assert first["id"] == second["id"]
    assert bundled.state.running == (first["id"],)


@pytest.mark.parametrize("verb", ["pause", "resume", "promote", "retry", "revert"])
async def test_what_is_said_to_no_job_or_in_no_known_words_is_refused(bundled: Server, verb: str) -> None:
    status, problem, _ = await bundled.call("POST", f"/v1/jobs/j-99:{verb}")
    assert (status, problem["code"]) == (404, "no-such-job")
    status, problem, _ = await bundled.call("POST", f"/v1/jobs/j-1:{verb}", {"raeson": "x"})
    assert (status, problem["errors"][0]["hint"]) == (422, "did you mean 'reason'?")
    status, problem, _ = await bundled.call("POST", f"/v1/jobs/j-1:{verb}?dryrun=1")
    assert (status, problem["code"]) == (400, "bad-query")


async def test_a_job_that_waits_for_another_ones_locks_says_for_which_and_how_many(bundled: Server) -> None:
    _, first, _ = await bundled.call("POST", "/v1/jobs", submitted())
    rig.claim(bundled.replica.cluster, first["id"], "w1", "w2")
    _, second, _ = await bundled.call("POST", "/v1/jobs", submitted())
    _, job, _ = await bundled.call("GET", f"/v1/jobs/{second['id']}")
    assert job["blocked_by"] == [{"job": first["id"], "nodes": 2}]
    _, job, _ = await bundled.call("GET", f"/v1/jobs/{first['id']}")
    assert job["blocked_by"] == []


async def test_why_is_answered_for_jobs_and_nodes(bundled: Server) -> None:
    _, made, _ = await bundled.call("POST", "/v1/jobs", submitted(CANARY))
    drive(bundled.replica.cluster, made["id"], "w1")
    status, told, _ = await bundled.call("GET", f"/v1/jobs/{made['id']}/why")
    assert (status, told["about"], told["name"]) == (200, "job", made["id"])
    assert set(told["causes"][0]) == {"kind", "message", "since", "until", "way_out", "output"}
    assert [cause["kind"] for cause in told["causes"]] == ["state", "hold", "queue"]
    assert told["causes"][1]["way_out"] == f"hamgr job promote {made['id']}"
    status, told, _ = await bundled.call("GET", "/v1/nodes/w2/why")
    assert (status, told["about"], told["name"]) == (200, "node", "w2")
    assert "waiting for promotion" in told["causes"][-1]["message"]
    for path, code in (("/v1/jobs/j-99/why", "no-such-job"), ("/v1/nodes/ghost/why", "no-such-node")):
        status, problem, _ = await bundled.call("GET", path)
        assert (status, problem["code"]) == (404, code)
