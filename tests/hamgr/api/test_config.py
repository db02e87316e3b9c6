"""Bundles over HTTP: checked, on a quorum, and only then current."""

import asyncio
import hashlib
from pathlib import Path

from aiohttp import web

from hamgr.raft.port import Peer
from tests.hamgr.api import rig
from tests.hamgr.api.rig import Server


async def push(server: Server, data: bytes, query: str = "") -> tuple[int, dict]:
    async with server.session.post(f"{server.url}/v1/bundles{query}", data=data) as answer:
        return answer.status, await answer.json()


async def test_a_pushed_bundle_is_current_listed_shown_and_exported(server: Server) -> None:
    status, made = await push(server, rig.archive(), "?message=first")
    assert (status, made["replicas"]) == (201, ["r1"])
    _, page, _ = await server.call("GET", "/v1/bundles")
    assert (page["current"], page["items"][0]["message"]) == (made["digest"], "first")
    _, whole, _ = await server.call("GET", f"/v1/bundles/{made['digest']}")
    assert whole["components"]["web"]["verbs"]["commission"] == ["page"]
    status, data, headers = await server.call("GET", f"/v1/bundles/{made['digest']}/archive")
    assert status == 200
    assert "sha256:" + hashlib.sha256(data).hexdigest() == made["digest"]
    assert headers["Content-Disposition"].startswith("attachment")


async def test_a_bundle_with_problems_is_refused_with_all_places_and_nothing_is_stored(
    server: Server,
) -> None:
    files = {**rig.BUNDLE, "hamgr.yaml": "version: 1\nroels: {}\nroles:\n  web: {components: [nope]}\n"}
    status, problem = await push(server, rig.archive(files))
    assert (status, problem["code"]) == (422, "bundle-invalid")
    places = {(fault["file"], fault["line"]) for fault in problem["errors"]}
    assert {("hamgr.yaml", 2), ("hamgr.yaml", 4)} <= places
    assert server.blobs.list() == ()
    assert server.state.index == 0


async def test_bytes_that_are_no_archive_are_refused(server: Server) -> None:
    for data in (b"", b"hello", b"\x1f\x8b\x00garbage", bytes(10_000)):
        status, problem = await push(server, data)
        assert (status, problem["code"]) == (422, "bundle-invalid")
    assert server.state.index == 0


async def test_a_dry_run_of_a_push_only_checks(server: Server) -> None:
    status, told = await push(server, rig.archive(), "?dry_run=1")
    assert (status, told["dry_run"]) == (200, True)
    assert server.blobs.list() == ()
    assert server.state.index == 0


async def test_the_bytes_are_on_the_other_replicas_before_the_bundle_is_committed(
    tmp_path: Path, cluster: rig.Cluster
) -> None:
    async with rig.serving(tmp_path, cluster, "r1") as r1, rig.serving(tmp_path, cluster, "r2") as r2:
        rig.link(r1, r2)
        seen: list[bool] = []
        commit = cluster.apply

        def watched(command: object) -> object:
            seen.append(bool(r2.blobs.list()))
            return commit(command)

        cluster.apply = watched
        status, made = await push(r1, rig.archive())
        assert (status, made["replicas"], seen) == (201, ["r1", "r2"], [True])


async def test_without_a_quorum_of_stores_nothing_is_committed(server: Server) -> None:
    dead = tuple(Peer(name=f"r{i}", api="http://127.0.0.1:1", connected=False) for i in (2, 3))
    server.replica.peers = dead
    status, problem = await push(server, rig.archive())
    assert (status, problem["code"], problem["retryable"]) == (503, "not-stored", True)
    assert server.state.index == 0
    assert server.state.current_bundle == ""


async def test_one_dead_replica_of_three_does_not_stop_a_push(tmp_path: Path, cluster: rig.Cluster) -> None:
    async with rig.serving(tmp_path, cluster, "r1") as r1, rig.serving(tmp_path, cluster, "r2") as r2:
        rig.link(r1, r2)
        r1.replica.peers += (Peer(name="r3", api="http://127.0.0.1:1", connected=False),)
        status, made = await push(r1, rig.archive())
        assert (status, made["replicas"]) == (201, ["r1", "r2"])


async def test_a_replica_that_hangs_costs_a_push_the_grace_and_no_more(
    tmp_path: Path, cluster: rig.Cluster
) -> None:
    async def hang(_request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    app = web.Application()
    app.router.add_put("/v1/blobs/{digest}", hang)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    limits = rig.api.Limits(blob_grace_s=0.2)
    async with (
        rig.serving(tmp_path, cluster, "r1", limits) as r1,
        rig.serving(tmp_path, cluster, "r2") as r2,
        asyncio.timeout(10),
    ):
        rig.link(r1, r2)
        r1.replica.peers += (Peer(name="r3", api=url, connected=True),)
        status, made = await push(r1, rig.archive())
        assert (status, made["replicas"]) == (201, ["r1", "r2"])
    await runner.cleanup()


async def test_an_archive_that_this_replica_lost_comes_from_another_one_and_is_kept(
    tmp_path: Path, cluster: rig.Cluster
) -> None:
    async with rig.serving(tmp_path, cluster, "r1") as r1, rig.serving(tmp_path, cluster, "r2") as r2:
        rig.link(r1, r2)
        _, made = await push(r1, rig.archive())
        r2.blobs.remove(made["digest"])
        status, data, _ = await r2.call("GET", f"/v1/bundles/{made['digest']}/archive")
        assert (status, data) == (200, r1.blobs.get(made["digest"]))
        assert r2.blobs.has(made["digest"])


async def test_a_blob_is_stored_only_under_its_own_name(server: Server) -> None:
    right = "sha256:" + hashlib.sha256(b"bytes").hexdigest()
    wrong = "sha256:" + "0" * 64
    status, problem, _ = await server.call("PUT", f"/v1/blobs/{wrong}", data=b"bytes")
    assert (status, problem["code"]) == (422, "wrong-digest")
    status, problem, _ = await server.call("PUT", "/v1/blobs/..%2f..%2fetc", data=b"bytes")
    assert status in (400, 404)
    assert server.blobs.list() == ()
    status, _, _ = await server.call("PUT", f"/v1/blobs/{right}", data=b"bytes")
    assert status == 204
    status, data, _ = await server.call("GET", f"/v1/blobs/{right}")
    assert (status, data) == (200, b"bytes")
    status, problem, _ = await server.call("GET", f"/v1/blobs/{wrong}")
    assert (status, problem["code"]) == (404, "no-such-blob")


async def test_a_bundle_that_is_not_there_is_named(server: Server) -> None:
    digest = "sha256:" + "1" * 64
    for path in (f"/v1/bundles/{digest}", f"/v1/bundles/{digest}/archive"):
        status, problem, _ = await server.call("GET", path)
        assert (status, problem["code"], problem["offenders"]) == (404, "no-such-bundle", [digest])
    status, problem, _ = await server.call("GET", "/v1/bundles/latest")
    assert (status, problem["code"]) == (400, "bad-request")


async def test_globals_are_merged_and_null_removes(server: Server) -> None:
    await server.call("PATCH", "/v1/globals", {"variables": {"a": {"b": 1, "c": 2}, "d": 3}})
    await server.call("PATCH", "/v1/globals", {"variables": {"a": {"b": None}, "d": None}})
    _, found, _ = await server.call("GET", "/v1/globals")
    assert found["variables"] == {"a": {"c": 2}}
    status, problem, _ = await server.call("PATCH", "/v1/globals", {"a": 1})
    assert (status, problem["code"]) == (422, "bad-body")


async def test_globals_that_changed_in_the_meantime_are_not_overwritten(server: Server) -> None:
    _, _, first = await server.call("PATCH", "/v1/globals", {"variables": {"a": 1}})
    _, _, seen = await server.call("GET", "/v1/globals")
    assert seen["ETag"] == first["ETag"]
    await server.call("PATCH", "/v1/globals", {"variables": {"a": 2}})
    status, problem, _ = await server.call(
        "PATCH", "/v1/globals", {"variables": {"a": 3}}, headers={"If-Match": seen["ETag"]}
    )
    assert (status, problem["code"]) == (412, "changed")
    _, found, _ = await server.call("GET", "/v1/globals")
    assert found["variables"] == {"a": 2}
