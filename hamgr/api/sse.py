"""Server-sent events: framing, heartbeats, and an end for readers that do not read.

A stream holds a cursor and one event, never a queue of its own: what a slow reader has not taken stays in
the replicated state, and whoever falls behind that is told so and starts again.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

from aiohttp import web

from hamgr.api.context import context_of
from hamgr.api.middleware import STREAMING
from hamgr.api.problems import Problem

STREAMS: web.AppKey[set[asyncio.Task[Any]]] = web.AppKey("streams", set[asyncio.Task[Any]])


class ReaderGone(ConnectionError):
    """The stream cannot go on: the reader takes nothing, or what is handed on to it has broken."""


class Stream:
    """An open answer of type text/event-stream."""

    def __init__(self, response: web.StreamResponse, request: web.Request) -> None:
        self.response = response
        self._slow_reader_s = context_of(request).limits.slow_reader_s

    async def send(self, event: str, data: Any, *, cursor: str = "") -> None:
        """Send one event; `cursor` becomes the reader's Last-Event-ID."""
        mark = f"id: {cursor}\n" if cursor else ""
        await self.raw(f"event: {event}\n{mark}data: {json.dumps(data)}\n\n".encode())

    async def send_all(self, event: str, each: Iterable[Any]) -> None:
        """Send events of one kind in one piece: the reader wakes up once for all of them."""
        await self.raw(b"".join(f"event: {event}\ndata: {json.dumps(data)}\n\n".encode() for data in each))

    async def heartbeat(self) -> None:
        """Tell the reader, and every proxy on the way, that the stream lives."""
        await self.raw(b": still here\n\n")

    async def raw(self, data: bytes) -> None:
        """Send bytes that are framed already.

        Raises:
            ReaderGone: It took nothing for too long; the middleware cuts the connection.
        """
        try:
            async with asyncio.timeout(self._slow_reader_s):
                await self.response.write(data)
        except TimeoutError as error:
            raise ReaderGone("the reader is too slow") from error


def check_room(request: web.Request) -> None:
    """Refuse a request that would open one stream too many.

    Raises:
        Problem: `too-many-streams`.
    """
    streams = request.app[STREAMS]
    if len(streams) >= context_of(request).limits.streams_max:
        raise Problem("too-many-streams", f"{len(streams)} streams are open on this replica; try another one")


@contextlib.asynccontextmanager
async def opened(request: web.Request) -> AsyncIterator[Stream]:
    """Answer `request` with a stream for as long as the context is open.

    Raises:
        Problem: `too-many-streams`; nothing was sent.
    """
    check_room(request)
    streams = request.app[STREAMS]
    task = asyncio.current_task()
    if task is None:
        raise AssertionError("a handler runs in a task")
    streams.add(task)
    try:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        request[STREAMING] = True
        await response.prepare(request)
        stream = Stream(response, request)
        await stream.raw(b"retry: 1000\n\n")
        yield stream
        await response.write_eof()
    finally:
        streams.discard(task)


async def close_all(app: web.Application) -> None:
    """End every stream, so that a replica that stops does not wait for its readers."""
    streams = app[STREAMS]
    for task in tuple(streams):
        task.cancel()
