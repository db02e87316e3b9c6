"""Events over HTTP: listed, followed, and taken up on another replica without loss or repetition."""

import asyncio
import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from hamgr.api import Limits
from statemachine.commands import AddNode
from statemachine.model import EVENTS_MAX, Endpoint
from tests.hamgr.api import rig
from tests.hamgr.api.rig import Cluster, Server, discovered

ESTABLISHED = "01"
"""Of a connection in /proc/net/tcp (proc(5))."""


def add(cluster: Cluster, name: str) -> None:
    endpoint = Endpoint(address="10.0.0.1")
    cluster.apply(AddNode(request_id=rig.rid(), at=rig.NOW, actor="test", node=name, endpoint=endpoint))


async def read(server: Server, count: int, query: str = "", last_id: str = "") -> list[tuple[str, str, dict]]:
    """Read the first `count` events of a stream, bookmarks left out."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    found: list[tuple[str, str, dict]] = []
    async with (
        asyncio.timeout(10),
        server.session.get(f"{server.url}/v1/events{query}", headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/event-stream"
        kind = mark = ""
        async for raw in answer.content:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "id":
                mark = value
            elif name == "data" and kind != "bookmark":
                found.append((kind, mark, json.loads(value)))
                if len(found) == count:
                    return found
    return found


async def test_the_list_has_all_events_in_order_and_the_cursor_to_go_on(server: Server) -> None:
    discovered(server.replica.cluster, "a")
    _, page, _ = await server.call("GET", "/v1/events?follow=0")
    cursors = [item["cursor"] for item in page["items"]]
    assert cursors[0] == "1.0"
    assert page["next"] == cursors[-1]
    assert cursors == [f"{e.index}.{e.part}" for e in server.state.events]
    _, rest, _ = await server.call("GET", f"/v1/events?follow=0&since={cursors[1]}")
    assert [item["cursor"] for item in rest["items"]] == cursors[2:]
    _, few, _ = await server.call("GET", "/v1/events?follow=0&limit=2")
    assert [item["cursor"] for item in few["items"]] == cursors[-2:]
    _, none, _ = await server.call("GET", f"/v1/events?follow=0&since={page['next']}")
    assert (none["items"], none["next"]) == ([], page["next"])
    _, now, _ = await server.call("GET", "/v1/events?follow=0&since=now")
    assert (now["items"], now["next"]) == ([], page["next"]), "whoever goes on from there misses nothing"


async def test_a_stream_sends_what_is_there_and_then_what_comes(server: Server) -> None:
    add(server.replica.cluster, "a")
    reading = asyncio.create_task(read(server, 2))
    await asyncio.sleep(0.1)
    add(server.replica.cluster, "b")
    found = await reading
    assert [(kind, mark, data["subject"]) for kind, mark, data in found] == [
        ("node.added", "1.0", "a"),
        ("node.added", "2.0", "b"),
    ]


async def test_a_stream_is_taken_up_on_another_replica_without_loss_or_repetition(
    tmp_path: Path, cluster: Cluster
) -> None:
    async with rig.serving(tmp_path, cluster, "r1") as r1, rig.serving(tmp_path, cluster, "r2") as r2:
        discovered(cluster, "a", "b")
        everything = [f"{e.index}.{e.part}" for e in cluster.state.events]
        first = await read(r1, 4)
        second = await read(r2, len(everything) - 4, last_id=first[-1][1])
        assert [mark for _, mark, _ in first + second] == everything


async def test_every_place_between_two_events_of_one_command_can_be_resumed(server: Server) -> None:
    discovered(server.replica.cluster, "a")
    everything = [f"{e.index}.{e.part}" for e in server.state.events]
    assert any(not mark.endswith(".0") for mark in everything)
    for i, mark in enumerate(everything[:-1]):
        rest = await read(server, len(everything) - i - 1, last_id=mark)
        assert [found for _, found, _ in rest] == everything[i + 1 :]


async def test_a_replica_that_lags_behind_the_cursor_waits_until_it_is_there(
    tmp_path: Path, cluster: Cluster
) -> None:
    async with rig.serving(tmp_path, cluster, "r2") as r2:
        add(cluster, "a")
        r2.replica.frozen = cluster.state
        add(cluster, "b")
        reading = asyncio.create_task(read(r2, 1, last_id="2.0"))
        await asyncio.sleep(0.1)
        r2.replica.frozen = None
        add(cluster, "c")
        assert [data["subject"] for _, _, data in await reading] == ["c"]


async def test_since_now_begins_with_a_bookmark_that_can_be_resumed(server: Server) -> None:
    add(server.replica.cluster, "a")
    async with server.session.get(f"{server.url}/v1/events?since=now") as answer:
        text = ""
        while "data:" not in text:
            text += (await answer.content.readline()).decode()
    assert "event: bookmark" in text
    assert "id: 1.0" in text
    add(server.replica.cluster, "b")
    assert [data["subject"] for _, _, data in await read(server, 1, last_id="1.0")] == ["b"]


@pytest.mark.parametrize("follow", ["0", "1"])
async def test_a_cursor_that_is_too_old_is_gone_and_says_how_to_go_on(server: Server, follow: str) -> None:
    cluster = server.replica.cluster
    for i in range(3):
        add(cluster, f"n{i}")
    cluster.state = replace(cluster.state, events=cluster.state.events[2:], event_base=2)
    status, problem, _ = await server.call("GET", f"/v1/events?follow={follow}&since=1.0")
    assert (status, problem["code"]) == (410, "expired-cursor")
    assert "since=now" in problem["hint"]


async def test_a_cursor_inside_a_command_whose_first_events_are_gone_is_judged_exactly(
    server: Server,
) -> None:
    cluster = server.replica.cluster
    discovered(cluster, "a")
    three = [event for event in cluster.state.events if event.index == 3]
    assert len(three) >= 3
    cluster.state = replace(cluster.state, events=tuple(three[2:]), event_base=3)
    status, _, _ = await server.call("GET", "/v1/events?follow=0&since=3.0")
    assert status == 410
    status, page, _ = await server.call("GET", "/v1/events?follow=0&since=3.1")
    assert (status, page["items"][0]["cursor"]) == (200, "3.2")


async def test_a_reader_that_fell_behind_is_told_so_in_the_stream(tmp_path: Path, cluster: Cluster) -> None:
    async with rig.serving(tmp_path, cluster) as server:
        add(cluster, "a")
        server.replica.frozen = cluster.state
        reading = asyncio.create_task(read(server, 2, "?since=0.0"))
        await asyncio.sleep(0.1)
        for i in range(3):
            add(cluster, f"n{i}")
        cluster.state = replace(cluster.state, events=cluster.state.events[3:], event_base=3)
        server.replica.frozen = None
        cluster.bump()
        found = await reading
        assert found[0][2]["subject"] == "a"
        assert (found[1][0], found[1][2]["code"]) == ("problem", "expired-cursor")


@pytest.mark.parametrize("text", ["x", "1.", ".1", "-1", "1.2.3", "9" * 40])
async def test_a_cursor_that_is_none_is_refused(server: Server, text: str) -> None:
    status, problem, _ = await server.call("GET", f"/v1/events?since={text}")
    assert (status, problem["code"]) == (400, "bad-query")


async def test_a_silent_stream_sends_heartbeats(tmp_path: Path, cluster: Cluster) -> None:
    async with (
        rig.serving(tmp_path, cluster, limits=Limits(heartbeat_s=0.05)) as server,
        asyncio.timeout(10),
        server.session.get(f"{server.url}/v1/events") as answer,
    ):
        beats = 0
        while beats < 3:
            beats += (await answer.content.readline()).startswith(b":")


async def test_a_reader_that_does_not_read_is_closed_and_the_others_go_on(
    tmp_path: Path, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    # More than the kernel buffers for a connection, on either side of it.
    many = tuple(rig.event(i + 1, "x" * 6_000) for i in range(EVENTS_MAX))
    cluster.state = replace(cluster.state, index=EVENTS_MAX, events=many)
    async with rig.serving(tmp_path, cluster, limits=Limits(slow_reader_s=0.3)) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.connect((host, int(port)))
            slow.sendall(
                f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {rig.TOKEN}\r\n\r\n".encode()
            )
            assert len(await read(server, EVENTS_MAX)) == EVENTS_MAX
            await hung_up(slow, timeout_s=10)
            assert caplog.text == "", "a reader that goes away is no error of ours"


async def hung_up(slow: socket.socket, *, timeout_s: float) -> None:
    """Return when the server has closed its end, although the kernel still has bytes for the reader."""
    ours, theirs = (f":{end[1]:04X}" for end in (slow.getsockname(), slow.getpeername()))
    async with asyncio.timeout(timeout_s):
        while True:
            rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            states = [row[3] for row in rows if row[1].endswith(theirs) and row[2].endswith(ours)]
            if ESTABLISHED not in states:
                return
            await asyncio.sleep(0.02)


async def test_streams_are_counted_and_the_one_too_many_is_refused(tmp_path: Path, cluster: Cluster) -> None:
    async with rig.serving(tmp_path, cluster, limits=Limits(streams_max=1)) as server:
        async with server.session.get(f"{server.url}/v1/events") as first:
            assert first.status == 200
            status, problem, _ = await server.call("GET", "/v1/events")
            assert (status, problem["code"]) == (503, "too-many-streams")
        async with asyncio.timeout(5):
            while (await server.call("GET", "/v1/events?since=x"))[0] != 400:
                await asyncio.sleep(0.05)
            while True:
                async with server.session.get(f"{server.url}/v1/events") as again:
                    if again.status == 200:
                        return


async def test_a_replica_that_stops_does_not_wait_for_its_readers(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig.api.server, "SHUTDOWN_TIMEOUT_S", 60.0)
    async with asyncio.timeout(20), rig.serving(tmp_path, cluster) as server:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {rig.TOKEN}\r\n\r\n".encode()
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
