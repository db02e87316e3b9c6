"""Talking to other replicas: ask all of them something, give them bytes, hand a stream on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web

from hamgr.api.body import read_bytes
from hamgr.api.context import CONTEXT, ApiContext
from hamgr.api.middleware import REQUEST_ID
from hamgr.api.problems import Problem
from hamgr.raft.port import Peer
from statemachine.words import Digest

SESSION: web.AppKey[aiohttp.ClientSession] = web.AppKey("session", aiohttp.ClientSession)
FORWARDED = "X-Hamgr-Forwarded"
"""Marks a request that came through another replica, so that none goes in circles."""
CONNECTIONS_MAX = 64


async def session(app: web.Application) -> AsyncIterator[None]:
    """Keep one client session for as long as the application runs."""
    context = app[CONTEXT]
    connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX, ssl=context.peer_tls or True)
    headers = {"Authorization": f"Bearer {context.token}", FORWARDED: context.name}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as opened:
        app[SESSION] = opened
        yield


async def ask(app: web.Application, peer: Peer, path: str) -> dict[str, Any] | None:
    """Return a peer's JSON answer, or None when there was none in time."""
    timeout = aiohttp.ClientTimeout(total=app[CONTEXT].limits.peer_timeout_s)
    try:
        async with app[SESSION].get(peer.api + path, timeout=timeout) as answer:
            found = await answer.json() if answer.status == 200 else None
            return found if isinstance(found, dict) else None
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None


async def ask_all(app: web.Application, path: str) -> dict[str, dict[str, Any] | None]:
    """Return every peer's answer, by its name; all are asked at once."""
    peers = app[CONTEXT].replica.peers
    answers = await asyncio.gather(*(ask(app, peer, path) for peer in peers))
    return {peer.name: answer for peer, answer in zip(peers, answers, strict=True)}


async def give_blob(app: web.Application, digest: Digest, data: bytes) -> list[str]:
    """Put a blob on the other replicas; return the names of those that have it on their disks.

    Once a quorum has it (this replica counted), the rest is waited for only `blob_grace_s` longer.
    """
    context = app[CONTEXT]
    peers = context.replica.peers
    if not peers:
        return []
    needed = (len(peers) + 1) // 2 + 1
    stored: list[str] = []
    limit_s: float | None = None
    async with asyncio.TaskGroup() as group:
        tasks = {group.create_task(_put(app, peer, digest, data)): peer.name for peer in peers}
        waiting = set(tasks)
        while waiting:
            done, waiting = await asyncio.wait(waiting, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            stored += [tasks[task] for task in done if task.result()]
            if not done:
                for task in waiting:
                    task.cancel()
                break
            if len(stored) + 1 >= needed:
                limit_s = context.limits.blob_grace_s
    return sorted(stored)


async def _put(app: web.Application, peer: Peer, digest: Digest, data: bytes) -> bool:
    timeout = aiohttp.ClientTimeout(total=app[CONTEXT].limits.blob_peer_timeout_s)
    headers = {"Content-Type": "application/octet-stream"}
    url = f"{peer.api}/v1/blobs/{digest}"
    try:
        async with app[SESSION].put(url, data=data, headers=headers, timeout=timeout) as answer:
            return answer.status in (200, 201, 204)
    except (aiohttp.ClientError, TimeoutError):
        return False


async def get_blob(app: web.Application, digest: Digest) -> bytes | None:
    """Return a blob from the first peer that sends one; the caller checks it."""
    context: ApiContext = app[CONTEXT]
    timeout = aiohttp.ClientTimeout(total=context.limits.blob_peer_timeout_s)
    for peer in context.replica.peers:
        try:
            async with app[SESSION].get(f"{peer.api}/v1/blobs/{digest}", timeout=timeout) as answer:
                size = answer.content_length
                if answer.status == 200 and size is not None and size <= context.limits.blob_bytes_max:
                    return await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            continue
    return None


async def hand_on(request: web.Request, leader: Peer) -> web.Response:
    """Return the leader's answer to a small request, under this replica's request id.

    Raises:
        Problem: It gave none in time; whether it took the request is not known.
    """
    limits = request.app[CONTEXT].limits
    timeout = aiohttp.ClientTimeout(total=limits.propose_timeout_s + limits.peer_timeout_s)
    data = await read_bytes(request, bytes_max=limits.json_bytes_max)
    headers = {"Content-Type": request.content_type} if data else {}
    url = leader.api + request.path_qs
    try:
        async with request.app[SESSION].request(
            request.method, url, data=data or None, headers=headers, timeout=timeout
        ) as answer:
            told = await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        code = "no-leader" if request.method == "GET" else "outcome-unknown"
        raise Problem(code, f"the leader {leader.name} gave no answer", hint="send it again") from error
    if answer.status >= 400 and isinstance(told, dict):
        told["request_id"] = request[REQUEST_ID]
    kept = {name: answer.headers[name] for name in ("Retry-After",) if name in answer.headers}
    response = web.json_response(told, status=answer.status, headers=kept)
    response.content_type = answer.content_type
    return response


def leader_of(context: ApiContext) -> Peer | None:
    """Return the peer that leads, if another replica does and its address is known."""
    leadership = context.replica.leadership
    if leadership.leads:
        return None
    return next((peer for peer in context.replica.peers if peer.name == leadership.leader and peer.api), None)
