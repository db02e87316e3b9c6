"""Membership that lets the virtual address go before leadership, and takes it back when nobody took over."""

import asyncio

from hamgr.raft.port import Membership
from hamgr.raft.protocol.membership import Configuration, Member, ReplicaId
from hamgr.vip.holder import Holder

PAUSE_S = 1.0
"""For so long no address is held; a successor takes it much sooner, and this replica again afterwards."""


class HandoverMembers:
    """A `Membership`; see `hamgr.vip.lease`, rule 2."""

    def __init__(self, inner: Membership, holder: Holder) -> None:
        self._inner, self._holder = inner, holder

    @property
    def configuration(self) -> Configuration:
        return self._inner.configuration

    @property
    def settled(self) -> bool:
        return self._inner.settled

    async def add_learner(self, member: Member, *, timeout_s: float) -> None:
        await self._inner.add_learner(member, timeout_s=timeout_s)

    async def promote(self, replica: ReplicaId, *, timeout_s: float) -> None:
        await self._inner.promote(replica, timeout_s=timeout_s)

    async def demote(self, replica: ReplicaId, *, timeout_s: float) -> None:
        await self._inner.demote(replica, timeout_s=timeout_s)

    async def remove(self, replica: ReplicaId, *, timeout_s: float) -> None:
        await self._inner.remove(replica, timeout_s=timeout_s)

    async def transfer(self, to: ReplicaId | None, *, timeout_s: float) -> None:
        """Hand leadership over without the address; see `Membership.transfer`."""
        await asyncio.to_thread(self._holder.pause, PAUSE_S)
        try:
            await self._inner.transfer(to, timeout_s=timeout_s)
        finally:
            self._holder.resume()
