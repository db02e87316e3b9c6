"""Places to probe from: this replica, and the others, which are asked over their API."""

import asyncio
import ssl
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeAlias

import aiohttp

from hamgr.presence.prober import Prober, Target
from hamgr.raft.port import Replica
from statemachine.model import State
from statemachine.words import NodeName

PROBE_PATH = "/v1/presence:probe"
GRACE_S = 1.0
"""For the way to another replica and back."""
ASKED_MAX = 2_000
"""Nodes in one request."""
ANSWER_BYTES_MAX = 1024 * 1024


Answers: TypeAlias = tuple[list[NodeName], dict[NodeName, str]]
"""Which nodes were probed, and why those of them that did not answer did not."""


class Vantage(Protocol):
    """A replica from which nodes can be probed."""

    async def probe(self, nodes: Sequence[NodeName]) -> Answers | None:
        """Probe `nodes` as far as they are known there; None when there was no word from there."""


class Vantages(Protocol):
    """All places to probe from."""

    def of(self, name: str) -> Vantage | None:
        """Return the vantage of a replica; None when it cannot be asked."""


def targets_of(state: State, nodes: Iterable[NodeName]) -> list[Target]:
    """Return where nodes are, as far as the state knows them."""
    found = [state.nodes[name] for name in nodes if name in state.nodes]
    return [Target(name=node.name, address=node.endpoint.address, port=node.endpoint.port) for node in found]


class Here:
    """This replica."""

    def __init__(self, *, replica: Replica, prober: Prober) -> None:
        self._replica = replica
        self._prober = prober

    async def probe(self, nodes: Sequence[NodeName]) -> Answers:
        targets = targets_of(self._replica.state, nodes)
        return [target.name for target in targets], await self._prober.probe(targets)


class There:
    """Another replica."""

    def __init__(self, *, session: aiohttp.ClientSession, api: str, prober: Prober) -> None:
        self._session = session
        self._url = api + PROBE_PATH
        self._prober = prober

    async def probe(self, nodes: Sequence[NodeName]) -> Answers | None:
        limit_s = self._prober.longest_s(len(nodes)) + GRACE_S
        body = {"nodes": list(nodes[:ASKED_MAX])}
        try:
            timeout = aiohttp.ClientTimeout(total=limit_s)
            async with self._session.post(self._url, json=body, timeout=timeout) as answer:
                if answer.status != 200 or (answer.content_length or ANSWER_BYTES_MAX) >= ANSWER_BYTES_MAX:
                    return None
                return _read(await answer.json())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None


def _read(told: object) -> Answers | None:
    """Return what another replica said; None when that is not what replicas say."""
    if not isinstance(told, dict):
        return None
    probed, silent = told.get("probed"), told.get("silent")
    if not isinstance(probed, list) or not isinstance(silent, dict):
        return None
    return [NodeName(str(name)) for name in probed], {NodeName(str(k)): str(v) for k, v in silent.items()}


class ReplicaVantages:
    """This replica and its peers."""

    def __init__(
        self, *, replica: Replica, prober: Prober, token: str, tls: ssl.SSLContext | None = None
    ) -> None:
        self._replica = replica
        self._prober = prober
        self._here = Here(replica=replica, prober=prober)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    @property
    def here(self) -> Here:
        return self._here

    def of(self, name: str) -> Vantage | None:
        if name == self._replica.name:
            return self._here
        api = next((peer.api for peer in self._replica.peers if peer.name == name), "")
        if not api:
            return None
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._tls or True)
            self._session = aiohttp.ClientSession(headers=self._headers, connector=connector)
        return There(session=self._session, api=api, prober=self._prober)

    async def close(self) -> None:
        """Hang up."""
        if self._session is not None:
            await asyncio.shield(self._session.close())
            self._session = None
