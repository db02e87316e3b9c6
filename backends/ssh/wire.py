"""TCP under one SSH connection: quick acknowledgements, a bounded greeting, silence noticed early.

1. Every read asks for quick acknowledgements again. sshd writes its first answers without TCP_NODELAY, so
   with delayed ones each such answer waits some 40 ms; and tcp(7) says that the flag does not stay set.
2. SSH starts only when the node has spoken: a silent node costs a socket and nothing else.
3. What a node may send before it has let us in is bounded.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Protocol, cast

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux only


class GreetingTooLongError(ConnectionError):
    """The node sent more than it may before the login."""


class Inner(Protocol):
    """What asyncssh's connection offers to a transport."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> object: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


class Wire(asyncio.Protocol):
    """Holds the greeting until an inner protocol is attached, then passes everything through."""

    def __init__(self, greeting_bytes_max: int) -> None:
        self._now = asyncio.get_running_loop().time
        self.spoke: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard_at = self._now()
        """When its last byte came, on the loop's clock."""
        self._allowance: int | None = greeting_bytes_max
        self._held = bytearray()
        self._inner: Inner | None = None
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._failure: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._socket = cast("socket.socket | None", transport.get_extra_info("socket"))
        self._quick()

    def data_received(self, data: bytes) -> None:
        self._quick()
        self.heard_at = self._now()
        if self._allowance is not None:
            self._allowance -= len(data)
            if self._allowance < 0:
                self._give_up(GreetingTooLongError("it sent too much before the login"))
                return
        if self._inner is not None:
            self._inner.data_received(data)
        else:
            self._held += data
        if not self.spoke.done():
            self.spoke.set_result(None)

    def eof_received(self) -> bool | None:
        if self._inner is not None:
            self._inner.eof_received()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._socket = None
        lost = self._failure or exc
        if self._inner is not None:
            self._inner.connection_lost(lost)
            return
        self._failure = lost or ConnectionResetError("it closed the connection without a word")
        if not self.spoke.done():
            self.spoke.set_exception(self._failure)

    def attach(self, inner: Inner) -> None:
        """Hand everything to `inner` from now on, the greeting first.

        Raises:
            OSError: The connection was lost meanwhile.
        """
        if self._failure is not None:
            raise self._failure
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("it closed the connection after its greeting")
        self._inner = inner
        inner.connection_made(self._transport)
        if self._held:
            inner.data_received(bytes(self._held))
            self._held.clear()

    def trust(self) -> None:
        """Lift the bound on the greeting: the node has proved itself and let us in."""
        self._allowance = None

    def abort(self) -> None:
        """Close at once; safe to repeat."""
        if self._transport is not None:
            self._transport.abort()

    def _give_up(self, failure: Exception) -> None:
        self._failure = failure
        if not self.spoke.done():
            self.spoke.set_exception(failure)
        self.abort()

    def _quick(self) -> None:
        if self._socket is not None and _QUICKACK is not None:
            with contextlib.suppress(OSError):  # the peer is gone; the next read says so
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


class Stage(StrEnum):
    """How far a dial has come."""

    TURN = "turn"
    CONNECT = "connect"
    GREETING = "greeting"
    LOGIN = "login"


class Connector:
    """asyncssh's `tunnel` for one dial: opens TCP, waits for the greeting, and then for `admit`."""

    def __init__(self, greeting_bytes_max: int, admit: Callable[[], Awaitable[None]]) -> None:
        self._greeting_bytes_max = greeting_bytes_max
        self._admit = admit
        self.wire: Wire | None = None
        self.stage = Stage.TURN

    async def create_connection(
        self, session_factory: Callable[[], Inner], remote_host: str, remote_port: int
    ) -> tuple[asyncio.Transport, Inner]:
        """Open TCP to the node and start SSH on it; called by asyncssh."""
        transport, wire = await asyncio.get_running_loop().create_connection(
            lambda: Wire(self._greeting_bytes_max), remote_host, remote_port
        )
        try:
            self.wire = wire
            self.stage = Stage.GREETING
            await wire.spoke
            self.stage = Stage.TURN
            await self._admit()
            self.stage = Stage.LOGIN
            inner = session_factory()
            wire.attach(inner)
        except BaseException:
            wire.abort()
            raise
        return transport, inner

    def trust(self) -> None:
        """Lift the bound on what the node may send: it has let us in."""
        if self.wire is not None:
            self.wire.trust()

    def close(self) -> None:
        """Nothing to do: the connection owns its transport."""

    async def wait_closed(self) -> None:
        """Nothing to wait for."""
