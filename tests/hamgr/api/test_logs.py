"""Job logs over HTTP: streamed by the leader, handed on by followers."""

import asyncio
import json
from pathlib import Path

from hamgr.api import Limits
from hamgr.logs.asking import Cursor
from hamgr.raft.port import Peer
from tests.hamgr.api import rig
from tests.hamgr.api.fakes import Line
from tests.hamgr.api.rig import Cluster, Server

DISCOVER = {"kind": "discover", "addresses": ["10.0.0.1", "10.0.0.2"]}
LINES = [Line("10.0.0.1:22", "s1", 1, 0, b"one\n"), Line("10.0.0.2:22", "s1", 1, 0, b"t\xc3\xa9o\xff\n")]


async def read(server: Server, path: str) -> list[tuple[str, dict]]:
    status, data, headers = await server.call("GET", path)
    assert status == 200, data
    assert headers["Content-Type"] == "text/event-stream"
    found = []
    for block in data.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "data" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


async def test_a_log_has_all_lines_and_ends_with_how_the_job_stands(server: Server) -> None:
    await server.call("POST", "/v1/jobs", DISCOVER)
    server.logs.lines = LINES
    found = await read(server, "/v1/jobs/j-1/log")
    assert [kind for kind, _ in found] == ["log", "log", "end"]
    assert found[1][1] == {
        "node": "10.0.0.2:22",
        "step": "s1",
        "attempt": 1,
        "offset": 0,
        "bytes": 6,
        "data": "t\u00e9o\ufffd\n",
        "note": "",
        "raw": "dMOpb/8K",
    }
    assert found[2][1] == {"job": "j-1", "state": "running"}
    one = await read(server, "/v1/jobs/j-1/log?node=10.0.0.1:22")
    assert [data.get("data") for _, data in one] == ["one\n", None]


async def test_a_follower_hands_the_leaders_log_on(tmp_path: Path, cluster: Cluster) -> None:
    async with rig.serving(tmp_path, cluster, "r1") as r1, rig.serving(tmp_path, cluster, "r2") as r2:
        rig.link(r1, r2)
        await r1.call("POST", "/v1/jobs", DISCOVER)
        r1.logs.lines = LINES
        assert [kind for kind, _ in await read(r2, "/v1/jobs/j-1/log")] == ["log", "log", "end"]
        assert (r1.logs.asked, r2.logs.asked) == (1, 0)
        await read(r1, "/v1/jobs/j-1/log")
        assert (r1.logs.asked, r2.logs.asked) == (2, 0)


async def test_a_follower_whose_leader_is_dead_reads_the_log_itself(tmp_path: Path, cluster: Cluster) -> None:
    async with rig.serving(tmp_path, cluster, "r2") as r2:
        await r2.call("POST", "/v1/jobs", DISCOVER)
        r2.logs.lines = LINES
        r2.replica.peers = (Peer(name="r1", api="http://127.0.0.1:1", connected=False),)
        assert len(await read(r2, "/v1/jobs/j-1/log")) == 3


async def test_two_replicas_that_take_each_other_for_the_leader_do_not_go_in_circles(
    tmp_path: Path, cluster: Cluster
) -> None:
    async with rig.serving(tmp_path, cluster, "r2") as r2, rig.serving(tmp_path, cluster, "r3") as r3:
        r2.replica.peers = (Peer(name="r1", api=r3.url, connected=True),)
        r3.replica.peers = (Peer(name="r1", api=r2.url, connected=True),)
        await r2.call("POST", "/v1/jobs", DISCOVER)
        async with asyncio.timeout(5):
            assert [kind for kind, _ in await read(r2, "/v1/jobs/j-1/log")] == ["end"]
        assert (r2.logs.asked, r3.logs.asked) == (0, 1)


async def test_following_goes_on_until_the_job_ends_with_heartbeats_in_between(
    tmp_path: Path, cluster: Cluster
) -> None:
    async with rig.serving(tmp_path, cluster, limits=Limits(heartbeat_s=0.05)) as server:
        await server.call("POST", "/v1/jobs", DISCOVER)
        server.logs.lines = LINES
        server.logs.hold = asyncio.Event()
        async with (
            asyncio.timeout(10),
            server.session.get(f"{server.url}/v1/jobs/j-1/log?follow=1") as answer,
        ):
            text = ""
            while text.count("still here") < 2:
                text += (await answer.content.readline()).decode()
            assert "event: end" not in text
            server.logs.hold.set()
            assert "event: end" in (await answer.read()).decode()


async def test_a_log_of_no_job_or_of_another_jobs_node_is_refused(server: Server) -> None:
    status, problem, _ = await server.call("GET", "/v1/jobs/j-9/log")
    assert (status, problem["code"]) == (404, "no-such-job")
    await server.call("POST", "/v1/jobs", DISCOVER)
    status, problem, _ = await server.call("GET", "/v1/jobs/j-1/log?node=ghost")
    assert (status, problem["code"], problem["offenders"]) == (404, "no-such-node", ["ghost"])
    assert server.logs.asked == 0


async def test_the_log_of_one_node_has_a_cursor_that_goes_on_at_any_replica(
    tmp_path: Path, cluster: Cluster
) -> None:
    async with rig.serving(tmp_path, cluster, "r1") as r1, rig.serving(tmp_path, cluster, "r2") as r2:
        rig.link(r1, r2)
        await r1.call("POST", "/v1/jobs", DISCOVER)
        r1.logs.lines = LINES
        _, data, _ = await r1.call("GET", "/v1/jobs/j-1/log?node=10.0.0.2:22")
        assert b"id: s1:1:6\n" in data
        assert b"id:" not in (await r1.call("GET", "/v1/jobs/j-1/log"))[1]
        again = {"Last-Event-ID": "s1:1:6"}
        await r2.call("GET", "/v1/jobs/j-1/log?node=10.0.0.2:22", headers=again)  # it hands this on, too
        assert r1.logs.since == Cursor(step="s1", attempt=1, offset=6)
        await r1.call("GET", "/v1/jobs/j-1/log?node=10.0.0.2:22", headers={"Last-Event-ID": "17"})
        assert r1.logs.since is None


async def test_a_log_can_be_asked_for_by_step_and_attempt(server: Server) -> None:
    await server.call("POST", "/v1/jobs", DISCOVER)
    server.logs.lines = [Line("10.0.0.1:22", f"work.00.{s}", a, 0, b"x") for s in ("a", "b") for a in (1, 2)]
    found = await read(server, "/v1/jobs/j-1/log?step=b&attempt=2")
    assert [(d["step"], d["attempt"]) for kind, d in found if kind == "log"] == [("work.00.b", 2)]
    status, problem, _ = await server.call("GET", "/v1/jobs/j-1/log?attempt=0")
    assert (status, problem["code"]) == (400, "bad-query")


async def test_a_gap_counts_as_bytes_of_the_output(server: Server) -> None:
    await server.call("POST", "/v1/jobs", DISCOVER)
    server.logs.lines = [Line("10.0.0.1:22", "s", 1, 4, b"", "left out", skipped_bytes=96)]
    line = (await read(server, "/v1/jobs/j-1/log?node=10.0.0.1:22"))[0][1]
    assert (line["offset"], line["bytes"], line["data"], line["note"]) == (4, 96, "", "left out")
