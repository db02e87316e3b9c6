"""Callers that misbehave below HTTP: slow, endless, broken; each ends soon and alone."""

import asyncio
import gzip
import json
from pathlib import Path

import pytest

from hamgr.api import Limits
from tests.hamgr.api import rig
from tests.hamgr.api.rig import Cluster, Server

LIMITS = Limits(
    json_bytes_max=2_000,
    bundle_bytes_max=4_000,
    body_timeout_s=0.3,
    header_timeout_s=0.5,
    blob_bytes_max=6_000,
)


@pytest.fixture
async def server(tmp_path: Path, cluster: Cluster):
    async with rig.serving(tmp_path, cluster, limits=LIMITS) as running:
        yield running


async def talk(server: Server, *parts: bytes, pause_s: float = 0.0) -> tuple[int, dict]:
    """Send raw bytes and return the answer's status and problem; (0, {}) when there is none."""
    host, port = server.url.removeprefix("http://").split(":")
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause_s)
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split()[1])
            length = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
            body = await reader.readexactly(int(length[0].split(b":")[1]))
            return status, json.loads(body) if b"json" in head else {}
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0, {}
        finally:
            writer.close()


def head(method: str, path: str, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {rig.TOKEN}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


JSON = "Content-Type: application/json"


async def test_a_declared_length_over_the_limit_is_refused_before_the_body(server: Server) -> None:
    for path, size in (("/v1/nodes", 2_001), ("/v1/bundles", 4_001)):
        status, problem = await talk(server, head("POST", path, JSON, f"Content-Length: {size}"))
        assert (status, problem["code"]) == (413, "too-large")
    assert server.state.index == 0


async def test_a_body_without_a_length_is_cut_at_the_limit(server: Server) -> None:
    chunk = b"%x\r\n" % 1_000 + b"x" * 1_000 + b"\r\n"
    start = head("POST", "/v1/bundles", "Transfer-Encoding: chunked")
    status, problem = await talk(server, start, *[chunk] * 5)
    assert (status, problem["code"]) == (413, "too-large")


async def test_a_compressed_body_is_limited_by_what_it_unpacks_to(server: Server) -> None:
    data = gzip.compress(b" " * 1_000_000)
    assert len(data) < 2_000
    sent = head("POST", "/v1/nodes", JSON, "Content-Encoding: gzip", f"Content-Length: {len(data)}")
    status, problem = await talk(server, sent + data)
    assert (status, problem.get("code")) in ((413, "too-large"), (400, "bad-request"))


async def test_a_body_that_never_comes_is_given_up(server: Server) -> None:
    status, problem = await talk(server, head("POST", "/v1/nodes", JSON, "Content-Length: 50"), b'{"na')
    assert (status, problem["code"]) == (408, "slow-body")


async def test_a_broken_chunk_is_a_problem_or_the_end_of_the_connection(server: Server) -> None:
    start = head("POST", "/v1/nodes", JSON, "Transfer-Encoding: chunked")
    status, _ = await talk(server, start, b"zz\r\nhello\r\n0\r\n\r\n", pause_s=0.05)
    assert status in (0, 400, 408)
    assert server.state.index == 0


async def test_a_head_that_comes_too_slowly_is_hung_up_on(server: Server) -> None:
    status, _ = await talk(server, *[b"GET /livez HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 12], pause_s=0.1)
    assert status == 0


async def test_an_endless_head_is_refused(server: Server) -> None:
    status, _ = await talk(server, b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 100_000)
    assert status in (0, 400, 431)


@pytest.mark.parametrize(
    "data", [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00" + b"\r\n" * 2]
)
async def test_bytes_that_are_not_http_end_the_connection_without_a_traceback(
    server: Server, data: bytes
) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(data)
        writer.write_eof()
        answer = await reader.read(65_536)
        writer.close()
    assert b"Traceback" not in answer
    assert answer == b"" or answer.startswith(b"HTTP/1.")


async def test_after_all_of_it_the_replica_answers_as_before(server: Server) -> None:
    await talk(server, head("POST", "/v1/nodes", JSON, "Content-Length: 50"), b"{")
    await talk(server, b"\x00\r\n\r\n")
    assert (await server.call("GET", "/v1/status"))[0] == 200
