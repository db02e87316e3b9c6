"""Tests the fencing command on the other one of two voters, and has consensus know what came of it.

1. A test is due at the start, every `test_every_s`, when the other voter is another one than before, and
   sooner after one that failed. It is made only while the other one is connected: whoever is dead may be off.
2. What has not been tested, or failed, is not counted on.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from hamgr.fencing.port import Fence
from hamgr.fencing.settings import FencingSection
from hamgr.raft.port import ConsensusError, Replica
from hamgr.raft.protocol.membership import PAIR, ChangeRefused, Configuration, Member

LOOK_S = 0.5
ANSWER_S = 2.0
AGAIN_S = 60.0
"""From a test that failed to the next one, at most."""

log = logging.getLogger(__name__)


class Hands(Protocol):
    """See `hamgr.raft.members`."""

    @property
    def configuration(self) -> Configuration: ...
    async def may_fence(self, ready: bool, *, timeout_s: float) -> None: ...


class Drill:
    """The tests of one replica.

    Attributes:
        failure: What the last test said, if it failed; empty when it went well or there was none.
    """

    def __init__(
        self,
        settings: FencingSection,
        fence: Fence,
        *,
        me: str,
        replica: Replica,
        members: Hands,
        tell: Callable[[str, str], Awaitable[None]],
    ) -> None:
        """Prepare; `tell` makes an event of a kind and a sentence."""
        self.failure = ""
        self._settings, self._fence, self._me = settings, fence, me
        self._replica, self._members, self._tell = replica, members, tell
        self._tested: Member | None = None
        self._tested_at = float("-inf")

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                await self.look()
            except (ConsensusError, ChangeRefused) as error:
                log.info("consensus could not be told of fencing: %s", error)
            except Exception:
                log.exception("a test of the fencing command failed; the next look begins soon")
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look once: test if it is due, and have consensus know.

        Raises:
            ConsensusError: It did not take notice.
        """
        other = self._other()
        if other is not None and self._is_due(other) and self._is_connected(other):
            await self._test(other)
        ready = other is not None and other == self._tested and not self.failure
        await self._members.may_fence(ready, timeout_s=ANSWER_S)

    def _other(self) -> Member | None:
        configuration = self._members.configuration
        others = [voter for voter in configuration.voters if voter.id != self._me]
        return others[0] if len(others) == 1 and len(configuration.voters) == PAIR else None

    def _is_due(self, other: Member) -> bool:
        every_s = self._settings.test_every_s
        since_s = time.monotonic() - self._tested_at
        return other != self._tested or since_s >= (min(every_s, AGAIN_S) if self.failure else every_s)

    def _is_connected(self, other: Member) -> bool:
        return any(peer.name == other.name and peer.connected for peer in self._replica.peers)

    async def _test(self, other: Member) -> None:
        verdict = await self._fence.status(other)
        before = (self._tested, self.failure)
        self._tested, self._tested_at = other, time.monotonic()
        self.failure = "" if verdict.ok else f"{other.name} could not be switched off: {verdict.words}"
        if before != (other, self.failure):
            kind = "fencing-failed" if self.failure else "fencing-tested"
            words = self.failure or f"{other.name} could be switched off: {verdict.words}"
            log.log(logging.WARNING if self.failure else logging.INFO, "%s", words)
            try:
                await self._tell(kind, words)
            except ConsensusError as error:
                log.info("nobody could be told that %s: %s", words, error)
