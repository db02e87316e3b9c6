"""What a fence is: whoever can switch a replica's machine off, and knows that it is off."""

from dataclasses import dataclass
from typing import Protocol

from hamgr.raft.protocol.membership import Member


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a command.

    Attributes:
        ok: Of `off`: the machine is verified to be off, or was so since the command began. Of `status`: it
            is on, and could be switched off. False says nothing: it may be on or off.
        words: For people.
    """

    ok: bool
    words: str


class Fence(Protocol):
    """Neither raises, and each ends within a bounded time."""

    async def off(self, member: Member) -> Verdict:
        """Switch the machine of `member` off."""

    async def status(self, member: Member) -> Verdict:
        """Look whether it could be switched off, and change nothing."""
