"""What apply answers: a command was accepted, or a rule was broken and nothing changed."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias


class Reason(StrEnum):
    """Which rule; the API maps each to one HTTP status and the CLI to one exit code."""

    NO_SUCH_NODE = "no-such-node"
    NO_SUCH_JOB = "no-such-job"
    NO_SUCH_ROLE = "no-such-role"
    NO_SUCH_BUNDLE = "no-such-bundle"
    NO_TARGETS = "no-targets"
    INVALID = "invalid"
    """A value that no state could accept; `message` names it."""
    WRONG_STATUS = "wrong-status"
    UNREACHABLE = "unreachable"
    BUSY = "busy"
    IN_MAINTENANCE = "in-maintenance"
    REQUIREMENT = "requirement"
    """In-service nodes would be left without what their role requires."""
    IDENTITY = "identity"
    """A machine id, host key or name belongs to another machine."""
    FORGOTTEN = "forgotten"
    STALE_CLAIM = "stale-claim"
    """The epoch, step or attempt is not the one that is owed now: somebody else went on."""
    CHANGED = "changed"
    """`If-Match`: the object is no longer at the index that the caller saw."""
    REQUEST_REUSED = "request-reused"
    """The request id was used before for something else."""
    LIMIT = "limit"
    NO_SUCH_PLAN = "no-such-plan"
    NO_SUCH_SCHEDULE = "no-such-schedule"
    NO_SUCH_TOKEN = "no-such-token"  # noqa: S105 - the name of a rule
    NOT_APPROVED = "not-approved"
    """The plan needs a second person's approval, and has none."""
    NOT_ALLOWED = "not-allowed"
    """Not by this person."""
    INTERNAL = "internal"
    """A bug: apply raised. The state is unchanged, and the entry's index is in the replicas' logs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The command took effect at `index`.

    Attributes:
        ref: The job or node that it made or concerns, where there is one.
        epoch: The claim's number, from `ClaimTask` only.
    """

    index: int
    ref: str = ""
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A rule was broken; the state is as it was.

    Attributes:
        message: One sentence that names the offenders.
        offenders: All of them.
        hint: The way out, where there is one.
    """

    reason: Reason
    message: str
    offenders: tuple[str, ...] = field(default=())
    hint: str = ""


Outcome: TypeAlias = Accepted | Rejected
