"""The proposals that wait for an outcome, by the bytes of their entry; event loop only, but for `in`."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from hamgr.raft.port import NotCommitted, OutcomeUnknown
from statemachine import codec
from statemachine.commands import Command
from statemachine.outcomes import Outcome


def entry_of(command: Command) -> bytes:
    """Return the log entry for `command`, or raise `NotCommitted` when there can be none."""
    try:
        entry = codec.encode_command(command)
    except codec.CodecError as error:
        raise NotCommitted(f"the command cannot be stored: {error}") from error
    if len(entry) > codec.COMMAND_BYTES_MAX:
        raise NotCommitted(
            f"the command has {len(entry)} bytes, more than the {codec.COMMAND_BYTES_MAX} of an entry"
        )
    return entry


class Proposal:
    """One caller's wait.

    Attributes:
        submissions: How often the entry was handed over.
        submissions_refused: How many of those certainly never reached a log.
    """

    def __init__(self, entry: bytes) -> None:
        self.entry = entry
        self.outcome: Outcome | None = None
        self.submissions = 0
        self.submissions_refused = 0
        self._stirred = asyncio.Event()

    def unanswered(self, why: str) -> NotCommitted | OutcomeUnknown:
        """Return what is known without an outcome; `why` is half a sentence."""
        if self.submissions == self.submissions_refused:
            return NotCommitted(f"{why}, and no leader took the command; try again")
        return OutcomeUnknown(f"{why}; send the command again with the same request id")

    def stir(self) -> None:
        """Make the caller look around."""
        self._stirred.set()

    async def stirred(self) -> None:
        """Wait for the next `stir` that nobody has seen yet."""
        await self._stirred.wait()
        self._stirred.clear()

    async def stirred_within(self, seconds: float) -> bool:
        """Wait like `stirred`; False after `seconds` of silence."""
        try:
            async with asyncio.timeout(seconds):
                await self.stirred()
        except TimeoutError:
            return False
        return True


class Proposals:
    """All of them; one entry may be waited for more than once."""

    def __init__(self) -> None:
        self._open: dict[bytes, list[Proposal]] = {}

    def __contains__(self, entry: object) -> bool:
        """Say whether anybody waits for `entry`; from any thread."""
        return entry in self._open

    @contextmanager
    def open(self, entry: bytes) -> Iterator[Proposal]:
        """Wait for `entry` inside the block."""
        proposal = Proposal(entry)
        self._open.setdefault(entry, []).append(proposal)
        try:
            yield proposal
        finally:
            waiting = self._open[entry]
            waiting.remove(proposal)
            if not waiting:
                del self._open[entry]

    def settle(self, entry: bytes, outcome: Outcome) -> None:
        """Give everybody who waits for `entry` its outcome."""
        for proposal in self._open.get(entry, ()):
            proposal.outcome = outcome
            proposal.stir()

    def stir(self) -> None:
        """Make all callers look around: the leader, or our own standing, has changed."""
        for waiting in self._open.values():
            for proposal in waiting:
                proposal.stir()
