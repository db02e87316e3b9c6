"""The short way for what programs ask all day: one small request to one handler, and its answer, whole.

What surrounds a handler in aiohttp costs more than most of our handlers do. A connection begins here, and
as long as each of its requests is a simple one to a route of `EXPRESS`, it stays. With the first that is
anything else, it is aiohttp's, for good.

1. A request is simple when its head and its body came in one piece and nothing else did: HTTP/1.1, a length
   or no body, no wish to close, to upgrade or to be told to continue. aiohttp's parser says so, as there.
2. Handlers, middleware and headers are the same on both ways, and so is what callers see.
3. At most one request of a connection is worked on; what comes meanwhile waits, and nothing more is read.
4. A caller that is gone has its handler cancelled. A connection that is silent for `idle_s` is closed.
"""

import asyncio
import logging
import re
import socket
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any, cast

from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader

from hamgr.api.middleware import Handler

log = logging.getLogger(__name__)

EXPRESS = frozenset(
    {
        ("GET", "/v1/nodes/{node}"),
        ("PATCH", "/v1/nodes/{node}"),
        ("POST", "/v1/nodes"),
        ("GET", "/v1/jobs/{job}"),
        ("POST", "/v1/jobs"),
        ("GET", "/v1/globals"),
        ("PATCH", "/v1/globals"),
    }
)
"""Routes with small answers, which their handlers return and never write; a last part in braces is a name."""
SIMPLE_BYTES_MAX = 64 * 1024
_REQUEST_LINE = re.compile(rb"([A-Z]+) (/[A-Za-z0-9_./-]*)(?:\?[!-~]*)? HTTP/1\.1\r\n")
_NO_LENGTH = frozenset({204, 304})

Answer = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]


class Ways:
    """The routes that have a short way, and what all its connections share."""

    def __init__(
        self,
        app: web.Application,
        server: web.Server,
        *,
        answer: Answer,
        complete: Callable[[web.Request, web.StreamResponse], Awaitable[None]],
        idle_s: float,
        head_line_bytes_max: int,
    ) -> None:
        """Prepare for one event loop.

        Args:
            server: Takes over what is not simple.
            answer: Is called with the request and the route's handler.
            complete: Puts the common headers on the answer.
        """
        self.app, self.server = app, server
        self.answer, self.complete = answer, complete
        self.idle_s = idle_s
        self.loop = asyncio.get_running_loop()
        self.open: set[Express] = set()
        self._routes: dict[tuple[bytes, bytes], tuple[web.AbstractRoute, str]] = {}
        known = {
            (route.method, str(route.resource and route.resource.canonical)): route
            for route in app.router.routes()
        }
        for method, path in EXPRESS:
            head, _, last = path.rpartition("/")
            name = last[1:-1] if last.startswith("{") else ""
            start = head + "/" if name else path
            self._routes[method.encode(), start.encode()] = known[method, path], name
        self._head_line_bytes_max = head_line_bytes_max
        self._parser = self._new_parser()

    def find(self, data: bytes) -> tuple[web.AbstractRoute, dict[str, str]] | None:
        """Return the route that a request begins to ask for, and what its path names; None for any other."""
        line = _REQUEST_LINE.match(data)
        if line is None:
            return None
        method, path = line.groups()
        found = self._routes.get((method, path))
        if found is not None:
            return (found[0], {}) if not found[1] else None
        cut = path.rindex(b"/") + 1
        found = self._routes.get((method, path[:cut]))
        if found is None or not found[1] or cut == len(path):
            return None
        return found[0], {found[1]: path[cut:].decode("ascii")}

    def parse(self, data: bytes) -> tuple[RawRequestMessage, StreamReader] | None:
        """Return the one simple request that `data` is; None when it is not."""
        try:
            messages, upgraded, tail = self._parser.feed_data(data)
        except HttpProcessingError:
            messages, upgraded, tail = (), False, b""
        if len(messages) == 1 and not upgraded and not tail:
            message, payload = messages[0]
            size = message.headers.get("Content-Length", "0")
            if (
                not (message.should_close or message.chunked or message.compression or message.upgrade)
                and payload.is_eof()
                and "Expect" not in message.headers
                and data.find(b"\r\n\r\n") + 4 + int(size) == len(data)
            ):
                return message, payload
        self._parser = self._new_parser()  # it may be in the middle of something
        return None

    async def close(self, timeout_s: float) -> None:
        """End what is idle now, and the rest when it is answered, at most `timeout_s` from now."""
        for connection in tuple(self.open):
            connection.end()
        tasks = [connection.task for connection in self.open if connection.task is not None]
        if tasks:
            _done, late = await asyncio.wait(tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for connection in tuple(self.open):
            connection.abort()

    def _new_parser(self) -> Any:
        return HttpRequestParser(
            BaseProtocol(self.loop),
            self.loop,
            SIMPLE_BYTES_MAX,
            max_line_size=self._head_line_bytes_max,
            max_field_size=self._head_line_bytes_max,
            payload_exception=web.RequestPayloadError,
        )


class Express(asyncio.Protocol):
    """One connection, as long as it is asked simple things.

    Attributes:
        transport: For handlers that have to cut the connection.
        task: What works on the present request.
        idle_since: When it was made, or its last request was answered; on the loop's clock.
    """

    ssl_context: Any = None
    peername: Any = None
    sockname: Any = None
    """What aiohttp's request wants to know of its connection; no handler asks."""

    def __init__(self, ways: Ways) -> None:
        self.transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None] | None = None
        self._ways = ways
        self._held = b""
        self._choked = False
        self._ending = False
        self.idle_since = 0.0
        self._look: asyncio.TimerHandle | None = None

    def end(self) -> None:
        """Close the connection, after the present answer if there is to be one."""
        self._ending = True
        if self.task is None and self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    # Called by the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._ways.open.add(self)
        self.idle_since = self._ways.loop.time()
        self._look = self._ways.loop.call_later(self._ways.idle_s, self._look_at_idleness)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        if self.task is not None or self._choked or self._ending:
            self._hold(data)
            return
        found = self._ways.find(data) if len(data) <= SIMPLE_BYTES_MAX else None
        parsed = self._ways.parse(data) if found is not None else None
        if found is None or parsed is None:
            self._hand_over(data)
        else:
            self.task = self._ways.loop.create_task(self._serve(*found, *parsed))

    def connection_lost(self, _error: Exception | None) -> None:
        self.transport = None
        self._leave()
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        self._choked = True

    def resume_writing(self) -> None:
        self._choked = False
        if self.task is None:
            self._go_on()

    # Our own.

    def _hold(self, data: bytes) -> None:
        self._held += data
        if self.transport is not None:
            self.transport.pause_reading()

    def _go_on(self) -> None:
        if self._held and not self._choked and not self._ending and self.transport is not None:
            data, self._held = self._held, b""
            self.transport.resume_reading()
            self.data_received(data)

    def _leave(self) -> None:
        self._ways.open.discard(self)
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _hand_over(self, data: bytes) -> None:
        """Let aiohttp have the connection, as if it had just been made and these were its first bytes."""
        transport, protocol = self.transport, self._ways.server()
        self.transport = None
        self._leave()
        if transport is not None:
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            protocol.data_received(data)

    def _look_at_idleness(self) -> None:
        loop, idle_s = self._ways.loop, self._ways.idle_s
        due = (self.idle_since if self.task is None else loop.time()) + idle_s
        if due > loop.time():
            self._look = loop.call_at(due, self._look_at_idleness)
        else:
            self.end()

    async def _serve(
        self, route: web.AbstractRoute, names: dict[str, str], message: RawRequestMessage, body: StreamReader
    ) -> None:
        ways, task = self._ways, cast("asyncio.Task[None]", self.task)
        try:
            # By its types a request belongs to a connection of aiohttp's, with a writer for handlers that
            # write by themselves; ours has all that a request looks at, and its handlers return answers.
            made = ways.server.request_factory(message, body, cast("Any", self), cast("Any", None), task)
            request = cast("web.Request", made)
            match = web.UrlMappingMatchInfo(names, route)
            match.add_app(ways.app)
            match.freeze()
            request._match_info = match  # noqa: SLF001 - as aiohttp's own test utilities do: there is no setter
            response = await ways.answer(request, route.handler)
            if self.transport is None:
                return
            await ways.complete(request, response)
            self.transport.write(bytes_of(response))
            self._ending = self._ending or response.headers.get("Connection") == "close"
        except Exception:  # as in `answer_problems`, for what is around it: this connection ends, no other
            log.exception("an answer to %s %s could not be sent", message.method, message.path)
            self.abort()
        finally:
            self.task = None
            self.idle_since = ways.loop.time()
        if self._ending:
            self.end()
        elif self._held:
            self._go_on()


def bytes_of(response: web.StreamResponse) -> bytes:
    """Return an answer as it goes on the wire."""
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes | bytearray | None):
        raise TypeError("the answer of an express route must be whole")
    headers = response.headers
    body = bytes(response.body or b"")
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"Date: {_date()}")
    if response.status not in _NO_LENGTH:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1:
        raise ValueError("a header of the answer has a line break")
    return head.encode() + b"\r\n\r\n" + body


_date_of: tuple[int, str] = (0, "")


def _date() -> str:
    """Return the time as HTTP has it; made once a second."""
    global _date_of  # noqa: PLW0603 - a cache of one, the same for all
    now = int(time.time())
    if _date_of[0] != now:
        _date_of = now, formatdate(now, usegmt=True)
    return _date_of[1]
