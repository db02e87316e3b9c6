"""Bundles' bytes for this replica: from its own store, else from another replica, which it then keeps."""

import asyncio
import ssl

import aiohttp

from backends.blobs import BLOB_BYTES_MAX, BlobError, BlobStore, NoSuchBlob
from hamgr.raft.port import Replica
from statemachine.words import Digest

FETCH_TIMEOUT_S = 10.0


class ReplicaArchives:
    """Reads from the local store and fetches what it lacks; the digest proves what a peer sends."""

    def __init__(
        self, *, store: BlobStore, replica: Replica, token: str, tls: ssl.SSLContext | None = None
    ) -> None:
        self._store = store
        self._replica = replica
        self._token = token
        self._tls = tls

    async def fetch(self, digest: Digest) -> bytes:
        """Return the bundle's bytes.

        Raises:
            BlobError: Neither this replica nor one that answers has them undamaged.
        """
        try:
            return await asyncio.to_thread(self._store.get, digest)
        except BlobError as error:
            missing = error
        headers = {"Authorization": f"Bearer {self._token}"}
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
        connector = aiohttp.TCPConnector(ssl=self._tls or True)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as session:
            for peer in self._replica.peers:
                data = await _get(session, f"{peer.api}/v1/blobs/{digest}")
                if data is not None:
                    await asyncio.to_thread(self._store.put, digest, data)
                    return data
        raise NoSuchBlob(f"{missing}; no other replica that answers has it") from missing


async def _get(session: aiohttp.ClientSession, url: str) -> bytes | None:
    """Return what a peer sends, or None when it has nothing, does not answer or sends too much."""
    try:
        async with session.get(url) as answer:
            if answer.status != 200 or (answer.content_length or 0) > BLOB_BYTES_MAX:
                return None
            chunks, size = [], 0
            async for chunk in answer.content.iter_chunked(64 * 1024):
                size += len(chunk)
                if size > BLOB_BYTES_MAX:
                    return None
                chunks.append(chunk)
            return b"".join(chunks)
    except (aiohttp.ClientError, TimeoutError):
        return None
