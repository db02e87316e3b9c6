"""Probes of replicas that live, are dead, are frozen, or are others, over real sockets and TLS."""

import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from aiohttp import web

from hamgr.autopilot import probes
from hamgr.autopilot.probes import ReplicaProbes
from hamgr.raft.port import Peer
from hamgr.raft.replica import RaftReplica
from tests.hamgr.raft import kit
from tests.ports import free_ports


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(probes, "PROBE_S", 1.0)


@contextlib.asynccontextmanager
async def api_of(answers: dict[str, object]) -> AsyncIterator[str]:
    """Serve `answers` by path; yield the base URL."""

    async def answer(request: web.Request) -> web.Response:
        found = answers.get(request.path)
        return web.Response(status=404) if found is None else web.json_response(found)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_ports(1)[0]
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def probing(own, *peers: Peer) -> AsyncIterator[ReplicaProbes]:
    made = ReplicaProbes(
        replica=SimpleNamespace(peers=peers), credentials=own.credentials, token="t" * 32, tls=None
    )
    try:
        yield made
    finally:
        await made.close()


def word(name: str, connected: object) -> dict[str, object]:
    return {"/v1/replica": {"consensus": {"peers": {name: {"connected": connected}}}}}


async def test_a_replica_that_lives_fails_none(tmp_path) -> None:
    one, two = kit.settings_of(2, tmp_path)
    replica = RaftReplica(two)
    await replica.start()
    try:
        async with api_of({"/livez": "ok"}) as url, probing(one) as made:
            assert await made.failed(dataclasses.replace(kit.member_of(two), api=url)) == ()
    finally:
        await replica.stop()


async def test_a_dead_one_fails_those_of_both_ports(tmp_path) -> None:
    one, two = kit.settings_of(2, tmp_path)
    member = dataclasses.replace(kit.member_of(two), api=f"http://127.0.0.1:{free_ports(1)[0]}")
    async with probing(one) as made:
        assert await made.failed(member) == (f"nobody answers at {member.raft}", "its API does not answer")


async def test_a_frozen_one_whose_kernel_accepts_fails_too(tmp_path) -> None:
    one, two = kit.settings_of(2, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as raft, socket.create_server(("127.0.0.1", 0)) as door:
        member = dataclasses.replace(
            kit.member_of(two),
            raft=f"127.0.0.1:{raft.getsockname()[1]}",
            api=f"http://127.0.0.1:{door.getsockname()[1]}",
        )
        async with probing(one) as made:
            said = await made.failed(member)
    assert said == (f"nobody answers at {member.raft}", "its API does not answer")


async def test_another_replica_at_its_address_does_not_count_for_it(tmp_path) -> None:
    one, two, three = kit.settings_of(3, tmp_path)
    replica = RaftReplica(three)
    await replica.start()
    try:
        member = dataclasses.replace(kit.member_of(two), raft=three.address, api="")
        async with probing(one) as made:
            assert await made.failed(member) == (f"another replica answers at {three.address}",)
    finally:
        await replica.stop()


@pytest.mark.parametrize(
    ("words", "failed"),
    [
        ((False, False), True),
        ((False, True), False),
        ((False, None), True),
        ((None, None), False),
        (("yes", "no"), False),
    ],
)
async def test_others_words_count_when_one_knows_and_none_has_a_link(tmp_path, words, failed) -> None:
    one, two = kit.settings_of(2, tmp_path)
    member = dataclasses.replace(kit.member_of(two), api="")
    async with contextlib.AsyncExitStack() as stack:
        peers = []
        for number, said in enumerate(words, start=3):
            url = await stack.enter_async_context(api_of({} if said is None else word(member.name, said)))
            peers.append(Peer(name=f"r{number}", api=url, connected=True))
        made = await stack.enter_async_context(probing(one, *peers))
        said = await made.failed(member)
    assert any("no link to it from r3" in sentence for sentence in said) == failed


async def test_who_is_not_connected_is_not_asked(tmp_path) -> None:
    one, two = kit.settings_of(2, tmp_path)
    async with api_of(word("r2", False)) as url:
        peer = Peer(name="r3", api=url, connected=False)
        async with probing(one, peer) as made:
            assert len(await made.failed(dataclasses.replace(kit.member_of(two), api=""))) == 1
