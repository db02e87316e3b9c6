"""Dialling: what strange, slow and crowded servers do to us, and what we say about it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import asyncssh
import pytest

from backends.ports import BackendError, Host, Refused, Unreachable
from backends.ssh.connections import Connections, Lane
from backends.ssh.sandbox.server import sandbox
from backends.ssh.sessions import execute
from backends.ssh.settings import SSHSettings
from tests.backends.worlds import client_key, settings

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK0wmN/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9q"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Stranger:
    """A TCP server that is no sshd."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.accepted = 0


@asynccontextmanager
async def stranger(serve: Serve) -> AsyncIterator[Stranger]:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there.accepted += 1
        try:
            await serve(reader, writer)
        except ConnectionError:
            pass  # the test hung up, as it should
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    there = Stranger(Host(name="odd", address="127.0.0.1", port=port, user="ops", host_key=KEY))
    async with server:
        yield there


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _hang_after_greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-Odd\r\n")
    while await reader.read(1000):
        pass


async def _close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-9.9 400 Bad Request\r\n\r\n")
    await reader.read()


async def _flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"welcome, " * 20 + b"\r\n")
        await writer.drain()


async def _endless_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 4096)
        await writer.drain()


@pytest.fixture
def client(tmp_path: Path) -> asyncssh.SSHKey:
    return client_key(tmp_path / "client")


@pytest.fixture
def quick(client: asyncssh.SSHKey, tmp_path: Path) -> SSHSettings:
    return settings(tmp_path / "client", connect_timeout_s=0.9, login_timeout_s=0.9, dial_timeout_s=0.8)


async def _fail(connections: Connections, host: Host, *, within_s: float) -> BackendError:
    """Return how a lease ends that must end badly, in time."""
    began = time.monotonic()
    with pytest.raises(BackendError) as ending:
        async with connections.lease(host, Lane.QUICK, deadline=_in(60)):
            raise AssertionError("it let us in")
    assert time.monotonic() - began < within_s
    assert len(connections) == 0
    await connections.close()
    return ending.value


def _in(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


@pytest.mark.parametrize(
    ("serve", "says"),
    [
        (_silent, "accepted the connection and said nothing for 0.9 s"),
        (_hang_after_greeting, "began the login and did not finish it within 0.9 s"),
        (_close, "closed the connection before the login was complete"),
        (_http, "does not speak SSH"),
        (_flood, "does not speak SSH"),
        (_endless_line, "does not speak SSH"),
    ],
)
async def test_what_is_no_sshd_is_unreachable_in_time_and_named(
    client: asyncssh.SSHKey, tmp_path: Path, serve: Serve, says: str
) -> None:
    patience = settings(
        tmp_path / "client",
        connect_timeout_s=0.9 if serve is _silent else 20.0,
        login_timeout_s=0.9 if serve is _hang_after_greeting else 20.0,
        dial_timeout_s=0.8,
    )
    async with stranger(serve) as there:
        failure = await _fail(Connections(patience, Random(1)), there.host, within_s=15)
    assert isinstance(failure, Unreachable)
    assert says in failure.message
    assert f"127.0.0.1:{there.host.port}" in failure.message


async def test_a_silent_node_does_not_hold_up_the_others(client: asyncssh.SSHKey, tmp_path: Path) -> None:
    one_at_a_time = settings(tmp_path / "client", handshakes_max=1, connect_timeout_s=50.0)
    connections = Connections(one_at_a_time, Random(1))
    public = client.export_public_key().decode()
    async with stranger(_silent) as there, sandbox(["a"], root=tmp_path, authorized_key=public) as running:
        stuck = asyncio.ensure_future(_fail(connections, there.host, within_s=90))
        while there.accepted == 0:
            await asyncio.sleep(0.01)
        async with connections.lease(running.nodes[0].host, Lane.QUICK, deadline=_in(40)):
            assert not stuck.done()
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
        await connections.close()


async def test_a_connection_that_is_dropped_is_dialled_again_with_pauses(
    client: asyncssh.SSHKey, tmp_path: Path
) -> None:
    patience = settings(tmp_path / "client", dial_timeout_s=2.5)
    async with stranger(_close) as there:
        await _fail(Connections(patience, Random(1)), there.host, within_s=40)
        assert 3 <= there.accepted <= 20


async def test_a_crowded_sshd_is_reached_in_the_end(client: asyncssh.SSHKey, tmp_path: Path) -> None:
    public = client.export_public_key().decode()
    async with sandbox(["a"], root=tmp_path, authorized_key=public) as running:
        node = running.nodes[0]

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if crowded.accepted <= 3:
                return
            upstream, downstream = await asyncio.open_connection(node.address, node.port)
            await asyncio.gather(_pump(reader, downstream), _pump(upstream, writer))

        async with stranger(relay) as crowded:
            host = Host(name="a", address="127.0.0.1", port=crowded.host.port, host_key=node.host_key)
            connections = Connections(settings(tmp_path / "client"), Random(1))
            async with connections.lease(host, Lane.QUICK, deadline=_in(10)) as connection:
                said = await execute(connection, "cat", b"x", deadline=_in(5), output_bytes_max=10)
            assert said.stdout == b"x"
            assert crowded.accepted == 4
            await connections.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def test_ten_callers_share_one_dial_and_one_refusal(client: asyncssh.SSHKey, tmp_path: Path) -> None:
    connections = Connections(settings(tmp_path / "client"), Random(1))
    public = client.export_public_key().decode()

    async def ask(host: Host) -> None:
        async with connections.lease(host, Lane.RUN, deadline=_in(10)) as connection:
            seen.add(connection)

    seen: set[asyncssh.SSHClientConnection] = set()
    async with sandbox(["a"], root=tmp_path, authorized_key=public) as running, stranger(_silent) as there:
        host = running.nodes[0].host
        await asyncio.gather(*(ask(host) for _ in range(10)))
        assert len(seen) == len(connections) == 1
        wrong = Host(name="a", address=host.address, port=host.port, host_key=KEY)
        failures = await asyncio.gather(*(ask(wrong) for _ in range(10)), return_exceptions=True)
        assert {type(failure) for failure in failures} == {Refused}
        assert there.accepted == 0
        await connections.close()


async def test_callers_of_a_silent_node_wait_for_one_dial(quick: SSHSettings) -> None:
    connections = Connections(quick, Random(1))

    async def ask() -> None:
        async with connections.lease(there.host, Lane.RUN, deadline=_in(20)):
            pass

    async with stranger(_silent) as there:
        failures = await asyncio.gather(*(ask() for _ in range(Lane.RUN.places)), return_exceptions=True)
        assert {type(failure) for failure in failures} == {Unreachable}
        assert there.accepted == 1
    await connections.close()


async def test_few_key_exchanges_run_at_once_however_many_nodes_have_greeted(
    client: asyncssh.SSHKey, tmp_path: Path
) -> None:
    speaking = most = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal speaking, most
        writer.write(b"SSH-2.0-Slow\r\n")
        await reader.readline()
        speaking += 1
        most = max(most, speaking)
        await reader.read()
        speaking -= 1

    few = settings(tmp_path / "client", handshakes_max=2, login_timeout_s=0.3, dial_timeout_s=0.1)
    connections = Connections(few, Random(1))

    async def ask(number: int) -> None:
        host = Host(name=f"n{number}", address="127.0.0.1", port=there.host.port, host_key=KEY)
        async with connections.lease(host, Lane.RUN, deadline=_in(20)):
            pass

    async with stranger(count) as there:
        failures = await asyncio.gather(*(ask(number) for number in range(6)), return_exceptions=True)
        assert {type(failure) for failure in failures} == {Unreachable}
        assert (there.accepted, most) == (6, 2)
    await connections.close()


async def test_idle_connections_are_closed_and_dialled_again_when_needed(
    client: asyncssh.SSHKey, tmp_path: Path
) -> None:
    connections = Connections(settings(tmp_path / "client", idle_close_s=0.1), Random(1))
    public = client.export_public_key().decode()
    async with sandbox(["a"], root=tmp_path, authorized_key=public) as running:
        for _ in range(2):
            async with connections.lease(running.nodes[0].host, Lane.QUICK, deadline=_in(10)):
                assert len(connections) == 1
                await asyncio.sleep(0.2)
                assert len(connections) == 1
            give_up_at = _in(5)
            while len(connections):
                assert asyncio.get_running_loop().time() < give_up_at
                await asyncio.sleep(0.02)
        await connections.close()


async def test_more_connections_than_allowed_push_out_the_one_that_rested_longest(
    client: asyncssh.SSHKey, tmp_path: Path
) -> None:
    connections = Connections(settings(tmp_path / "client", connections_max=2), Random(1))
    public = client.export_public_key().decode()
    async with sandbox(["a", "b", "c", "d"], root=tmp_path, authorized_key=public) as running:
        for node in running.nodes:
            async with connections.lease(node.host, Lane.QUICK, deadline=_in(10)):
                pass
        assert len(connections) == 2
        await connections.close()


async def test_a_full_lane_leaves_room_for_other_commands(client: asyncssh.SSHKey, tmp_path: Path) -> None:
    connections = Connections(settings(tmp_path / "client"), Random(1))
    public = client.export_public_key().decode()
    async with sandbox(["a"], root=tmp_path, authorized_key=public) as running:
        host = running.nodes[0].host
        first = connections.lease(host, Lane.QUICK, deadline=_in(10))
        second = connections.lease(host, Lane.QUICK, deadline=_in(10))
        async with first, second:
            with pytest.raises(Unreachable, match="no session with it became free in time"):
                async with connections.lease(host, Lane.QUICK, deadline=_in(0.1)):
                    pass
            async with connections.lease(host, Lane.RUN, deadline=_in(1)):
                pass
        await connections.close()
