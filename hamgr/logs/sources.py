"""Where an output that is owed comes from: the node that printed it, or another replica that has it."""

import ssl
from collections.abc import Iterable, Sequence
from typing import Protocol

import aiohttp

from backends.ports import AttemptKey, Host, LogChunk, NodeExecutor
from hamgr.logs import records
from hamgr.logs.pieces import Attempt, Kept
from hamgr.raft.port import Peer, Replica

CHUNK_BYTES_MAX = 256 * 1024
ASKED_MAX = 512
"""Attempts that one call asks a peer for."""
ANSWER_BYTES_MAX = 8 * 1024 * 1024
"""How much of what was asked for one answer brings, the last record not counted; the rest is asked anew."""
FETCH_TIMEOUT_S = 10.0
SILENCE_S_MAX = 3.0
FETCH_PATH = "/v1/logs:fetch"


class StillRunning(Exception):
    """The attempt runs on: its node was out of reach when the result was recorded, so nothing is final."""


async def read_from_node(executor: NodeExecutor, host: Host, attempt: Attempt, *, bytes_max: int) -> Kept:
    """Read what is to be kept of an output; what lies between head and tail is not even transferred.

    Raises:
        StillRunning: Nothing is final yet.
        Unreachable, Refused, TimedOut, CommandFailed: As `NodeExecutor.read_log`.
    """
    key = AttemptKey(job=attempt.job, step=attempt.step, attempt=attempt.number)
    half = bytes_max // 2
    first = await executor.read_log(host, key, offset=0, bytes_max=min(CHUNK_BYTES_MAX, half))
    size = first.output_bytes
    if size <= bytes_max:
        last = first
        head = first.data
        if not first.complete:
            last, head = await _read(executor, host, key, first.data, until=size)
        tail = b""
    else:
        _, head = await _read(executor, host, key, first.data, until=half)
        last, tail = await _read(executor, host, key, b"", since=size - (bytes_max - half), until=size)
    if not last.complete:
        raise StillRunning
    return Kept(attempt=attempt, head=head, tail=tail, size=size)


async def _read(
    executor: NodeExecutor, host: Host, key: AttemptKey, data: bytes, *, since: int = 0, until: int
) -> tuple[LogChunk, bytes]:
    """Return the bytes from `since` to `until`, of which `data` is there already, and the last chunk."""
    while True:
        offset = since + len(data)
        wanted = max(min(CHUNK_BYTES_MAX, until - offset), 1)
        chunk = await executor.read_log(host, key, offset=offset, bytes_max=wanted)
        data += chunk.data[: until - offset]
        if not chunk.data or len(data) >= until - since:
            return chunk, data


class PeerLogs(Protocol):
    async def fetch(self, wanted: Sequence[Attempt]) -> dict[Attempt, bytes]:
        """Return the records, checked, that other replicas have of `wanted`; none is no error."""


class ReplicaPeerLogs:
    """Asks the other replicas over HTTP, the leader first."""

    def __init__(self, *, replica: Replica, token: str, tls: ssl.SSLContext | None = None) -> None:
        self._replica = replica
        self._tls = tls
        self._headers = {"Authorization": f"Bearer {token}"}

    async def fetch(self, wanted: Sequence[Attempt]) -> dict[Attempt, bytes]:
        found: dict[Attempt, bytes] = {}
        leader = self._replica.leadership.leader
        peers = sorted(self._replica.peers, key=lambda peer: peer.name != leader)
        timeout = aiohttp.ClientTimeout(
            total=FETCH_TIMEOUT_S, sock_connect=SILENCE_S_MAX, sock_read=SILENCE_S_MAX
        )
        connector = aiohttp.TCPConnector(ssl=self._tls or True)
        async with aiohttp.ClientSession(
            headers=self._headers, timeout=timeout, connector=connector
        ) as session:
            for peer in peers:
                left = [attempt for attempt in wanted if attempt not in found]
                if left and peer.api:
                    found |= await _fetch(session, peer, left[:ASKED_MAX])
        return found


async def _fetch(
    session: aiohttp.ClientSession, peer: Peer, wanted: Iterable[Attempt]
) -> dict[Attempt, bytes]:
    asked = set(wanted)
    body = {"attempts": [attempt._asdict() for attempt in sorted(asked)]}
    try:
        async with session.post(peer.api + FETCH_PATH, json=body) as answer:
            if answer.status != 200:
                return {}
            data = await _bounded(answer.content)
    except (aiohttp.ClientError, TimeoutError):
        return {}
    found = {}
    try:
        for record in records.split(data):
            kept = records.decode(record)
            if kept.attempt in asked:
                found[kept.attempt] = record
    except records.NotARecord:
        return found  # what came before it is whole; the rest is asked for again
    return found


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    chunks, size = [], 0
    async for chunk in content.iter_chunked(64 * 1024):
        chunks.append(chunk)
        size += len(chunk)
        if size > ANSWER_BYTES_MAX + records.HEAD_BYTES + records.META_BYTES_MAX + records.BODY_BYTES_MAX:
            break
    return b"".join(chunks)
