"""What a reader of a job's log asks for, and what comes back."""

import re
from dataclasses import dataclass

from statemachine.words import NodeName

_CURSOR = re.compile(r"([a-z0-9][a-z0-9_.-]{0,63}):([0-9]{1,9}):([0-9]{1,12})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a reader of one node's log has come: all attempts before this one, and this one to `offset`."""

    step: str
    attempt: int
    offset: int

    def __str__(self) -> str:
        return f"{self.step}:{self.attempt}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "Cursor | None":
        """Return the cursor that `text` is, None where it is none."""
        found = _CURSOR.fullmatch(text)
        return cls(step=found[1], attempt=int(found[2]), offset=int(found[3])) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """Which part of a job's log.

    Attributes:
        node: None for all nodes.
        step: A step's key, or its last words (`app.install`, `install`); empty for all.
        attempt: None for all.
        follow: Go on until the job has ended.
        since: Where the reader of one node's log was; it does not matter which replica it read from.
    """

    node: NodeName | None = None
    step: str = ""
    attempt: int | None = None
    follow: bool = False
    since: Cursor | None = None

    def wants(self, step: str, attempt: int) -> bool:
        named = not self.step or step == self.step or step.endswith(f".{self.step}")
        return named and self.attempt in (None, attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A piece of one attempt's output.

    Attributes:
        offset: Where `data` begins in the attempt's output, in bytes.
        skipped_bytes: How much is left out here, instead of `data`.
        note: What is to be known of this piece; empty when it is what it seems.
    """

    node: NodeName
    step: str
    attempt: int
    offset: int
    data: bytes = b""
    skipped_bytes: int = 0
    note: str = ""

    @property
    def end(self) -> Cursor:
        """Where the next piece begins."""
        offset = self.offset + len(self.data) + self.skipped_bytes
        return Cursor(step=self.step, attempt=self.attempt, offset=offset)
