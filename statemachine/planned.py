"""What the log keeps of a plan: what it would run, what that rests on, who wrote it and who approved it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from statemachine.words import JobId, JobKind, NodeName

PLANS_MAX = 64
"""Plans kept, the newest."""
PLANS_BYTES_MAX = 8 * 1024 * 1024
"""What they may weigh together; the newest one is kept however large it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A job that was looked at before it is begun. Its hash is its name.

    Attributes:
        request: The `SubmitJob` that it is to become, as bytes; it names every node and the bundle.
        nodes: What the plan rests on, by node (`approvals.preconditions`).
        needs_approval: Somebody else than the author has to approve it first.
        used_by: The job that it became; a plan is used once.
    """

    request: bytes
    kind: JobKind
    nodes: Mapping[NodeName, bytes] = field(default_factory=dict)
    needs_approval: bool = False
    author: str = ""
    at: float = 0.0
    approved_by: str = ""
    approved_at: float = 0.0
    used_by: JobId = JobId("")
    used_at: float = 0.0
    index: int = 0

    @property
    def weight(self) -> int:
        """About how many bytes it takes in a snapshot."""
        return len(self.request) + sum(len(name) + len(seen) + 4 for name, seen in self.nodes.items()) + 256
