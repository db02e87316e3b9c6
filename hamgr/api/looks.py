"""Answers that last as long as looks at nodes: in one piece, or as a stream that tells how far it is.

1. Whoever accepts `text/event-stream` gets `looked` events, then `plan` or `problem`, and `end`; a refusal
   that is known before the first look has a status of its own, as everywhere.
2. A stream has time for every node, however many are silent; an answer in one piece has `look_timeout_s`,
   since nobody waits longer for a connection that says nothing.
3. A caller who hangs up ends the look.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from hamgr.api import sse
from hamgr.api.context import context_of
from hamgr.api.middleware import REQUEST_ID
from hamgr.api.problems import Problem

TOLD_EVERY_S = 1.0
CHUNK_BYTES = 64 * 1024
STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is answered in the end."""

    view: Mapping[str, Any]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Progress:
    """How far a look is, and how long it may last."""

    nodes: int
    timeout_s: float
    looked: int = 0

    def one_more(self) -> None:
        """Count a node that was looked at, or could not be."""
        self.looked += 1


Work = Callable[[Progress], Awaitable[Found]]


async def answered(request: web.Request, nodes: int, work: Work) -> web.StreamResponse:
    """Answer with what `work` finds on `nodes` nodes, in the form that the caller accepts.

    Raises:
        Problem: Of `work`, when it is answered in one piece; or `too-many-streams`.
    """
    limits = context_of(request).limits
    if STREAM not in request.headers.get("Accept", ""):
        found = await work(Progress(nodes, limits.look_timeout_s))
        body = await asyncio.to_thread(_encoded, found.view)
        return web.Response(
            body=body, status=found.status, content_type="application/json", headers=found.headers
        )
    progress = Progress(nodes, limits.look_timeout_s + nodes * limits.look_node_s)
    async with sse.opened(request) as stream:
        try:
            found = await _told(stream, progress, work)
        except Problem as problem:
            await stream.send("problem", problem.view(request[REQUEST_ID]))
        else:
            body = await asyncio.to_thread(_encoded, found.view)
            framed = b"event: plan\ndata: " + body + b"\n\n"
            for begin in range(0, len(framed), CHUNK_BYTES):  # each has its own time to be taken
                await stream.raw(framed[begin : begin + CHUNK_BYTES])
            await stream.send("end", {})
    return stream.response


async def _told(stream: sse.Stream, progress: Progress, work: Work) -> Found:
    """Return what `work` finds; tell meanwhile how far it is."""
    working = asyncio.ensure_future(work(progress))
    try:
        while True:
            await stream.send("looked", {"looked": progress.looked, "nodes": progress.nodes})
            done, _ = await asyncio.wait({working}, timeout=TOLD_EVERY_S)
            if done:
                return working.result()
    finally:
        working.cancel()


def _encoded(view: Mapping[str, Any]) -> bytes:
    """Return JSON in one line; that of a thousand nodes takes a tenth of a second, beside the event loop."""
    return json.dumps(view).encode()
