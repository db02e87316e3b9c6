"""What is kept of an output: all of it, or its head and its tail with the size of what lies between.

Offsets are those of the whole output, so a reader's cursor stays right whichever copy it is read from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

KEPT_BYTES_MAX = 4 * 1024 * 1024
"""The most that any replica keeps of one output; `logs.attempt_bytes_max` may be less."""


class Attempt(NamedTuple):
    """Whose output it is.

    Attributes:
        job: The job's name on nodes (`hamgr.jobs.worker.node_job`), which no other cluster uses.
    """

    job: str
    node: str
    step: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of an output: bytes, or the length of a gap."""

    offset: int
    data: bytes = b""
    skipped_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept of one attempt's output.

    Attributes:
        size: Length of the whole output, in bytes.
        note: Why there is nothing: the node had lost it. Empty where there is something, or all of nothing.
    """

    attempt: Attempt
    head: bytes
    tail: bytes = b""
    size: int
    note: str = ""

    @property
    def gap_bytes(self) -> int:
        return self.size - len(self.head) - len(self.tail)

    def parts(self, offset: int, *, bytes_max: int) -> Iterator[Part]:
        """Yield what there is from `offset` on, in order, in pieces of at most `bytes_max`."""
        tail_at = self.size - len(self.tail)
        for begin, data in ((0, self.head), (tail_at, self.tail)):
            if begin == tail_at and self.gap_bytes and offset < tail_at:
                since = max(offset, len(self.head))
                yield Part(offset=since, skipped_bytes=tail_at - since)
            for at in range(max(offset - begin, 0), len(data), bytes_max):
                yield Part(offset=begin + at, data=data[at : at + bytes_max])


def shorten(attempt: Attempt, output: bytes, *, bytes_max: int) -> Kept:
    """Return what is kept of a whole output."""
    if len(output) <= bytes_max:
        return Kept(attempt=attempt, head=output, size=len(output))
    head = bytes_max // 2
    return Kept(
        attempt=attempt, head=output[:head], tail=output[len(output) - (bytes_max - head) :], size=len(output)
    )
