"""Jobs over HTTP: submit, try out, show, wait, cancel; and the addresses of discovery."""

import asyncio
import time

import pytest

from hamgr.api.addresses import ADDRESSES_MAX, endpoints
from hamgr.api.problems import Problem
from statemachine.commands import CancelJob
from tests.hamgr.api import rig
from tests.hamgr.api.rig import Server

COMMISSION = {"kind": "commission", "nodes": ["w1", "w2"], "role": "web"}


async def test_a_job_is_accepted_with_its_place_and_can_be_shown(bundled: Server) -> None:
    status, made, headers = await bundled.call("POST", "/v1/jobs", {**COMMISSION, "reason": "first"})
    assert (status, headers["Location"]) == (202, f"/v1/jobs/{made['id']}")
    status, job, headers = await bundled.call("GET", headers["Location"])
    assert status == 200
    assert (job["kind"], job["state"], job["reason"], job["ended"]) == (
        "commission",
        "running",
        "first",
        False,
    )
    assert [task["node"] for task in job["tasks"]] == ["w1", "w2"]
    assert headers["ETag"] == f'"{job["index"]}"'
    _, slim, _ = await bundled.call("GET", f"/v1/jobs/{made['id']}?results=0")
    assert "results" not in slim["tasks"][0]
    _, counts, _ = await bundled.call("GET", f"/v1/jobs/{made['id']}?tasks=0")
    assert counts == {key: value for key, value in job.items() if key != "tasks"}
    assert counts["progress"]["total"] == 2
    _, page, _ = await bundled.call("GET", "/v1/jobs?state=running")
    assert [item["id"] for item in page["items"]] == [made["id"]]
    _, page, _ = await bundled.call("GET", "/v1/jobs?limit=1")
    assert [item["id"] for item in page["items"]] == [made["id"]]
    assert page["total"] == 4


async def test_a_dry_run_tells_waves_and_steps_and_leaves_no_trace(bundled: Server) -> None:
    before, version = bundled.state, bundled.replica.cluster.version
    body = {"kind": "commission", "selector": "w*", "role": "web", "max_parallel": 2}
    status, plan, _ = await bundled.call("POST", "/v1/jobs?dry_run=1", body)
    assert status == 200
    assert plan["waves"] == [["w1", "w2"], ["w3"]]
    assert [(s["phase"], s["step"]) for s in plan["work"][0]["steps"]] == [
        ("work", "page"),
        ("verify", "page"),
    ]
    assert (plan["changes"], plan["work"][0]["role"]) == (3, "web")
    assert bundled.state is before
    assert bundled.replica.cluster.version == version


async def test_a_dry_run_refuses_what_the_deed_would_refuse(bundled: Server) -> None:
    body = {"kind": "commission", "nodes": ["w1", "ghost", "spook"], "role": "web"}
    for path in ("/v1/jobs", "/v1/jobs?dry_run=1"):
        status, problem, _ = await bundled.call("POST", path, body)
        assert (status, problem["code"], problem["offenders"]) == (404, "no-such-node", ["ghost", "spook"])
    assert not bundled.state.running


async def test_a_request_id_of_a_dry_run_can_still_be_used_for_the_deed(bundled: Server) -> None:
    headers = {"Idempotency-Key": "once"}
    await bundled.call("POST", "/v1/jobs?dry_run=1", COMMISSION, headers=headers)
    status, made, _ = await bundled.call("POST", "/v1/jobs", COMMISSION, headers=headers)
    assert (status, made["id"]) == (202, "j-4")
    status, plan, _ = await bundled.call("POST", "/v1/jobs?dry_run=1", COMMISSION, headers=headers)
    assert (status, plan["dry_run"]) == (200, True), "a dry run tells what would happen now"
    assert bundled.state.running == ("j-4",)


async def test_a_cancelled_job_ends_and_a_second_cancel_is_refused(bundled: Server) -> None:
    await bundled.call("POST", "/v1/jobs", COMMISSION)
    status, _, _ = await bundled.call("POST", "/v1/jobs/j-4:cancel", {"reason": "no"})
    assert status == 202
    _, job, _ = await bundled.call("GET", "/v1/jobs/j-4")
    assert job["state"] == "cancelled"
    status, problem, _ = await bundled.call("POST", "/v1/jobs/j-4:cancel")
    assert (status, problem["code"]) == (409, "wrong-status")
    status, problem, _ = await bundled.call("POST", "/v1/jobs/j-99:cancel")
    assert (status, problem["code"]) == (404, "no-such-job")


async def test_a_held_answer_comes_as_soon_as_the_job_changes(bundled: Server) -> None:
    _, made, _ = await bundled.call("POST", "/v1/jobs", COMMISSION)
    began = time.monotonic()
    waiting = asyncio.create_task(bundled.call("GET", f"/v1/jobs/j-4?since={made['index']}&wait_s=30"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    bundled.replica.cluster.apply(CancelJob(request_id=rig.rid(), at=rig.NOW, actor="test", job="j-4"))
    _, job, _ = await waiting
    assert job["ended"]
    assert time.monotonic() - began < 25


async def test_a_held_answer_comes_unchanged_when_the_time_is_over(bundled: Server) -> None:
    _, made, _ = await bundled.call("POST", "/v1/jobs", COMMISSION)
    status, job, _ = await bundled.call("GET", f"/v1/jobs/j-4?since={made['index']}&wait_s=0.1")
    assert (status, job["index"]) == (200, made["index"])


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"kind": "discover", "addresses": ["10.0.0.1"], "nodes": ["a"], "role": "x"}, ["/nodes", "/role"]),
        ({"kind": "verify", "nodes": ["a"], "addresses": ["10.0.0.1"]}, ["/addresses"]),
        ({"kind": "dance", "nodes": ["a"]}, ["/kind"]),
        ({"nodes": ["a"]}, ["/kind"]),
        ({"kind": "verify", "nodes": "a"}, ["/nodes"]),
        ({"kind": "verify", "nodes": ["a", 7]}, ["/nodes/1"]),
        ({"kind": "verify", "nodes": ["a\u0007"]}, ["/nodes/0"]),
        ({"kind": "verify", "nodes": ["a"], "max_parallel": True}, ["/max_parallel"]),
        ({"kind": "verify", "nodes": ["a"], "max_failed": -1}, ["/max_failed"]),
        ({"kind": "verify", "nodes": ["a"], "reason": "x\u001b[2J"}, ["/reason"]),
    ],
)
async def test_a_wrong_body_is_refused_with_every_place(server: Server, body: dict, pointers: list) -> None:
    status, problem, _ = await server.call("POST", "/v1/jobs", body)
    assert (status, problem["code"]) == (422, "bad-body")
    assert [fault["pointer"] for fault in problem["errors"]] == pointers
    assert server.state.index == 0


async def test_a_discovery_takes_hosts_ports_and_ranges(server: Server) -> None:
    body = {
        "kind": "discover",
        "addresses": ["10.0.0.0/30", "web-1.test:2222", "[fd00::1]:23"],
        "user": "ops",
    }
    status, made, _ = await server.call("POST", "/v1/jobs", body)
    assert status == 202
    _, job, _ = await server.call("GET", f"/v1/jobs/{made['id']}")
    names = [task["node"] for task in job["tasks"]]
    assert names == ["10.0.0.1:22", "10.0.0.2:22", "web-1.test:2222", "[fd00::1]:23"]
    assert job["sweep"]


async def test_bad_addresses_are_all_named_and_nothing_is_probed(server: Server) -> None:
    bad = ["10.0.0.300", "10.0.0.0/99", "a b", "host:0", "host:99999", "-x", "", "[::1"]
    body = {"kind": "discover", "addresses": ["10.0.0.1", *bad]}
    status, problem, _ = await server.call("POST", "/v1/jobs", body)
    assert (status, problem["code"], problem["offenders"]) == (422, "invalid", bad)
    assert not server.state.jobs


@pytest.mark.parametrize("text", ["10.0.0.0/8", "fd00::/64", "0.0.0.0/0"])
def test_a_range_that_is_too_large_is_refused_before_it_is_unrolled(text: str) -> None:
    with pytest.raises(Problem) as refused:
        endpoints([text], port=22, user="root")
    assert refused.value.code == "limit"


def test_ranges_that_are_too_many_together_are_refused() -> None:
    found, _ = endpoints(["10.0.0.0/20"], port=22, user="root")
    assert len(found) <= ADDRESSES_MAX
    with pytest.raises(Problem):
        endpoints(["10.0.0.0/20", "10.1.0.0/20"], port=22, user="root")


def test_an_address_that_is_named_twice_is_probed_once() -> None:
    found, sweep = endpoints(["10.0.0.1", "10.0.0.1:22", "::1", "[::1]"], port=22, user="root")
    assert [str(endpoint) for endpoint in found] == ["10.0.0.1:22", "[::1]:22"]
    assert not sweep
