"""Serving an application on a socket, with a bound on how slowly a caller may talk."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from hamgr.api.context import CONTEXT
from hamgr.api.express import Express, Ways
from hamgr.api.middleware import add_headers, answer_problems

SHUTDOWN_TIMEOUT_S = 2.0
"""How long requests in flight may go on when the replica stops; streams are ended at once."""
HEAD_LINE_BYTES_MAX = 8_190
BACKLOG = 128


@contextlib.asynccontextmanager
async def serving(
    app: web.Application,
    address: str,
    *,
    tls: ssl.SSLContext | None = None,
    doors: Sequence[tuple[socket.socket, ssl.SSLContext]] = (),
) -> AsyncIterator[str]:
    """Serve `app` on `HOST:PORT` (port 0: any free one) for as long as the context is open.

    Args:
        doors: Bound sockets on which it is served as well.

    Yields:
        The base URL.

    Raises:
        OSError: The address cannot be used.
    """
    host, _, port = address.rpartition(":")
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=app[CONTEXT].limits.header_timeout_s,
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_TIMEOUT_S,
        max_line_size=HEAD_LINE_BYTES_MAX,
        max_field_size=HEAD_LINE_BYTES_MAX,
    )
    await runner.setup()
    if runner.server is None:
        raise AssertionError("a runner that is set up has a server")
    ways = Ways(
        app,
        runner.server,
        answer=answer_problems,
        complete=add_headers,
        idle_s=app[CONTEXT].limits.header_timeout_s,
        head_line_bytes_max=HEAD_LINE_BYTES_MAX,
    )
    try:
        loop = asyncio.get_running_loop()
        listeners = [
            await loop.create_server(
                lambda: Express(ways), host.strip("[]"), int(port), ssl=tls, backlog=BACKLOG
            )
        ]
        try:
            for door, door_tls in doors:
                listeners.append(
                    await loop.create_server(lambda: Express(ways), sock=door, ssl=door_tls, backlog=BACKLOG)
                )
            bound = listeners[0].sockets[0].getsockname()
            shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
            yield f"{'https' if tls else 'http'}://{shown}:{bound[1]}"
        finally:
            for listener in listeners:
                listener.close()
            await runner.shutdown()
            await ways.close(SHUTDOWN_TIMEOUT_S)
    finally:
        await runner.cleanup()
