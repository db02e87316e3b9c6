"""Bundles that this replica lacks come from another one, proven by their digest."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from backends.blobs import BlobError, BlobStore
from hamgr.archives import ReplicaArchives
from hamgr.raft.memory import MemoryCluster
from statemachine.words import Digest

DATA = b"a bundle"
DIGEST = Digest(f"sha256:{hashlib.sha256(DATA).hexdigest()}")


class PeerServer:
    """Another replica's API, which may be honest or not."""

    def __init__(self) -> None:
        self.answer = DATA
        self.tokens: list[str] = []
        self.url = ""

    async def blob(self, request: web.Request) -> web.Response:
        self.tokens.append(request.headers.get("Authorization", ""))
        return web.Response(body=self.answer)


@pytest.fixture
async def peer() -> AsyncIterator[PeerServer]:
    found = PeerServer()
    app = web.Application()
    app.router.add_get("/v1/blobs/{digest}", found.blob)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


def archives(store: BlobStore, url: str) -> ReplicaArchives:
    cluster = MemoryCluster(["r1", "r2"], apis={"r2": url})
    return ReplicaArchives(store=store, replica=cluster.replica("r1"), token="t0ken")


async def test_what_is_here_is_not_asked_for(tmp_path: Path, peer: PeerServer) -> None:
    store = BlobStore(tmp_path / "blobs")
    store.put(DIGEST, DATA)
    assert await archives(store, peer.url).fetch(DIGEST) == DATA
    assert peer.tokens == []


async def test_what_is_missing_comes_from_a_peer_and_is_kept(tmp_path: Path, peer: PeerServer) -> None:
    store = BlobStore(tmp_path / "blobs")
    assert await archives(store, peer.url).fetch(DIGEST) == DATA
    assert peer.tokens == ["Bearer t0ken"]
    assert await asyncio.to_thread(store.get, DIGEST) == DATA


async def test_a_peer_that_sends_something_else_is_not_believed(tmp_path: Path, peer: PeerServer) -> None:
    store = BlobStore(tmp_path / "blobs")
    peer.answer = b"another bundle"
    with pytest.raises(BlobError):
        await archives(store, peer.url).fetch(DIGEST)
    assert not store.has(DIGEST)


async def test_peers_that_are_down_are_named_in_the_end(tmp_path: Path) -> None:
    with pytest.raises(BlobError, match="no other replica that answers has it"):
        await archives(BlobStore(tmp_path / "blobs"), "http://127.0.0.1:9").fetch(DIGEST)
