"""The virtual address as the daemon and its API see it."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from hamgr.raft.port import Membership
from hamgr.raft.replica import RaftReplica
from hamgr.vip import watchdog
from hamgr.vip.handover import HandoverMembers
from hamgr.vip.herald import Herald
from hamgr.vip.holder import Holder
from hamgr.vip.packets import IP
from hamgr.vip.settings import VIPSection

IP_FREEBIND, IPV6_FREEBIND = 15, 78
BACKLOG = 128


class VIPService:
    """One replica's part in the virtual address."""

    def __init__(self, settings: VIPSection, replica: RaftReplica, *, election_s_min: float) -> None:
        """Prepare only."""
        self._settings, self._replica = settings, replica
        self._ips = frozenset(str(address.ip) for address in settings.interfaces)
        self._holder = Holder(
            settings,
            contact=lambda: replica.contact,
            replicas=self._replicas,
            election_s_min=election_s_min,
        )
        self.members: Membership = HandoverMembers(replica.members, self._holder)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold the address whenever this replica leads; it is gone when the context has ended."""
        self._holder.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self._holder.stop)

    def herald(self, tell: Callable[[str, str], Awaitable[object]]) -> Herald:
        """Return who tells watchers of moves; `tell` makes an event of a kind and a message."""
        what = f"{', '.join(self._settings.addresses)} on {self._settings.interface}"
        return Herald(self._holder, self._replica, what=what, tell=tell)

    def doors(self, tls: ssl.SSLContext) -> list[tuple[socket.socket, ssl.SSLContext]]:
        """Return where the API is served on the addresses, bound before they are here (IP_FREEBIND).

        Args:
            tls: The API's own, so that a renewed certificate is shown here as soon as it is there.

        Raises:
            OSError: A port is in use.
        """
        if self._settings.port is None:
            return []
        with contextlib.ExitStack() as stack:
            found = [
                (stack.enter_context(_bound(address.ip, self._settings.port)), tls)
                for address in self._settings.interfaces
            ]
            stack.pop_all()
        return found

    def check(self, local: str) -> None:
        """Return when a request to the address `local` may be answered.

        Raises:
            ConnectionAbortedError: It came to the virtual address, and this replica does not hold that.
        """
        if local in self._ips and not self._holder.holds:
            raise ConnectionAbortedError("this replica does not hold the virtual address")

    @property
    def figures(self) -> Mapping[str, float]:
        """What there is to measure: gauges, and counters that end in `_total`."""
        counts = self._holder.counts
        return {
            "held": float(self._holder.holds),
            "trouble": float(bool(self._holder.trouble)),
            "watchdog_resident_bytes": float(self._holder.leash.memory_bytes or 0),
            "takes_total": counts["takes"],
            "drops_total": counts["drops"],
            "conflicts_total": counts["conflicts"],
        }

    @property
    def summary(self) -> dict[str, Any]:
        """Return what the cluster's status shows."""
        holder = self._holder
        return {
            "addresses": list(self._settings.addresses),
            "held": holder.holds,
            "trouble": holder.trouble or None,
        }

    def view(self) -> dict[str, Any]:
        """Return what this replica knows, as JSON."""
        holder, conflict = self._holder, self._holder.tenure.conflict
        return {
            "replica": self._replica.name,
            "leader": self._replica.leadership.leader or None,
            "addresses": list(self._settings.addresses),
            "interface": self._settings.interface,
            "port": self._settings.port,
            "held": holder.holds,
            "since": holder.since if holder.holds else None,
            "lease_left_s": round(holder.lease_left_s, 3),
            "lease_s": holder.tenure.lease_s,
            "trouble": holder.trouble or None,
            "conflict": None
            if conflict is None
            else {"ip": conflict.ip, "mac": conflict.mac, "replica": conflict.whose or None},
            "watchdog": {"pid": holder.leash.pid, "resident_bytes": holder.leash.memory_bytes},
            "kernel_life_s": watchdog.VALID_S,
            "news": [{"at": one.at, "what": one.what} for one in tuple(holder.news)],
        }

    def _replicas(self) -> Mapping[IP, str]:
        """Return the names of the other replicas by the addresses of their Raft ports."""
        own = self._replica.name
        return {
            ipaddress.ip_address(member.raft.rpartition(":")[0].strip("[]")): member.name
            for member in self.members.configuration.members
            if member.name != own
        }


def _bound(ip: IP, port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ip.version == 4:
        one.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    else:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    one.setblocking(False)
    try:
        one.bind((str(ip), port))
    except OSError as error:
        one.close()
        raise OSError(f"vip.port: {ip} port {port} cannot be used: {error.strerror}") from error
    return one
