"""Plans of many nodes over HTTP: told how far they are, with time for each, and ended by who hangs up."""

import asyncio
import json
from typing import Any

import aiohttp

from statemachine.commands import EditNode
from tests.hamgr.api import rig
from tests.hamgr.api.rig import Server

COMMISSION: dict[str, Any] = {"kind": "commission", "selector": "w*", "role": "web", "max_parallel": 2}
STREAM = {"Accept": "text/event-stream"}
DEADLINE_S = 20.0

Events = list[tuple[str, Any]]


async def next_event(answer: aiohttp.ClientResponse) -> tuple[str, Any]:
    """Return the next event, or ("", None) at the end."""
    kind = ""
    async with asyncio.timeout(DEADLINE_S):
        while line := (await answer.content.readline()).decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                return kind, json.loads(value)
    return "", None


async def streamed(server: Server, method: str, path: str, body: Any = None) -> Events:
    async with server.session.request(method, server.url + path, json=body, headers=STREAM) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream"), await answer.text()
        found: Events = []
        while (event := await next_event(answer))[0]:
            found.append(event)
        return found


def kinds(events: Events) -> list[str]:
    """Return the kinds in their order; how often a slow look is told is no matter."""
    return list(dict.fromkeys(kind for kind, _ in events))


async def test_a_streamed_plan_tells_how_far_it_is_and_ends_with_the_same_plan(bundled: Server) -> None:
    events = await streamed(bundled, "POST", "/v1/plans", COMMISSION)
    assert kinds(events) == ["looked", "plan", "end"]
    assert events[0][1] == {"looked": 0, "nodes": 3}
    plan = events[-2][1]
    assert plan["recorded"]
    assert list(bundled.state.plans) == [plan["hash"]]
    status, again, _ = await bundled.call("POST", "/v1/plans", COMMISSION)
    assert status == 201
    assert {**again, "index": 0} == {**plan, "index": 0}


async def test_a_streamed_dry_run_keeps_nothing(bundled: Server) -> None:
    before = bundled.state
    events = await streamed(bundled, "POST", "/v1/plans?dry_run=1", COMMISSION)
    assert not events[-2][1]["recorded"]
    assert bundled.state is before


async def test_a_stream_has_time_for_every_node_and_an_answer_in_one_piece_has_not(bundled: Server) -> None:
    await streamed(bundled, "POST", "/v1/plans", COMMISSION)
    await bundled.call("POST", "/v1/plans", COMMISSION)
    longer_s, whole_s = bundled.lookout.timeouts_s
    assert longer_s > whole_s


async def test_nodes_that_were_looked_at_are_counted_while_others_are_waited_for(bundled: Server) -> None:
    bundled.lookout.hold = asyncio.Event()
    async with bundled.session.post(f"{bundled.url}/v1/plans", json=COMMISSION, headers=STREAM) as answer:
        while (event := await next_event(answer)) != ("looked", {"looked": 1, "nodes": 3}):
            assert event[0] == "looked"
        bundled.lookout.hold.set()
        while event[0] == "looked":
            event = await next_event(answer)
        assert event[0] == "plan"


async def test_a_look_ends_when_its_caller_hangs_up(bundled: Server) -> None:
    bundled.lookout.hold = asyncio.Event()
    async with bundled.session.post(f"{bundled.url}/v1/plans", json=COMMISSION, headers=STREAM) as answer:
        await next_event(answer)
        answer.close()
    async with asyncio.timeout(DEADLINE_S):
        await bundled.lookout.cancelled.wait()
    assert not bundled.state.plans


async def test_a_refusal_that_is_known_before_the_look_has_a_status(bundled: Server) -> None:
    body = {**COMMISSION, "selector": "nobody*"}
    status, problem, _ = await bundled.call("POST", "/v1/plans", body, headers=STREAM)
    assert (status, problem["code"]) == (404, "no-targets")
    assert not bundled.lookout.timeouts_s


async def test_a_refusal_after_the_look_is_told_in_the_stream(bundled: Server) -> None:
    bundled.lookout.meanwhile = lambda: bundled.replica.cluster.apply(
        EditNode(request_id=rig.rid(), at=rig.NOW, actor="test", node="w1", variables={"x": 1})
    )
    events = await streamed(bundled, "POST", "/v1/plans", COMMISSION)
    kind, problem = events[-1]
    assert (kind, problem["code"], problem["status"]) == ("problem", "changed", 412)
    assert not bundled.state.plans


async def test_a_plan_that_is_kept_can_be_looked_at_again_as_a_stream(bundled: Server) -> None:
    _, plan, _ = await bundled.call("POST", "/v1/plans", COMMISSION)
    events = await streamed(bundled, "GET", f"/v1/plans/{plan['hash']}?look=1")
    assert kinds(events) == ["looked", "plan", "end"]
    assert (events[-2][1]["hash"], events[-2][1]["summary"]) == (plan["hash"], plan["summary"])
