"""One command on many nodes over HTTP: recorded first, run once, told node by node."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from backends.ports import Look, TimedOut, Unreachable
from tests.hamgr.api import rig
from tests.hamgr.api.rig import Server

BODY: dict[str, Any] = {"command": "uname -r", "selector": "w*"}


def events_of(text: bytes) -> list[tuple[str, Any]]:
    found = []
    for block in text.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


async def run(server: Server, body: dict[str, Any] = BODY, **kwargs: Any) -> list[tuple[str, Any]]:
    status, data, _ = await server.call("POST", "/v1/exec", body, **kwargs)
    assert status == 200, data
    return events_of(data)


async def test_each_node_tells_its_end_and_who_asked_is_recorded(bundled: Server) -> None:
    bundled.nodes.answers = {
        "w2": Look(exit_code=3, output=b"no\n", truncated=True),
        "w3": Unreachable("w3", "no route to it"),
    }
    events = await run(bundled)
    assert [kind for kind, _ in events] == ["begin", "node", "node", "node", "end"]
    assert events[0][1]["nodes"] == ["w1", "w2", "w3"]
    told = {view["node"]: view for _, view in events[1:-1]}
    assert (told["w1"]["exit_code"], told["w1"]["output"], told["w1"]["error"]) == (0, "I am w1\n", "")
    assert (told["w2"]["exit_code"], told["w2"]["truncated"]) == (3, True)
    assert (told["w3"]["exit_code"], told["w3"]["unknown"]) == (None, False)
    assert "no route to it" in told["w3"]["error"]
    assert set(bundled.nodes.asked) == {(w, b"uname -r\n", True) for w in ("w1", "w2", "w3")}
    event = bundled.state.events[-1]
    assert (event.kind, event.actor, event.subject) == ("exec.begun", "operator", "w*")
    assert event.message == "`uname -r` on 3 nodes"


async def test_an_answer_that_was_lost_is_unknown(bundled: Server) -> None:
    bundled.nodes.answers = {
        "w1": TimedOut("w1", "did not answer"),
        "w2": Look(exit_code=None, output=b"x" * 100, truncated=True),
    }
    told = {view["node"]: view for kind, view in await run(bundled) if kind == "node"}
    assert [told[name]["unknown"] for name in ("w1", "w2", "w3")] == [True, True, False]
    assert "without end" in told["w2"]["error"]


async def test_a_repeat_with_the_same_key_is_refused_and_runs_nothing(bundled: Server) -> None:
    headers = {"Idempotency-Key": "once-only"}
    await run(bundled, headers=headers)
    before = len(bundled.nodes.asked)
    status, problem, _ = await bundled.call("POST", "/v1/exec", BODY, headers=headers)
    assert (status, problem["code"]) == (422, "request-reused")
    assert len(bundled.nodes.asked) == before


async def test_a_dry_run_tells_the_nodes_and_leaves_no_trace(bundled: Server) -> None:
    before = bundled.state.events
    status, view, _ = await bundled.call("POST", "/v1/exec?dry_run=1", BODY)
    assert (status, view["nodes"]) == (200, ["w1", "w2", "w3"])
    assert not bundled.nodes.asked
    assert bundled.state.events is before


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"selector": "x*"}, 404, "no node matches"),
        ({"selector": "=web"}, 422, "selector"),
        ({"selector": ""}, 422, "one of the two"),
        ({"nodes": ["w1"]}, 422, "one of the two"),
        ({"nodes": ["nobody"], "selector": ""}, 404, "nobody"),
        ({"command": ""}, 422, "command"),
        ({"command": "x" * 70_000}, 422, "command"),
        ({"timeout": 0}, 422, "3600"),
        ({"timeout": 4000}, 422, "3600"),
        ({"output_bytes_max": 1}, 422, "output_bytes_max"),
        ({"comand": "x"}, 422, "comand"),
    ],
)
async def test_what_cannot_be_run_is_refused_and_not_recorded(
    bundled: Server, change: dict[str, Any], status: int, words: str
) -> None:
    before = bundled.state
    got, problem, _ = await bundled.call("POST", "/v1/exec", {**BODY, **change})
    assert got == status, problem
    assert words in json.dumps(problem)
    assert not bundled.nodes.asked
    assert bundled.state.events is before.events


async def test_without_a_leader_nothing_is_run(bundled: Server) -> None:
    bundled.replica.fault = "not-committed"
    status, problem, _ = await bundled.call("POST", "/v1/exec", BODY)
    assert (status, problem["code"]) == (503, "not-committed")
    assert not bundled.nodes.asked


async def test_no_more_nodes_at_once_than_asked_for(bundled: Server) -> None:
    bundled.nodes.hold = asyncio.Event()
    task = asyncio.create_task(run(bundled, {**BODY, "max_parallel": 2}))
    async with asyncio.timeout(10):
        while len(bundled.nodes.asked) < 2:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert len(bundled.nodes.asked) == 2
    bundled.nodes.hold.set()
    assert len(await task) == 5


async def test_whoever_stops_listening_has_nothing_more_begun(bundled: Server) -> None:
    bundled.nodes.hold = asyncio.Event()
    async with bundled.session.post(f"{bundled.url}/v1/exec", json={**BODY, "max_parallel": 1}) as answer:
        assert isinstance(answer, aiohttp.ClientResponse)
        async with asyncio.timeout(10):
            while not bundled.nodes.asked:
                await asyncio.sleep(0.01)
        answer.close()
    for _ in range(10):  # turns of the loop, in one of which the server learns of it, whatever stood still
        await asyncio.sleep(0.02)
    bundled.nodes.hold.set()
    await asyncio.sleep(0.1)
    assert len(bundled.nodes.asked) == 1


async def test_secrets_are_masked(bundled: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hamgr.jobs.adhoc.Masks.of", lambda *_: rig.mask("swordfish"))
    bundled.nodes.answers = {"w1": Look(exit_code=0, output=b"it is swordfish\n")}
    told = {view["node"]: view for kind, view in await run(bundled) if kind == "node"}
    assert told["w1"]["output"] == "it is *********\n"
