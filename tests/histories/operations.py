"""What clients recorded: operations on registers, each with the interval in which it took effect.

1. An interval begins before the request was sent and ends after the answer was read, on one clock.
2. `NEVER` is only said when every attempt provably failed before any log had the command; a time-out, a lost
   connection or `outcome-unknown` is `UNKNOWN`, and may take effect at any time after its start, or never.
3. All written values of a history are distinct, so what was read names the write that it came from.
"""

import enum
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any


class Kind(enum.StrEnum):
    READ = "read"
    WRITE = "write"
    SWAP = "swap"
    """Compare and swap: write `value` if the register has the value `expected`."""


class Outcome(enum.StrEnum):
    DONE = "done"
    """It took effect, once, within its interval."""
    DIFFERED = "differed"
    """A swap that changed nothing: within its interval the register had another value than `expected`."""
    NEVER = "never"
    """It did not take effect and never will."""
    UNKNOWN = "unknown"
    """It took effect once, at any time after its start, or never."""


ABSENT = "(no such register)"
"""What is read where a register should be that was made before the history began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of one client.

    Attributes:
        value: Written, or read; None is what a register has before the first write.
        start_ns, end_ns: On the monotonic clock of the one process that all clients run in.
        index: The log index that the answer gave to `value` (its ETag); None when there was none.
        seen_index: For reads: the log index of the state that was read; None when there was none.
        replica: Who answered, or was asked last.
        attempts: How often the same request was sent.
        note: For people: what the last answer was.
    """

    kind: Kind
    key: str
    start_ns: int
    end_ns: int
    outcome: Outcome
    value: str | None = None
    expected: str | None = None
    index: int | None = None
    seen_index: int | None = None
    client: str = ""
    replica: str = ""
    attempts: int = 1
    note: str = ""

    def __post_init__(self) -> None:
        if self.end_ns < self.start_ns:
            raise ValueError(f"{self.kind} of {self.key}: ends at {self.end_ns}, before {self.start_ns}")
        if self.outcome is Outcome.DIFFERED and self.kind is not Kind.SWAP:
            raise ValueError(f"{self.kind} of {self.key}: only a swap can have differed")

    def __str__(self) -> str:
        """Return one line for people; times are in milliseconds."""
        what = f"{self.expected} -> {self.value}" if self.kind is Kind.SWAP else str(self.value)
        found = {"index": self.index, "seen": self.seen_index, "note": self.note}
        rest = " ".join(f"{name}={value}" for name, value in found.items() if value not in (None, ""))
        span = f"{self.start_ns / 1e6:.1f}..{self.end_ns / 1e6:.1f}"
        return f"{span} {self.client}@{self.replica} {self.key} {self.kind} {what}: {self.outcome} {rest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleRead:
    """A read whose caller asked for what the replica had.

    Attributes:
        label: The answer's word for it (X-Hamgr-Consistency).
        age_s: How old the state may have been; None when the replica did not know.
    """

    key: str
    value: str | None
    start_ns: int
    end_ns: int
    index: int | None
    seen_index: int | None
    label: str
    age_s: float | None
    replica: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything that the clients of one run recorded.

    Attributes:
        made: The log index at which each register was made; it had no value then.
        surprises: Answers that no fault explains, such as an internal error.
    """

    made: dict[str, int]
    operations: list[Operation]
    stale: list[StaleRead]
    surprises: list[str]


def moved(history: History, begin_ns: int) -> History:
    """Return `history` with its times counted from `begin_ns`, which people can read."""

    def shift(times: Any) -> Any:
        return replace(times, start_ns=times.start_ns - begin_ns, end_ns=times.end_ns - begin_ns)

    return replace(
        history,
        operations=[shift(operation) for operation in history.operations],
        stale=[shift(read) for read in history.stale],
    )


def lines(history: History) -> Iterator[str]:
    """Return a history as JSON lines; `parsed` reads them."""
    yield json.dumps({"made": history.made})
    for operation in history.operations:
        yield json.dumps({"operation": asdict(operation)})
    for read in history.stale:
        yield json.dumps({"stale": asdict(read)})
    for surprise in history.surprises:
        yield json.dumps({"surprise": surprise})


def parsed(texts: Iterable[str]) -> History:
    """Return the history that `lines` wrote.

    Raises:
        ValueError: A line is none of `lines`.
    """
    history = History(made={}, operations=[], stale=[], surprises=[])
    for number, text in enumerate(texts, 1):
        try:
            ((what, content),) = json.loads(text).items()
            if what == "made":
                history.made.update(content)
            elif what == "operation":
                kind, outcome = Kind(content.pop("kind")), Outcome(content.pop("outcome"))
                history.operations.append(Operation(kind=kind, outcome=outcome, **content))
            elif what == "stale":
                history.stale.append(StaleRead(**content))
            else:
                history.surprises.append(str(content))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"line {number}: this is no line of a history: {error}") from error
    return history
