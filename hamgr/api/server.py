"""Serving an application on a socket, with a bound on how slowly a caller may talk."""

import contextlib
import ssl
from collections.abc import AsyncIterator

from aiohttp import web

from hamgr.api.context import CONTEXT

SHUTDOWN_TIMEOUT_S = 2.0
"""How long requests in flight may go on when the replica stops; streams are ended at once."""
HEAD_LINE_BYTES_MAX = 8_190


@contextlib.asynccontextmanager
async def serving(
    app: web.Application, address: str, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve `app` on `HOST:PORT` (port 0: any free one) for as long as the context is open.

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
    try:
        site = web.TCPSite(runner, host.strip("[]"), int(port), ssl_context=tls)
        await site.start()
        bound = runner.addresses[0]
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        yield f"{'https' if tls else 'http'}://{shown}:{bound[1]}"
    finally:
        await runner.cleanup()
