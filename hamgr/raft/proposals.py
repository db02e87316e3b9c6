"""The proposals that wait for an outcome, by the bytes of their entry; event loop only, but for `in`."""

import asyncio
from collections.abc import Iterator

from hamgr.raft.port import NotCommitted, OutcomeUnknown
from statemachine import codec
from statemachine.commands import Command
from statemachine.outcomes import Outcome

PROPOSALS_MAX = 10_000
"""More than this wait for an outcome at once only when something is wrong."""


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
        outcome: What the caller awaits.
        submissions: How often the entry was handed over.
        submissions_refused: How many of those certainly never reached a log.
        taken_in_term: A leader of this term is known to have it in its log.
        due_at, pause_s: When to hand it over again, and how long to wait after that; on the loop's clock.
    """

    __slots__ = (
        "due_at",
        "entry",
        "outcome",
        "pause_s",
        "submissions",
        "submissions_refused",
        "taken_in_term",
    )

    def __init__(self, entry: bytes) -> None:
        self.entry = entry
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.submissions = 0
        self.submissions_refused = 0
        self.taken_in_term = -1
        self.due_at = 0.0
        self.pause_s = 0.0

    def unanswered(self, why: str) -> NotCommitted | OutcomeUnknown:
        """Return what is known without an outcome; `why` is half a sentence."""
        if self.submissions == self.submissions_refused:
            return NotCommitted(f"{why}, and no leader took the command; try again")
        return OutcomeUnknown(f"{why}; send the command again with the same request id")

    def give_up(self, why: str) -> None:
        """End the caller's wait without an outcome."""
        if not self.outcome.done():
            self.outcome.set_exception(self.unanswered(why))


class Proposals:
    """All of them; one entry may be waited for more than once."""

    def __init__(self) -> None:
        self._open: dict[bytes, list[Proposal]] = {}
        self._count = 0

    def __contains__(self, entry: object) -> bool:
        """Say whether anybody waits for `entry`; from any thread."""
        return entry in self._open

    def __iter__(self) -> Iterator[Proposal]:
        """Return those that are open now, the oldest entry first."""
        return iter([proposal for waiting in self._open.values() for proposal in waiting])

    def __len__(self) -> int:
        return self._count

    def open(self, entry: bytes) -> Proposal:
        """Wait for `entry`, until `close`.

        Raises:
            NotCommitted: Too many wait.
        """
        if self._count >= PROPOSALS_MAX:
            raise NotCommitted(f"{PROPOSALS_MAX} commands wait for an outcome already; try again later")
        proposal = Proposal(entry)
        self._open.setdefault(entry, []).append(proposal)
        self._count += 1
        return proposal

    def close(self, proposal: Proposal) -> None:
        """Forget a proposal; to be called once for each."""
        waiting = self._open[proposal.entry]
        waiting.remove(proposal)
        self._count -= 1
        if not waiting:
            del self._open[proposal.entry]
        if not proposal.outcome.cancel() and not proposal.outcome.cancelled():
            proposal.outcome.exception()  # noted, so that nobody complains that an error went unseen

    def settle(self, entry: bytes, outcome: Outcome) -> None:
        """Give everybody who waits for `entry` its outcome."""
        for proposal in self._open.get(entry, ()):
            if not proposal.outcome.done():
                proposal.outcome.set_result(outcome)

    def give_up(self, why: str) -> None:
        """End all waits; see `Proposal.give_up`."""
        for proposal in self:
            proposal.give_up(why)
