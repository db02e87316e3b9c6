"""Whether a silent replica answers otherwise: at its Raft port, at its API, or to another replica.

A process that is frozen has open ports, which its kernel answers for. So a connection counts for nothing: the
replica must prove who it is (TLS), or answer.
"""

import asyncio
import ssl
from typing import Any

import aiohttp

from hamgr.raft.port import CannotStart, Replica
from hamgr.raft.protocol.membership import Member
from hamgr.raft.wire.tls import Credentials
from hamgr.security.authority import BadCertificate, identity_of

PROBE_S = 2.0
"""For one probe; all of them go at once."""
OTHERS_MAX = 3
"""Other replicas that are asked for their word."""


class ReplicaProbes:
    """The probes of one replica; event loop only."""

    def __init__(
        self, *, replica: Replica, credentials: Credentials, token: str, tls: ssl.SSLContext | None
    ) -> None:
        """Prepare.

        Args:
            token, tls: For calls to other replicas; without `tls` by plain HTTP, on loopback.
        """
        self._replica = replica
        self._credentials = credentials
        self._headers = {"Authorization": f"Bearer {token}"}
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def failed(self, member: Member) -> tuple[str, ...]:
        """Return, in words, which probes of `member` failed; takes `PROBE_S` at most."""
        said = await asyncio.gather(self._raft(member), self._api(member), self._word(member))
        return tuple(sentence for sentence in said if sentence)

    async def close(self) -> None:
        """Hang up."""
        session, self._session = self._session, None
        if session is not None:
            await asyncio.shield(session.close())

    async def _raft(self, member: Member) -> str:
        host, _, port = member.raft.rpartition(":")
        try:
            async with asyncio.timeout(PROBE_S):
                _reader, writer = await asyncio.open_connection(
                    host.strip("[]"), int(port), ssl=self._credentials.client_context()
                )
                found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
                writer.transport.abort()
            if identity_of(found).id != member.id:
                return f"another replica answers at {member.raft}"
        except CannotStart:  # our own certificate: that says nothing about the other one
            return ""
        except (OSError, BadCertificate):  # TimeoutError and SSLError are OSErrors
            return f"nobody answers at {member.raft}"
        return ""

    async def _api(self, member: Member) -> str:
        if not member.api:
            return ""
        return "" if await self._get(f"{member.api}/livez") is not None else "its API does not answer"

    async def _word(self, member: Member) -> str:
        """Ask others for their link to `member`; it fails when some know, and none has one."""
        others = [peer for peer in self._replica.peers if peer.connected and peer.api]
        others = [peer for peer in others if peer.name != member.name][:OTHERS_MAX]
        told = await asyncio.gather(*(self._get(f"{peer.api}/v1/replica") for peer in others))
        without = []
        for peer, answer in zip(others, told, strict=True):
            linked = _link(answer, member.name)
            if linked:
                return ""
            if linked is False:
                without.append(peer.name)
        return f"no link to it from {' and '.join(without)}" if without else ""

    async def _get(self, url: str) -> Any:
        """Return what is answered, JSON or text; None when nothing is."""
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._tls or True)
            self._session = aiohttp.ClientSession(headers=self._headers, connector=connector)
        try:
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=PROBE_S)) as answer:
                if answer.status != 200:
                    return None
                return await (answer.json() if answer.content_type.endswith("json") else answer.text())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None


def _link(answer: object, name: str) -> bool | None:
    """Return whether a replica said that it is linked to another; None when it said nothing of the kind."""
    try:
        found = answer["consensus"]["peers"][name]["connected"]  # type: ignore[index]  # as replicas answer
    except (TypeError, KeyError):
        return None
    return found if isinstance(found, bool) else None
