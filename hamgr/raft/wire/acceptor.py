"""Lets other replicas in: a listening socket, a bounded number of strangers, one connection for each member.

1. Who has not proved who it is has `welcome_timeout_s` for it, in all, and takes one of `strangers_max`
   places; when they are taken the one that has waited longest goes. So a member, which needs milliseconds,
   gets in beside any number of idle connections, and a slow one ends.
2. Hosts of members have places of their own, which nobody elsewhere can take.
3. The second connection of a member takes the place of the first.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Container
from typing import Any

from hamgr.raft.port import CannotStart
from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.wire import hello
from hamgr.raft.wire.channel import Channel
from hamgr.raft.wire.endpoint import Endpoint
from hamgr.raft.wire.hello import BadHello
from hamgr.security.authority import REPLICA, BadCertificate

logger = logging.getLogger(__name__)

BACKLOG = 128
ACCEPT_PAUSE_S = 0.1
"""After an error that would come again at once, as when there are no descriptors left."""


class Acceptor:
    """The listening side of the links."""

    def __init__(self, endpoint: Endpoint, address: str, *, on_change: Callable[[ReplicaId], None]) -> None:
        """Prepare only; `on_change` is told of a member whose connection to us has come, or gone."""
        self._endpoint = endpoint
        self._address = address
        self._on_change = on_change
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop
        self._resumption: asyncio.TimerHandle | None = None
        self._welcomes: set[asyncio.Task[None]] = set()
        # From elsewhere, and from hosts of members; the oldest first.
        self._strangers: tuple[dict[asyncio.Task[None], None], ...] = ({}, {})
        self._members: dict[ReplicaId, Channel] = {}

    def start(self) -> None:
        """Bind and listen; raises `CannotStart`."""
        self._loop = asyncio.get_running_loop()
        host, _, port = self._address.rpartition(":")
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind((host, int(port)))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise CannotStart(
                f"{self._address} cannot be listened on ({error.strerror}); "
                "stop what uses it, or choose another address"
            ) from error
        self._socket = listener
        self._listen(listener)

    def close_others_than(self, members: Container[ReplicaId]) -> None:
        """Close the connections of whoever is not a member any more."""
        for replica in [replica for replica in self._members if replica not in members]:
            self._members.pop(replica).abort()

    async def close(self) -> None:
        """Close the socket and every connection."""
        if self._resumption is not None:
            self._resumption.cancel()
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
        tasks = [*self._welcomes]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.close_others_than(())

    def _listen(self, listener: socket.socket) -> None:
        self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        """Accept one connection; the loop comes back for the next one after its other work."""
        try:
            connection, peer = listener.accept()
        except (BlockingIOError, ConnectionError):  # it is gone already
            return
        except OSError as error:
            self._endpoint.counters["accepts_failed"] += 1
            logger.warning("no connection could be accepted: %s", error.strerror)
            self._loop.remove_reader(listener)
            self._resumption = self._loop.call_later(ACCEPT_PAUSE_S, self._listen, listener)
            return
        connection.setblocking(False)
        places = self._strangers[self._endpoint.is_host_of_a_member(peer[0])]
        if len(places) >= self._endpoint.settings.strangers_max:
            self._endpoint.counters["strangers_pushed_out"] += 1
            oldest = next(iter(places))
            del places[oldest]
            oldest.cancel()
        channel = Channel()
        task = self._loop.create_task(self._welcome(connection, channel))
        places[task] = None
        self._welcomes.add(task)
        task.add_done_callback(lambda task: self._ended(task, connection, channel))

    def _ended(self, task: asyncio.Task[None], connection: socket.socket, channel: Channel) -> None:
        if not channel.made:
            connection.close()  # here, because a task that is cancelled early does nothing at all
        self._welcomes.discard(task)
        for places in self._strangers:
            places.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._endpoint.counters["failures"] += 1
            logger.error("the links could not handle a connection", exc_info=error)

    async def _welcome(self, connection: socket.socket, channel: Channel) -> None:
        """Find out who it is; it has little time for that, and is closed if it is nobody."""
        counters, let_in = self._endpoint.counters, False
        try:
            async with asyncio.timeout(self._endpoint.settings.welcome_timeout_s):
                await self._loop.connect_accepted_socket(
                    lambda: channel, connection, ssl=self._endpoint.server_tls
                )
                peer = self._proven_member(channel)
                let_in = peer is not None and self._let_in(peer, channel, await channel.first())
                if not let_in:
                    await channel.lost  # once it has read why, or its time is up
        except TimeoutError:
            counters["handshakes_too_slow"] += 1
        except OSError as error:
            counters[_kind_of(error, channel)] += 1
        finally:
            if not let_in:
                channel.abort()

    def _proven_member(self, channel: Channel) -> ReplicaId | None:
        """Return whose certificate it was; None when it is refused."""
        endpoint = self._endpoint
        try:
            proven = channel.proven()
        except BadCertificate as error:
            endpoint.refuse(channel, "bad_certificates", f"your certificate is no replica's: {error}")
            return None
        if proven.kind != REPLICA:
            endpoint.refuse(
                channel, "clients_refused", "your certificate is a client's, and peers are replicas"
            )
        elif proven.cluster != endpoint.own.cluster:
            endpoint.refuse(channel, "foreign_clusters", f"this is cluster {endpoint.own.cluster}")
        elif proven.id not in endpoint.members:
            endpoint.refuse(
                channel, "non_members", "you are no member of this cluster as far as is known here"
            )
        else:
            return ReplicaId(proven.id)
        return None

    def _let_in(self, peer: ReplicaId, channel: Channel, message: Any) -> bool:
        """Take `channel` as the one that `peer` speaks on, if its first message is in order."""
        endpoint = self._endpoint
        if channel.broken:
            endpoint.counters["bad_first_frames"] += 1
            return False
        if peer not in endpoint.members:  # any more
            endpoint.refuse(channel, "non_members", "you are no member of this cluster any more")
            return False
        try:
            endpoint.acquaintances.meet(hello.decode(message), peer)
        except BadHello as error:
            logger.warning("replica %s was refused: %s", peer, error)
            endpoint.refuse(channel, "bad_hellos", str(error))
            return False
        before = self._members.get(peer)
        if before is not None:
            before.abort()
        self._members[peer] = channel
        channel.lost.add_done_callback(lambda _: self._forget(peer, channel))
        channel.send(endpoint.own.encode())
        channel.hand_to(lambda received: self._pass_on(peer, channel, received))
        endpoint.counters["links_accepted"] += 1
        self._on_change(peer)
        return True

    def _pass_on(self, peer: ReplicaId, channel: Channel, received: Any) -> None:
        if type(received) is dict and received.get("type") == hello.TYPE:
            raise BadHello("it said hello twice")
        if self._members.get(peer) is channel:  # else what comes is from before it was replaced
            self._endpoint.receive(peer, received)

    def _forget(self, peer: ReplicaId, channel: Channel) -> None:
        if channel.broken:
            self._endpoint.counters["cut_for_bad_messages"] += 1
            logger.warning("a connection from replica %s was cut: %s", peer, channel.broken)
        if self._members.get(peer) is channel:
            del self._members[peer]
            self._on_change(peer)


def _kind_of(error: OSError, channel: Channel) -> str:
    """Return the counter for a connection that ended before its peer was let in."""
    if channel.broken:
        return "bad_first_frames"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "untrusted_certificates"
    if isinstance(error, ssl.SSLError) and error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "without_certificate"
    return "handshakes_failed"
