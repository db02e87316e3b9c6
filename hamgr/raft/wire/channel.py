"""One TLS connection as frames: an asyncio protocol that hands messages on and can be waited for."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

from hamgr.raft.wire import frames
from hamgr.raft.wire.frames import FRAME_BYTES_MAX, Decoder, FrameError
from hamgr.security.authority import BadCertificate, PeerIdentity, identity_of

UNANSWERED_MS_MAX = 2_000
"""Bytes that the peer's host does not confirm for so long end the connection (tcp(7), TCP_USER_TIMEOUT)."""
FIRST_BYTES_MAX = 64 * 1024
"""Of a hello; more is taken only from whom was let in."""
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 2), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 3))


class Channel(asyncio.Protocol):
    """A connection, from its handshake to its end.

    Attributes:
        made: The handshake is done, and the connection is in the loop's care.
        lost: Done when the connection is over.
        broken: Why we ended it; empty if we did not.
    """

    def __init__(self) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.made = False
        self.broken = ""
        self._transport: asyncio.Transport | None = None
        self._decoder = Decoder(FIRST_BYTES_MAX)
        self._first: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._take: Callable[[Any], None] | None = None

    def proven(self) -> PeerIdentity:
        """Return whom the peer's certificate is for.

        Raises:
            BadCertificate: It names nobody.
        """
        tls = None if self._transport is None else self._transport.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if isinstance(tls, (ssl.SSLObject, ssl.SSLSocket)) else None
        if der is None:
            raise BadCertificate("it showed none")
        return identity_of(der)

    async def first(self) -> Any:
        """Return the peer's first message.

        Raises:
            OSError: The connection is over before it came.
        """
        return await asyncio.shield(self._first)

    def hand_to(self, take: Callable[[Any], None]) -> None:
        """Have `take` called with every message after the first; it may raise `ValueError` to end this."""
        self._decoder.frame_bytes_max = FRAME_BYTES_MAX
        self._take = take

    def send(self, message: Any) -> None:
        """Send a message; nothing happens when the connection is over."""
        self.write(frames.encode(message))

    def write(self, frame: bytes) -> None:
        """Send a message that is encoded already."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    def queued_bytes(self) -> int:
        """Return what waits to be sent."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self) -> None:
        """End the connection after what was written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self, why: str = "") -> None:
        """End the connection at once."""
        self.broken = self.broken or why
        if self._transport is not None:
            self._transport.abort()

    # Called by the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's, as the docs of Protocol say
        self.made = True
        _tune(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        if self.broken:
            return
        try:
            messages = self._decoder.feed(data)
        except FrameError as error:
            self.abort(str(error))
            return
        for message in messages:
            if not self._first.done():
                self._first.set_result(message)
            elif self._take is None:
                # Between the hello and our answer a peer has nothing to say.
                self.abort("it sent messages before it was let in")
                return
            else:
                self._pass_on(message)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._first.done():
            reason = self.broken or "the peer closed the connection"
            self._first.set_exception(exc if isinstance(exc, OSError) else ConnectionResetError(reason))
            self._first.exception()  # nobody may be waiting any more
        if not self.lost.done():
            self.lost.set_result(None)

    def _pass_on(self, message: Any) -> None:
        if self._take is None or self.broken:
            return
        try:
            self._take(message)
        except ValueError as error:
            self.abort(str(error))


def _tune(connection: socket.socket | None) -> None:
    if connection is None or connection.family == socket.AF_UNIX:
        return
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MS_MAX)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
