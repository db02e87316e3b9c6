"""The entries of the log that say which nodes can be reached, many at once."""

from dataclasses import dataclass

from statemachine.stamped import Stamped
from statemachine.words import NodeName, Presence


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceChange:
    """One node's.

    Attributes:
        was: What the log said when this was judged; where it says something else now, nothing happens.
    """

    node: NodeName
    was: Presence
    presence: Presence
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPresences(Stamped):
    """Say of several nodes whether they can be reached; what was judged at once is one entry."""

    changes: tuple[PresenceChange, ...]
