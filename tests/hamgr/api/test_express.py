"""The short way for simple requests: what callers see is what they see on the long one."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from hamgr import api
from hamgr.api import express, server
from statemachine.words import RequestId
from tests.hamgr.api import rig
from tests.hamgr.api.rig import Cluster, Server

GIVE_UP_S = 20.0
HEAD = f"Host: x\r\nAuthorization: Bearer {rig.TOKEN}\r\n"
VARIES = ("date", "x-request-id")


class Watched(express.Express):
    """Notes whose requests went the long way."""

    handed_over: list[bytes]
    made: list["Watched"]

    def __init__(self, ways: express.Ways) -> None:
        super().__init__(ways)
        self.made.append(self)

    def _hand_over(self, data: bytes) -> None:
        self.handed_over.append(data)
        super()._hand_over(data)


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    Watched.handed_over, Watched.made = [], []
    monkeypatch.setattr(server, "Express", Watched)
    return Watched.handed_over


@pytest.fixture
async def noted(handed_over: list[bytes], tmp_path: Path, cluster: Cluster) -> AsyncIterator[Server]:
    rig.discovered(cluster, "n1")
    async with rig.serving(tmp_path, cluster) as running:
        yield running


class Caller:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(0.02)  # so that parts arrive as parts

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers in lower case, and body."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), headers, await self._reader.readexactly(int(headers["content-length"]))

    async def ask(self, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
        await self.send(*parts)
        return await self.answer()

    async def end(self) -> bytes:
        """Return what comes before the server closes the connection."""
        return await self._reader.read()


@contextlib.asynccontextmanager
async def calling(running: Server) -> AsyncIterator[Caller]:
    host, port = running.url.removeprefix("http://").split(":")
    async with asyncio.timeout(GIVE_UP_S):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield Caller(reader, writer)
        finally:
            writer.close()


def get(path: str, *headers: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\n{HEAD}{''.join(line + chr(13) + chr(10) for line in headers)}\r\n".encode()
    )


def patch(path: str, body: object, *headers: str) -> bytes:
    data = json.dumps(body)
    lines = "".join(f"{line}\r\n" for line in (*headers, "Content-Type: application/json"))
    return f"PATCH {path} HTTP/1.1\r\n{HEAD}{lines}Content-Length: {len(data)}\r\n\r\n{data}".encode()


REQUESTS = {
    "a read": get("/v1/nodes/n1"),
    "a stale read": get("/v1/nodes/n1?consistency=stale"),
    "a missing node": get("/v1/nodes/nobody"),
    "globals": get("/v1/globals"),
    "an unknown parameter": get("/v1/nodes/n1?no=1"),
    "no token": get("/v1/globals").replace(rig.TOKEN.encode(), b"wrong"),
    "an edit": patch("/v1/nodes/n1", {"variables": {"a": 1}}, "Idempotency-Key: same"),
    "a wrong body": patch("/v1/nodes/n1", {"no": 1}),
    "a dry run": patch("/v1/globals?dry_run=1", {"variables": {"a": 1}}),
    "a bad header": patch("/v1/nodes/n1", {"role": ""}, "If-Match: x"),
    "a body that is too large": patch("/v1/globals", {"variables": {"a": "x" * 40_000}}),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_both_ways_give_the_same_answer(
    handed_over: list[bytes], tmp_path: Path, cluster: Cluster, name: str
) -> None:
    rig.discovered(cluster, "n1")
    request = REQUESTS[name]
    async with rig.serving(tmp_path, cluster, limits=api.Limits(json_bytes_max=20_000)) as running:
        async with calling(running) as caller:
            short = await caller.ask(request)
        assert not handed_over
        async with calling(running) as caller:
            long = await caller.ask(request[:20], request[20:])
        assert len(handed_over) == 1
    for _status, headers, _body in (short, long):
        assert all(headers.pop(key) for key in VARIES)
    assert short[:2] == long[:2]
    told = [{**json.loads(body), "request_id": ""} for _status, _headers, body in (short, long)]
    assert told[0] == told[1]


async def test_a_connection_is_kept_for_many_simple_requests(noted: Server, handed_over: list[bytes]) -> None:
    async with calling(noted) as caller:
        for number in range(5):
            status, headers, _ = await caller.ask(patch("/v1/nodes/n1", {"variables": {"a": number}}))
            assert status == 200
            status, _, body = await caller.ask(get("/v1/nodes/n1"))
            assert json.loads(body)["variables"] == {"a": number}
            assert headers["etag"] == f'"{json.loads(body)["index"]}"'
    assert not handed_over


OTHERS = {
    "an unlisted route": get("/v1/status"),
    "a name with an escape": get("/v1/nodes/n%31"),
    "a verb in the path": patch("/v1/jobs/j-1:cancel", {}).replace(b"PATCH", b"POST"),
    "a deeper path": get("/v1/nodes/n1/variables"),
    "no name": get("/v1/nodes/"),
    "another method": get("/v1/nodes/n1").replace(b"GET", b"HEAD"),
    "an old version": get("/v1/nodes/n1").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a wish to close": get("/v1/nodes/n1", "Connection: close"),
    "a wish to be told": patch("/v1/nodes/n1", {"variables": {}}, "Expect: 100-continue"),
    "a wish to upgrade": get("/v1/nodes/n1", "Connection: upgrade", "Upgrade: websocket"),
    "two at once": get("/v1/nodes/n1") * 2,
    "half of a second": get("/v1/nodes/n1") + get("/v1/nodes/n1")[:30],
    "chunks": patch("/v1/nodes/n1", {}).split(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n",
    "two lengths": patch("/v1/nodes/n1", {}, "Content-Length: 1"),
    "a folded header": get("/v1/nodes/n1", "X-A: b", " c"),
    "no HTTP": b"GET /v1/nodes/n1\r\n\r\n",
}


@pytest.mark.parametrize("name", OTHERS)
async def test_whatever_is_not_simple_goes_the_long_way_untouched(
    noted: Server, handed_over: list[bytes], name: str
) -> None:
    async with calling(noted) as caller:
        await caller.send(OTHERS[name])
        assert handed_over == [OTHERS[name]]
        async with calling(noted) as other:  # and is nobody else's trouble
            assert (await other.ask(get("/v1/nodes/n1")))[0] == 200
    assert len(handed_over) == 1


async def test_requests_that_come_while_one_is_answered_are_answered_in_order(
    noted: Server, handed_over: list[bytes]
) -> None:
    async with calling(noted) as caller:
        job = (await noted.call("POST", "/v1/jobs", {"kind": "discover", "addresses": ["a.test"]}))[1]["ref"]
        index = noted.state.jobs[job].index
        await caller.send(get(f"/v1/jobs/{job}?since={index}&wait_s=1"))
        await caller.send(get("/v1/nodes/n1"))
        await caller.send(get("/v1/nodes/nobody"))
        answers = [await caller.answer() for _ in range(3)]
    assert [status for status, _, _ in answers] == [200, 200, 404]
    assert json.loads(answers[0][2])["id"] == job
    assert json.loads(answers[1][2])["name"] == "n1"


async def test_a_connection_that_says_nothing_is_hung_up_on(
    handed_over: list[bytes], tmp_path: Path, cluster: Cluster
) -> None:
    async with rig.serving(tmp_path, cluster, limits=api.Limits(header_timeout_s=0.3)) as running:
        async with calling(running) as caller:
            assert await caller.end() == b""
        async with calling(running) as caller:
            assert (await caller.ask(get("/v1/globals")))[0] == 200
            assert await caller.end() == b""
    assert not handed_over


async def test_each_answer_lets_the_time_of_silence_begin_anew(noted: Server) -> None:
    async with calling(noted) as caller:
        since = []
        for _ in range(2):
            await caller.ask(get("/v1/globals"))
            since.append(Watched.made[-1].idle_since)
            await asyncio.sleep(0.01)
    assert since[0] < since[1]


async def test_an_answer_that_says_that_the_connection_ends_is_the_last(
    handed_over: list[bytes], tmp_path: Path, cluster: Cluster
) -> None:
    async with (
        rig.serving(tmp_path, cluster, limits=api.Limits(json_bytes_max=100)) as running,
        calling(running) as caller,
    ):
        status, headers, _ = await caller.ask(patch("/v1/globals", {"variables": {"a": "x" * 200}}))
        assert (status, headers["connection"]) == (413, "close")
        assert await caller.end() == b""
    assert not handed_over


async def test_a_caller_that_is_gone_has_its_handler_ended(
    noted: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait_for_ever(*, timeout_s: float) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(noted.replica, "read", wait_for_ever)
    async with calling(noted) as caller:
        await caller.send(get("/v1/nodes/n1"))
        await begun.wait()
    async with asyncio.timeout(GIVE_UP_S):
        await ended.wait()


async def test_a_server_that_stops_lets_answers_out_and_ends_who_waits(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SHUTDOWN_TIMEOUT_S", 1.0)
    may_go, never = asyncio.Event(), asyncio.Event()
    waits = iter((may_go, never))
    serving = rig.serving(tmp_path, cluster)
    running = await serving.__aenter__()
    read = running.replica.read

    async def hold(*, timeout_s: float) -> object:
        await next(waits).wait()
        return await read(timeout_s=timeout_s)

    monkeypatch.setattr(running.replica, "read", hold)
    async with calling(running) as idle, calling(running) as answered, calling(running) as stuck:
        await answered.send(get("/v1/globals"))
        await stuck.send(get("/v1/globals"))
        stopping = asyncio.ensure_future(serving.__aexit__(None, None, None))
        assert await idle.end() == b""
        may_go.set()
        assert (await answered.answer())[0] == 200
        assert await answered.end() == b""
        assert await stuck.end() == b""
        await stopping


async def test_a_bug_in_a_handler_is_a_problem_and_the_connection_goes_on(noted: Server) -> None:
    async with calling(noted) as caller:
        noted.replica.fault = "bug"
        status, _, body = await caller.ask(patch("/v1/nodes/n1", {"variables": {}}))
        assert (status, json.loads(body)["code"]) == (500, "internal")
        noted.replica.fault = ""
        assert (await caller.ask(get("/v1/nodes/n1")))[0] == 200


@pytest.mark.parametrize(
    "response",
    [
        web.Response(headers={"X-A": "b"}, body=b"x"),
        web.Response(status=204),
        web.json_response({"a": "ä"}, status=404),
    ],
    ids=["bytes", "nothing", "json"],
)
def test_an_answer_is_bytes_that_end_where_they_say(response: web.Response) -> None:
    head, _, body = express.bytes_of(response).partition(b"\r\n\r\n")
    assert body == (response.body or b"")
    assert (b"Content-Length: %d" % len(body) in head) == (response.status != 204)


def test_an_answer_that_is_not_whole_or_has_a_broken_header_is_not_sent() -> None:
    split = web.Response(body=b"")
    split.headers["X-A"] = "b\r\nSet-Cookie: c"
    with pytest.raises(ValueError, match="line break"):
        express.bytes_of(split)
    with pytest.raises(TypeError):
        express.bytes_of(web.StreamResponse())


async def test_a_request_id_is_told_on_the_short_way_too(noted: Server) -> None:
    async with calling(noted) as caller:
        _, headers, _ = await caller.ask(patch("/v1/nodes/n1", {"variables": {}}, "Idempotency-Key: mine-1"))
    assert headers["idempotency-key"] == "mine-1"
    assert any(RequestId("mine-1") in generation for generation in noted.state.requests)
