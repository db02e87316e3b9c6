"""The links of one replica to the others: mutual TLS, members only, dialled again for as long as it takes.

1. A replica sends on connections that it dialled and receives on those that others dialled; each side proves
   by its certificate which replica of which cluster it is, and says with which data folder it runs.
2. Whoever is no member, or not as it was before, is told why, closed and counted. Nothing of what it sends
   reaches the owner, and it can make us hold no more than one frame.
3. `up` and `down` alternate for each peer. `down` with `refused` may follow: right after the link was lost,
   the peer's host said that nobody listens there any more.
4. Messages to one peer arrive in the order in which they were sent, or not at all; a link that is lost loses
   what was under way.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from hamgr.raft.port import CannotStart
from hamgr.raft.protocol.membership import Member, ReplicaId
from hamgr.raft.protocol.messages import Message
from hamgr.raft.wire import frames
from hamgr.raft.wire.acceptor import Acceptor
from hamgr.raft.wire.dialler import Dialler
from hamgr.raft.wire.endpoint import Endpoint, LinkSettings
from hamgr.raft.wire.frames import FrameError
from hamgr.raft.wire.hello import Hello
from hamgr.raft.wire.tls import RENEW, Credentials

logger = logging.getLogger(__name__)

EXPIRY_WARNING_S = 30 * 24 * 3600.0
EXPIRY_LOOK_S = 24 * 3600.0


class Links:
    """All of them; everything on one event loop."""

    def __init__(
        self,
        *,
        own: Hello,
        address: str,
        credentials: Credentials,
        receive: Callable[[ReplicaId, Any], None],
        up: Callable[[ReplicaId], None],
        down: Callable[[ReplicaId, bool], None],
        settings: LinkSettings,
    ) -> None:
        """Prepare only.

        Args:
            address: `HOST:PORT` to listen on.
            receive: Gets each message and its proven sender; a `ValueError` from it closes the connection.

        Raises:
            CannotStart: The credentials cannot be used.
        """
        self.endpoint = Endpoint(own, credentials, settings, receive=receive, up=up, down=down)
        self.counters = self.endpoint.counters
        self._diallers: dict[ReplicaId, Dialler] = {}
        self._last: tuple[Message, bytes] | None = None
        self._expiry_look: asyncio.TimerHandle | None = None
        self._acceptor = Acceptor(self.endpoint, address, on_change=self._heard_from)

    @property
    def hellos(self) -> Mapping[ReplicaId, Hello]:
        """What each member that was met since the start has said of itself."""
        return self.endpoint.acquaintances.hellos

    @property
    def expires_at(self) -> float:
        """When our certificate runs out, in seconds since 1970."""
        return self.endpoint.expires_at

    async def start(self) -> None:
        """Listen.

        Raises:
            CannotStart: The address cannot be used.
        """
        self._acceptor.start()
        self._look_at_expiry()

    def reconcile(self, members: Mapping[ReplicaId, Member]) -> None:
        """Dial these, let these in, and nobody else."""
        self.endpoint.members = dict(members)
        self.endpoint.acquaintances.forget_others_than(members)
        for replica, dialler in list(self._diallers.items()):
            member = members.get(replica)
            if member is None or member.raft != dialler.address:
                del self._diallers[replica]
                dialler.close()
        for replica, member in members.items():
            if replica not in self._diallers:
                self._diallers[replica] = Dialler(self.endpoint, member)
        self._acceptor.close_others_than(members)

    def send(self, to: ReplicaId, message: Message) -> None:
        """Send; without a link the message is dropped and counted. It must not be changed afterwards."""
        dialler = self._diallers.get(to)
        channel = None if dialler is None else dialler.channel
        if channel is None:
            self.counters["dropped_without_link"] += 1
            return
        if self._last is None or self._last[0] is not message:
            try:
                self._last = message, frames.encode(message)
            except FrameError as error:
                self.counters["oversized_messages"] += 1
                logger.error("nothing was sent to %s: %s", to, error)  # noqa: TRY400 - the sentence says all
                return
        channel.write(self._last[1])
        if channel.queued_bytes() > self.endpoint.settings.buffer_bytes_max:
            self.counters["cut_for_backlog"] += 1
            channel.abort("it does not read what it is sent")

    def queued_bytes(self, to: ReplicaId) -> int:
        """Return what waits to be sent to a peer."""
        dialler = self._diallers.get(to)
        return 0 if dialler is None or dialler.channel is None else dialler.channel.queued_bytes()

    def reload(self, credentials: Credentials) -> None:
        """Use these for new connections; when they are unfit nothing changes, and the log says why."""
        try:
            self.endpoint.use(credentials)
        except CannotStart as error:
            self.counters["reloads_refused"] += 1
            logger.error("the certificates were not reloaded: %s", error)  # noqa: TRY400 - the sentence says all
        else:
            self.counters["reloads"] += 1
            logger.info(
                "the certificates were reloaded; ours is good until %s", time.ctime(self.endpoint.expires_at)
            )
            self._look_at_expiry()

    async def close(self) -> None:
        """Close everything; `down` is not called any more."""
        self.endpoint.down = lambda _peer, _refused: None
        if self._expiry_look is not None:
            self._expiry_look.cancel()
        for dialler in self._diallers.values():
            dialler.close()
        tasks = [dialler.task for dialler in self._diallers.values()]
        self._diallers = {}
        await asyncio.gather(*tasks, self._acceptor.close(), return_exceptions=True)

    def _heard_from(self, peer: ReplicaId) -> None:
        """Note that a peer's connection to us has come, or gone: it is worth looking at ours, now."""
        dialler = self._diallers.get(peer)
        if dialler is not None:
            dialler.hurry()
            dialler.leave_earlier_life()

    def _look_at_expiry(self) -> None:
        if self._expiry_look is not None:
            self._expiry_look.cancel()
        left_s = self.endpoint.expires_at - time.time()
        if left_s < EXPIRY_WARNING_S:
            self.counters["expiry_warnings"] += 1
            logger.warning("this replica's certificate runs out in %.0f days; %s", left_s / 86_400, RENEW)
        self._expiry_look = asyncio.get_running_loop().call_later(EXPIRY_LOOK_S, self._look_at_expiry)
