"""A job's log as a stream; the leader reads it from the nodes, and a follower hands the leader's on.

A line has no global number, since nodes write at the same time: (node, step, attempt, offset) is its
cursor, and a reader that comes back drops what it has seen. `end` is the last event of a log that is
complete for the question that was asked; a stream that ends without it was cut.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web

from hamgr.api import query, sse
from hamgr.api.context import LogLine, context_of
from hamgr.api.peers import FORWARDED, SESSION, leader_of
from hamgr.api.problems import of_rejected
from hamgr.api.routes.jobs import job_in_path
from hamgr.raft.port import Peer
from statemachine import inventory
from statemachine.model import Job
from statemachine.words import NodeName

QUEUE_LINES_MAX = 64
FORWARD_CHUNK_BYTES_MAX = 64 * 1024
HEARTBEATS_MISSED_MAX = 3


async def get_log(request: web.Request) -> web.StreamResponse:
    """Stream what the job's attempts printed; with `follow`, until the job has ended."""
    query.allow(request, "node", "follow", "consistency")
    follow = query.flag(request, "follow")
    job = job_in_path(await query.read_state(request), request)
    node = NodeName(request.query["node"]) if "node" in request.query else None
    if node is not None and node not in job.tasks:
        raise of_rejected(inventory.no_such_node(node))
    leader = leader_of(context_of(request))
    if leader is not None and FORWARDED not in request.headers:
        try:
            return await _forward(request, leader)
        except _LeaderSilent:
            pass  # every replica can read the nodes; the leader only has warmer connections
    return await _serve(request, job, node, follow=follow)


class _LeaderSilent(Exception):
    """The leader could not be asked; nothing was sent to the caller."""


async def _forward(request: web.Request, leader: Peer) -> web.StreamResponse:
    """Hand on the leader's stream; when it breaks, so does ours, and the reader comes back."""
    limits = context_of(request).limits
    timeout = aiohttp.ClientTimeout(
        total=None, connect=limits.peer_timeout_s, sock_read=HEARTBEATS_MISSED_MAX * limits.heartbeat_s
    )
    try:
        async with request.app[SESSION].get(leader.api + request.path_qs, timeout=timeout) as answer:
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


async def _serve(
    request: web.Request, job: Job, node: NodeName | None, *, follow: bool
) -> web.StreamResponse:
    context = context_of(request)
    lines = context.logs.follow(job.id, node, follow=follow)
    queue: asyncio.Queue[LogLine | None] = asyncio.Queue(QUEUE_LINES_MAX)
    async with sse.opened(request) as stream, asyncio.TaskGroup() as group:
        pump = group.create_task(_pump(lines, queue))
        try:
            while (line := await _next(queue, stream, context.limits.heartbeat_s)) is not None:
                await stream.send("log", _view(line))
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
    return {
        "node": line.node,
        "step": line.step,
        "attempt": line.attempt,
        "offset": line.offset,
        "bytes": len(line.data),
        "data": line.data.decode("utf-8", "replace"),
        "note": line.note,
    }
