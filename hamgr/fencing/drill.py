"""Tests the fencing command on the other one of two voters, and has consensus know what came of it.

1. A test is due at the start, every `test_every_s`, when the other voter is another one than before, and
   sooner after one that failed. It is made only while the other one is connected: whoever is dead may be off.
2. What has not been tested, or failed, is not counted on.
3. An operator may have it tested at any time, on every other voter; of two, that is a test like any other.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from hamgr.clock import Clock
from hamgr.fencing.port import Fence, Verdict
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
        passed_at: When a test went well last, in Unix seconds; None when none did since the start.
    """

    def __init__(
        self,
        settings: FencingSection,
        fence: Fence,
        *,
        me: str,
        replica: Replica,
        members: Hands,
        clock: Clock,
        tell: Callable[[str, str], Awaitable[None]],
    ) -> None:
        """Prepare; `tell` makes an event of a kind and a sentence."""
        self.failure = ""
        self.passed_at: float | None = None
        self._settings, self._fence, self._me, self._clock = settings, fence, me, clock
        self._replica, self._members, self._tell = replica, members, tell
        self._tested: Member | None = None
        self._tested_at = float("-inf")
        self._turn = asyncio.Lock()

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
        async with self._turn:
            if other is not None and self._is_due(other) and self._is_connected(other):
                await self._test(other)
        ready = other is not None and other == self._tested and not self.failure
        await self._members.may_fence(ready, timeout_s=ANSWER_S)

    async def test(self) -> list[dict[str, Any]]:
        """Test it on every other voter now; takes as long as the slowest command, `timeout_s` at most.

        Returns:
            For each, by name: `other`, `ok`, and what was `said`.
        """
        others = sorted(
            (voter for voter in self._members.configuration.voters if voter.id != self._me),
            key=lambda voter: voter.name,
        )
        async with self._turn:
            verdicts = await asyncio.gather(*(self._tried(voter) for voter in others))
        return [
            {"other": voter.name, "ok": verdict.ok, "said": verdict.words}
            for voter, verdict in zip(others, verdicts, strict=True)
        ]

    def view(self) -> dict[str, Any]:
        """Return how the tests stand; `other` is the other one of two voters, None while they are not two."""
        other = self._other()
        return {
            "command": list(self._settings.command),
            "other": other.name if other is not None else None,
            "armed": self._members.configuration.armed,
            "failure": self.failure,
            "passed_at": self.passed_at,
        }

    async def _tried(self, voter: Member) -> Verdict:
        """Test the command on one voter; it counts for consensus where it would count of itself."""
        if voter == self._other() and self._is_connected(voter):
            return await self._test(voter)
        return await self._fence.status(voter)

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

    async def _test(self, other: Member) -> Verdict:
        verdict = await self._fence.status(other)
        before = (self._tested, self.failure)
        self._tested, self._tested_at = other, time.monotonic()
        self.failure = "" if verdict.ok else f"{other.name} could not be switched off: {verdict.words}"
        self.passed_at = self._clock.now() if verdict.ok else self.passed_at
        if before != (other, self.failure):
            kind = "fencing-failed" if self.failure else "fencing-tested"
            words = self.failure or f"{other.name} could be switched off: {verdict.words}"
            log.log(logging.WARNING if self.failure else logging.INFO, "%s", words)
            try:
                await self._tell(kind, words)
            except ConsensusError as error:
                log.info("nobody could be told that %s: %s", words, error)
        return verdict
