"""Keeps one link to one peer: dials, says hello, and dials again when the link is lost."""

import asyncio
import logging
from typing import Any

from hamgr.raft.protocol.membership import Member
from hamgr.raft.wire import hello
from hamgr.raft.wire.channel import Channel
from hamgr.raft.wire.endpoint import Endpoint
from hamgr.raft.wire.hello import BadHello
from hamgr.security.authority import REPLICA, BadCertificate

logger = logging.getLogger(__name__)

SETTLED_S = 1.0
"""A link that lasted so long is dialled again without a pause when it is lost; one that did not, not."""
COMPLAINTS_BEFORE_LOG = 5
"""A peer that starts, or restarts, may refuse us a few times without anything being wrong."""


class Refused(Exception):
    """The peer answered, and there will be no link; the message is half a sentence."""


class Dialler:
    """The link to one member, for as long as it is one.

    Attributes:
        channel: The link; None while there is none.
    """

    def __init__(self, endpoint: Endpoint, member: Member) -> None:
        self.address = member.raft
        self.channel: Channel | None = None
        self._endpoint = endpoint
        self._member = member
        self._hurry = asyncio.Event()
        self._complaint = ""
        self._complaints = 0
        self._closed = False
        self._nonce = b""
        self._loop = asyncio.get_running_loop()
        self.task = self._loop.create_task(self._run())
        self.task.add_done_callback(self._ended)

    def hurry(self) -> None:
        """Dial now instead of waiting for the end of the pause."""
        self._hurry.set()

    def leave_earlier_life(self) -> None:
        """End the link if the peer was met in a later start since: two lives must not both get messages."""
        now = self._endpoint.acquaintances.hellos.get(self._member.id)
        if self.channel is not None and now is not None and now.nonce != self._nonce:
            self.channel.abort("the peer was started again")

    def close(self) -> None:
        """End the link and dial no more."""
        self._closed = True
        self._lose()
        self.task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._endpoint.counters["failures"] += 1
            logger.error("the link to %s failed and is not made again", self._member.name, exc_info=error)

    async def _run(self) -> None:
        attempt = 0
        was_up = False
        while not self._closed:
            if attempt:
                await self._pause(self._endpoint.pause_s(attempt))
            attempt += 1
            try:
                self.channel = channel = await self._dial()
            except (OSError, ValueError, Refused) as error:
                if was_up and isinstance(error, ConnectionRefusedError) and not self._closed:
                    self._endpoint.down(self._member.id, True)
                was_up = False
                self._endpoint.counters["dials_failed"] += 1
                self._complain(error)
                continue
            since = self._loop.time()
            was_up, self._complaints = True, 0
            self._endpoint.counters["links_made"] += 1
            self._endpoint.up(self._member.id)
            try:
                await asyncio.shield(channel.lost)
            finally:
                self._lose()
            if self._loop.time() - since >= SETTLED_S:
                attempt = 0

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            return
        finally:
            self._hurry.clear()

    async def _dial(self) -> Channel:
        endpoint = self._endpoint
        host, _, port = self.address.rpartition(":")
        channel = Channel()
        try:
            async with asyncio.timeout(endpoint.settings.connect_timeout_s):
                await self._loop.create_connection(
                    lambda: channel, host.strip("[]"), int(port), ssl=endpoint.client_tls, server_hostname=""
                )
            self._check_certificate(channel)
            channel.send(endpoint.own.encode())
            async with asyncio.timeout(endpoint.settings.welcome_timeout_s):
                answer = await channel.first()
            self._take_answer(answer)
        except TimeoutError as error:
            channel.abort()
            raise Refused("there is no answer") from error
        except BaseException:
            channel.abort()
            raise
        return channel

    def _check_certificate(self, channel: Channel) -> None:
        try:
            proven = channel.proven()
        except BadCertificate as error:
            raise Refused(f"its certificate is no replica's: {error}") from error
        if (proven.kind, proven.cluster, proven.id) != (REPLICA, self._endpoint.own.cluster, self._member.id):
            self._endpoint.counters["wrong_identity"] += 1
            raise Refused(
                f"at that address is {proven.kind} {proven.id} of cluster {proven.cluster}; correct it"
            )

    def _take_answer(self, answer: Any) -> None:
        if type(answer) is dict and answer.get("type") == "goodbye":
            raise Refused(f"it refuses us: {answer.get('reason')!a:.200}")
        try:
            met = hello.decode(answer)
            self._endpoint.acquaintances.meet(met, self._member.id)
            self._nonce = met.nonce
        except BadHello as error:
            self._endpoint.counters["bad_hellos"] += 1
            raise Refused(str(error)) from error

    def _lose(self) -> None:
        channel, self.channel = self.channel, None
        if channel is None:
            return
        if channel.broken:
            logger.warning("the link to %s was cut: %s", self._member.name, channel.broken)
        channel.abort()
        self._endpoint.down(self._member.id, False)

    def _complain(self, error: Exception) -> None:
        """Log a reason once, when it has lasted."""
        what = str(error) or type(error).__name__
        if what != self._complaint:
            self._complaint, self._complaints = what, 0
        self._complaints += 1
        if self._complaints == COMPLAINTS_BEFORE_LOG:
            logger.warning("no link to %s at %s: %s", self._member.name, self.address, what)
