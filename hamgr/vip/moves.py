"""What became of the address on this replica last, as its holder notes it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The address was taken or let go here.

    Attributes:
        number: Rises by one with each.
        at: Seconds of the monotonic clock.
        held: Taken; else let go.
        why: In words.
    """

    number: int
    at: float
    held: bool
    why: str
