"""The entries of the log that are about schedules; `commands` has the rules for all of them."""

from dataclasses import dataclass

from statemachine.stamped import Stamped


@dataclass(frozen=True, slots=True, kw_only=True)
class PutSchedule(Stamped):
    """Ask for a job again and again.

    Attributes:
        request: A `SubmitJob` as bytes; its stamps mean nothing.
        next_at: The first moment of `cron` in `zone` after `at`, as the proposer worked it out.
    """

    name: str
    cron: str
    zone: str
    request: bytes
    next_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DropSchedule(Stamped):
    """Ask for the job no more; one that runs goes on."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseSchedule(Stamped):
    """Let a schedule make nothing for a while, or let it go on (`on` false).

    Attributes:
        next_at: When it goes on: the first moment after `at`.
    """

    name: str
    on: bool
    reason: str = ""
    next_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FireSchedule(Stamped):
    """A moment has come; of two leaders who say so, the second one is refused.

    Attributes:
        due: The moment that was waited for (`Schedule.next_at`).
        moment: The newest one that has passed: `due`, or a later one that nobody led the cluster through.
        next_at: The one to wait for now; 0 when none will ever come.
    """

    name: str
    due: float
    moment: float
    next_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplanSchedule(Stamped):
    """Wait for an earlier moment: the clock by which the one that is waited for was worked out was ahead.

    Attributes:
        due: The moment that is waited for (`Schedule.next_at`).
        next_at: The one to wait for instead, after `at` and before `due`.
    """

    name: str
    due: float
    next_at: float
