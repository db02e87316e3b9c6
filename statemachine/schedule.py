"""What the log keeps of a schedule: a job that is asked for again and again, at moments of a calendar."""

from dataclasses import dataclass

from statemachine.words import JobId, JobKind

SCHEDULES_MAX = 64
LATE_S_MAX = 3_600.0
"""A moment that nobody led the cluster through is made up for until then, once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A job request and when it is made; moments are worked out by whoever proposes, never by replicas.

    Attributes:
        request: The `SubmitJob` that it makes, as bytes, without stamps.
        next_at: The moment that is waited for, in Unix seconds; 0 when none will ever come.
        paused: Why it makes nothing for now; empty when it does.
        job: The newest job that it made.
        fired_at: The moment of that one.
        outcome: What became of the newest moment, in words.
    """

    name: str
    cron: str
    zone: str
    request: bytes
    kind: JobKind
    author: str
    since: float
    next_at: float
    paused: str = ""
    job: JobId = JobId("")
    fired_at: float = 0.0
    outcome: str = ""
    index: int = 0
