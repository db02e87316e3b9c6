"""A job's log as a stream; the leader has it or reads it, and a follower hands the leader's on.

A line has no global number, since nodes write at the same time: (node, step, attempt, offset) is its
cursor, and a reader that comes back drops what it has seen. The log of one node does have an order, so
there the cursor is the event's id, and a reader that comes back is told only what follows `Last-Event-ID`.
`end` is the last event of a log that is complete for the question that was asked; a stream that ends
without it was cut.
"""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web

from hamgr.api import parse, query, sse
from hamgr.api.context import context_of
from hamgr.api.peers import FORWARDED, SESSION, leader_of
from hamgr.api.problems import of_rejected
from hamgr.api.routes.jobs import job_in_path
from hamgr.logs.asking import Cursor, LogLine, LogQuery
from hamgr.logs.pieces import Attempt
from hamgr.raft.port import Peer
from statemachine.model import Job
from statemachine.nodes import inventory
from statemachine.words import NodeName

QUEUE_LINES_MAX = 64
FORWARD_CHUNK_BYTES_MAX = 64 * 1024
HEARTBEATS_MISSED_MAX = 3


async def get_log(request: web.Request) -> web.StreamResponse:
    """Stream what the job's attempts printed; with `follow`, until the job has ended."""
    query.allow(request, "node", "step", "attempt", "follow", "consistency")
    job = job_in_path(await query.read_state(request), request)
    node = NodeName(request.query["node"]) if "node" in request.query else None
    if node is not None and node not in job.tasks:
        raise of_rejected(inventory.no_such_node(node))
    attempt = query.number(request, "attempt", default=0, low=1, high=10**9)
    asked = LogQuery(
        node=node,
        step=request.query.get("step", ""),
        attempt=attempt or None,
        follow=query.flag(request, "follow"),
        since=Cursor.parse(request.headers.get("Last-Event-ID", "")) if node is not None else None,
    )
    leader = leader_of(context_of(request))
    if leader is not None and FORWARDED not in request.headers:
        try:
            return await _forward(request, leader)
        except _LeaderSilent:
            pass  # every replica can read the nodes; the leader only has warmer connections
    return await _serve(request, job, asked)


class _LeaderSilent(Exception):
    """The leader could not be asked; nothing was sent to the caller."""


async def _forward(request: web.Request, leader: Peer) -> web.StreamResponse:
    """Hand on the leader's stream; when it breaks, so does ours, and the reader comes back."""
    limits = context_of(request).limits
    timeout = aiohttp.ClientTimeout(
        total=None, connect=limits.peer_timeout_s, sock_read=HEARTBEATS_MISSED_MAX * limits.heartbeat_s
    )
    try:
        headers = {name: request.headers[name] for name in ("Last-Event-ID",) if name in request.headers}
        async with request.app[SESSION].get(
            leader.api + request.path_qs, timeout=timeout, headers=headers
        ) as answer:
            if answer.status != 200:
                raise _LeaderSilent
            async with sse.opened(request) as stream:
                response = stream.response
                try:
                    async for chunk in answer.content.iter_chunked(FORWARD_CHUNK_BYTES_MAX):
                        await stream.raw(chunk)
                except (aiohttp.ClientError, TimeoutError) as error:
                    raise sse.ReaderGone("the leader's stream broke") from error
            return response
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _LeaderSilent from error


async def _serve(request: web.Request, job: Job, asked: LogQuery) -> web.StreamResponse:
    context = context_of(request)
    lines = context.logs.follow(job.id, asked)
    queue: asyncio.Queue[LogLine | None] = asyncio.Queue(QUEUE_LINES_MAX)
    async with sse.opened(request) as stream, asyncio.TaskGroup() as group:
        pump = group.create_task(_pump(lines, queue))
        try:
            while (line := await _next(queue, stream, context.limits.heartbeat_s)) is not None:
                cursor = str(line.end) if asked.node is not None else ""
                await stream.send("log", _view(line), cursor=cursor)
        finally:
            pump.cancel()
        ended = context.replica.state.jobs.get(job.id, job)
        await stream.send("end", {"job": job.id, "state": ended.state})
    return stream.response


async def _pump(lines: AsyncIterator[LogLine], queue: asyncio.Queue[LogLine | None]) -> None:
    async for line in lines:
        await queue.put(line)
    await queue.put(None)


async def _next(
    queue: asyncio.Queue[LogLine | None], stream: sse.Stream, heartbeat_s: float
) -> LogLine | None:
    """Return the next line, None at the end; heartbeats go out while there is none."""
    while True:
        try:
            async with asyncio.timeout(heartbeat_s):
                return await queue.get()
        except TimeoutError:
            await stream.heartbeat()


def _view(line: LogLine) -> dict[str, Any]:
    """Return a line as JSON; `raw` only where `data`, as text, is not what was printed byte for byte."""
    text = line.data.decode("utf-8", "replace")
    exact = {} if text.encode() == line.data else {"raw": base64.b64encode(line.data).decode()}
    return {
        "node": line.node,
        "step": line.step,
        "attempt": line.attempt,
        "offset": line.offset,
        "bytes": len(line.data) + line.skipped_bytes,
        "data": text,
        "note": line.note,
        **exact,
    }


async def fetch_logs(request: web.Request) -> web.Response:
    """Return stored logs of this replica (other replicas ask for them); what it has not is left out."""
    query.allow(request)
    body = await parse.read_body(request, parse.FetchBody)
    wanted = [Attempt(**attempt.model_dump()) for attempt in body.attempts]
    return web.Response(
        body=await context_of(request).logs.stored(wanted), content_type="application/octet-stream"
    )
