"""Replicas with real consensus over mutual TLS, each behind a real HTTP server, in this process."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp

from backends.blobs import BlobStore
from hamgr import api
from hamgr.api.context import Steering
from hamgr.raft.protocol.membership import Configuration, Member
from hamgr.raft.replica import RaftReplica
from hamgr.raft.settings import RaftSettings, Timers
from tests.hamgr.api import fakes, rig
from tests.hamgr.raft import kit
from tests.ports import free_ports

PATIENT = Timers(election_s_min=0.7, election_s_max=0.9, quorum_lost_s=0.7)
"""A machine that stands still for half a second costs nobody the lead; callers wait for a second."""


@dataclass
class Members:
    """Replicas that run or do not, and a client; `spare` ones are in no configuration yet."""

    path: Path
    settings: dict[str, RaftSettings]
    addresses: dict[str, str]
    session: aiohttp.ClientSession
    steering: Steering | None = None
    running: dict[str, RaftReplica] = field(default_factory=dict)
    _stacks: dict[str, contextlib.AsyncExitStack] = field(default_factory=dict)

    async def start(self, *names: str) -> None:
        for name in names:
            stack = self._stacks[name] = contextlib.AsyncExitStack()
            replica = self.running[name] = RaftReplica(self.settings[name])
            await replica.start()
            stack.push_async_callback(replica.stop)
            blobs = BlobStore(self.path / f"{name}-blobs")
            context = rig.context(
                replica,
                blobs,
                fakes.FakeLogs(),
                api.Limits(),
                members=replica.members,
                autopilot=self.steering,
            )
            await stack.enter_async_context(api.serving(api.build_app(context), self.addresses[name]))

    async def stop(self, name: str) -> None:
        del self.running[name]
        await self._stacks.pop(name).aclose()

    async def close(self) -> None:
        for name in list(self.running):
            await self.stop(name)

    async def leader(self) -> str:
        """Return the name that all running replicas give, when they agree."""

        def agreed() -> str:
            told = {replica.leadership.leader for replica in self.running.values()}
            return told.pop() if len(told) == 1 else ""

        return str(await kit.until(agreed))

    async def followers(self) -> list[str]:
        leader = await self.leader()
        return sorted(name for name in self.running if name != leader)

    def voters(self, at: str) -> list[str]:
        return sorted(member.name for member in self.running[at].members.configuration.voters)

    def body(self, name: str) -> dict[str, str]:
        """Return what `PUT /v1/replicas/NAME` wants to know."""
        settings = self.settings[name]
        return {"id": settings.me, "raft": settings.address, "api": self.addresses[name]}

    async def call(self, at: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Ask one replica."""
        url = f"http://{self.addresses[at]}{path}"
        async with self.session.request(method, url, json=body) as answer:
            return answer.status, await answer.json()


@contextlib.asynccontextmanager
async def members(
    path: Path, count: int = 3, *, spare: int = 0, steering: Steering | None = None
) -> AsyncIterator[Members]:
    """Have `count` replicas run as a cluster, and `spare` more that could be added to it."""
    found = kit.settings_of(count, path, spare=spare, timers=PATIENT)
    ports = free_ports(len(found))
    addresses = {one.name: f"127.0.0.1:{port}" for one, port in zip(found, ports, strict=True)}
    initial = Configuration(tuple(_at(member, addresses) for member in found[0].initial.voters))
    settings = {one.name: replace(one, api=f"http://{addresses[one.name]}", initial=initial) for one in found}
    headers = {"Authorization": f"Bearer {rig.TOKEN}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        made = Members(path=path, settings=settings, addresses=addresses, session=session, steering=steering)
        try:
            await made.start(*[one.name for one in found[:count]])
            await made.leader()
            yield made
        finally:
            await made.close()


def _at(member: Member, addresses: dict[str, str]) -> Member:
    return replace(member, api=f"http://{addresses[member.name]}")
