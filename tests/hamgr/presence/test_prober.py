"""Probes of real sockets: what counts as an answer, what is told of one that is none, and the bounds."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from hamgr.presence import prober as module
from hamgr.presence import pulse
from hamgr.presence.prober import GREETING, Prober, Target
from statemachine.words import NodeName

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def prober(**more: float) -> Prober:
    return Prober(**{"timeout_s": 0.3, "at_once": 8, "per_s_max": 10_000, **more})  # type: ignore[arg-type]


def target(port: int, name: str = "n1", address: str = "127.0.0.1") -> Target:
    return Target(name=NodeName(name), address=address, port=port)


@contextlib.asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def saying(*parts: bytes, heard: list[bytes] | None = None) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        data = await reader.read()
        if heard is not None:
            heard.append(data)
        writer.close()

    return serve


@pytest.mark.parametrize(
    "parts",
    [(b"SSH-2.0-OpenSSH_9.2\r\n",), (b"SSH-", b"2.0-x\r\n"), (b"Welcome to n1.\r\n", b"SSH-2.0-x\r\n")],
)
async def test_a_greeting_is_an_answer_and_is_answered(parts: tuple[bytes, ...]) -> None:
    heard: list[bytes] = []
    async with serving(saying(*parts, heard=heard)) as port:
        assert await prober().probe([target(port)]) == {}
        while not heard:
            await asyncio.sleep(0.01)
    assert heard == [GREETING]


async def test_silence_refusal_and_strangers_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_is_practice", lambda _address: False)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refused = closed.getsockname()[1]
        assert await prober().probe([target(refused)]) == {"n1": "connection refused"}
    async with serving(saying()) as port:
        assert await prober().probe([target(port)]) == {"n1": "no greeting within 0.3 s"}
    async with serving(saying(b"HTTP/1.1 400 Bad Request\r\n" * 400)) as port:
        assert await prober().probe([target(port)]) == {"n1": "what answers is no SSH server"}

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with serving(hang_up) as port:
        (why,) = (await prober().probe([target(port)])).values()
        assert why == "it hung up without a greeting"


async def test_a_practice_node_is_there_as_long_as_its_port_takes_connections() -> None:
    one = prober()
    async with serving(saying()) as port:
        assert await one.probe([target(port)]) == {}
    one._known.clear()  # a greeting is due
    assert await one.probe([target(port)]) == {"n1": "connection refused"}


async def test_no_more_than_so_many_connections_are_open_at_once() -> None:
    most = now = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        writer.write(b"SSH-2.0-x\r\n")
        await reader.read()
        writer.close()

    async with serving(serve) as port:
        one = prober(at_once=4, timeout_s=5.0)
        assert await one.probe([target(port, f"n{i}") for i in range(30)]) == {}
    assert most <= 4


async def test_no_more_than_so_many_are_begun_in_a_second() -> None:
    async with serving(saying(b"SSH-2.0-x\r\n")) as port:
        one = prober(per_s_max=100, at_once=100)
        begun = asyncio.get_running_loop().time()
        await one.probe([target(port, f"n{i}") for i in range(30)])
        assert asyncio.get_running_loop().time() - begun >= 0.29


class Pulse:
    """Pulses as a test wants them."""

    def __init__(self) -> None:
        self.felt_ = True
        self.asked = 0

    async def felt(self, address: str, *, timeout_s: float) -> bool:
        self.asked += 1
        return self.felt_

    def close(self) -> None: ...


async def test_a_node_that_has_greeted_is_asked_for_its_pulse_until_a_greeting_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    greetings = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal greetings
        greetings += 1
        await saying(b"SSH-2.0-x\r\n")(reader, writer)

    monkeypatch.setattr(module, "_is_machine", lambda _address: True)
    monkeypatch.setattr(module, "_is_practice", lambda _address: False)
    felt, one = Pulse(), prober()
    one._pulses = felt  # type: ignore[assignment]
    async with serving(serve) as port:
        for _ in range(5):
            assert await one.probe([target(port)]) == {}
        assert (greetings, felt.asked) == (1, 4)
        felt.felt_ = False  # a firewall: it greets, and is asked for no pulse for a while
        for _ in range(3):
            assert await one.probe([target(port)]) == {}
        assert (greetings, felt.asked) == (4, 5)
    assert await one.probe([target(port)]) == {"n1": "connection refused"}


async def test_a_practice_node_is_not_asked_again_until_a_greeting_is_due() -> None:
    felt, one = Pulse(), prober()
    one._pulses = felt  # type: ignore[assignment]
    async with serving(saying(b"SSH-2.0-x\r\n")) as port:
        await one.probe([target(port)])
        await one.probe([target(port)])
    assert felt.asked == 0


async def test_without_permission_there_is_no_pulse_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(pulse, "_opened", lambda _family: None)
    pulses = pulse.Pulses()
    assert not await pulses.felt("127.0.0.1", timeout_s=0.1)
    pulses.close()
