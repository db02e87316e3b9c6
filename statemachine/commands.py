"""The entries of the replicated log: a closed set, whose wire names are for ever.

1. A command carries everything that apply may use: `at` and `actor` are read by the proposer.
2. `request_id` makes a command safe to send twice: a repeat is answered with the first answer.
3. A field may be added with a default that means what older replicas did; none is ever renamed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from statemachine.audit_commands import RecordExec
from statemachine.cluster_commands import ClusterCommand
from statemachine.discovery_commands import ReportSighting, ReportSilence, SubmitDiscovery
from statemachine.manifest import Manifest
from statemachine.model import Endpoint, Result
from statemachine.presence_commands import ReportPresences
from statemachine.rollout import Rollout
from statemachine.schedule_commands import (
    DropSchedule,
    FireSchedule,
    PauseSchedule,
    PutSchedule,
    ReplanSchedule,
)
from statemachine.stamped import Stamped
from statemachine.upgrade_commands import UpgradeCommand
from statemachine.words import Digest, JobId, JobKind, NodeName, Offline, Presence, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCluster(Stamped):
    """Give the cluster its id; the first one wins, for ever."""

    cluster: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier(Stamped):
    """Change nothing; whoever sees it applied has seen everything that was acknowledged before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddNode(Stamped):
    """Make a node known before anybody has seen it."""

    node: NodeName
    endpoint: Endpoint
    labels: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, Value] = field(default_factory=dict)
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditNode(Stamped):
    """Change what an operator says of a node; `None` leaves a part as it is.

    Attributes:
        labels: Merged; an empty value removes the label.
        variables: Merged deeply; null removes a key.
        if_index: Refuse when the node has changed since this log index.
    """

    node: NodeName
    labels: Mapping[str, str] | None = None
    variables: Mapping[str, Value] | None = None
    role: str | None = None
    if_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMaintenance(Stamped):
    """Cordon a node, or lift the cordon (`on` false)."""

    node: NodeName
    on: bool
    reason: str = ""
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireMaintenance(Stamped):
    """Lift a cordon whose time is over; refused while it is not."""

    node: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetNode(Stamped):
    """Strike a node from the inventory, leaving a tombstone.

    Attributes:
        force: Forget it although it is in service or in work; role requirements still hold.
    """

    node: NodeName
    force: bool = False
    if_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPresence(Stamped):
    """Say whether a node can be reached, and why we think so."""

    node: NodeName
    presence: Presence
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayDebt(Stamped):
    """Have a node that is back do what it owes, by a job of its own."""

    node: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgiveDebt(Stamped):
    """Let a node serve although it owes something."""

    node: NodeName
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetGlobals(Stamped):
    """Merge into the global variables; null removes a key."""

    variables: Mapping[str, Value]
    if_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitBundle(Stamped):
    """Make a stored bundle the current one. Its bytes are on a quorum of replicas already."""

    digest: Digest
    manifest: Manifest
    size_bytes: int
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitJob(Stamped):
    """Ask for an operation on nodes that are known.

    Attributes:
        nodes: Names, exactly; or
        selector: `targets` grammar (`*` means every node).
        bundle: Empty means the current one.
        max_failed: None takes the kind's own rule: an upgrade stops at the first failure, the others go on.
        priority: -100 to 100; of two jobs that want a node, the higher one is first.
        plan: The hash of a recorded plan, which says everything but the reason.
        offline: What becomes of nodes that cannot be reached; only an upgrade can be owed.
        task_deadline_s: After so long no task begins or repeats a step, but for its undo; 0 for never.
        said: What of the strategy is the request's own, and no named one's (`rollouts.named`).
    """

    kind: JobKind
    nodes: tuple[NodeName, ...] = ()
    selector: str = ""
    role: str = ""
    bundle: Digest = Digest("")
    variables: Mapping[str, Value] = field(default_factory=dict)
    max_parallel: int = 0
    max_failed: int | None = None
    reason: str = ""
    rollout: Rollout = field(default_factory=Rollout)
    priority: int = 0
    plan: str = ""
    task_deadline_s: float = 0.0
    offline: Offline = Offline.AUTO
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceNode(Stamped):
    """Put the machine `new` in the place of `old`: its name, role, labels, variables and history."""

    old: NodeName
    new: NodeName
    reason: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPlan(Stamped):
    """Keep a job that was looked at, so that it can be approved and begun exactly as it was seen.

    Attributes:
        plan: The hash of all the rest (`approvals.plan_hash`).
        request: Names every node and the bundle; its stamps mean nothing.
        nodes: What it rests on (`approvals.preconditions`).
    """

    plan: str
    request: SubmitJob
    nodes: Mapping[NodeName, bytes]
    needs_approval: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovePlan(Stamped):
    """Say, as somebody else than its author, that a plan may be begun."""

    plan: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelJob(Stamped):
    """Ask a job to end: what has not begun is cancelled now, what runs is killed and undone."""

    job: JobId
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseJob(Stamped):
    """Begin no further task of a job; what runs on nodes goes on to its end."""

    job: JobId
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeJob(Stamped):
    """Let a paused, failing or stalled job go on; the failures so far count no more."""

    job: JobId
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteJob(Stamped):
    """Say that the canaries of a job are good, so that the other nodes follow."""

    job: JobId
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryJob(Stamped):
    """Do an ended job again, on the nodes where it failed.

    Attributes:
        unfinished: Also on those that were skipped or cancelled.
    """

    job: JobId
    unfinished: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertJob(Stamped):
    """Bring the nodes where an ended job succeeded back to what they were, the newest first."""

    job: JobId
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewJob(Stamped):
    """Look at the clock for a job: its windows, its start, its progress deadline.

    Attributes:
        open_until: When the window that is open at `at` closes; None when none is open.
        opens_at: When the next one opens; None when none ever does, or the job has none.
        quiet_s: For how long this leader has seen no task end, by a clock that never jumps; None when it does
            not tell, and then the stamps in the job decide.
    """

    job: JobId
    open_until: float | None = None
    opens_at: float | None = None
    quiet_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimTask(Stamped):
    """Take a task over: raises the node's epoch and answers it (DESIGN 5.1)."""

    job: JobId
    node: NodeName
    claimant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartAttempt(Stamped):
    """Announce that the owed attempt may be launched from now on."""

    job: JobId
    node: NodeName
    epoch: int
    step: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishAttempt(Stamped):
    """Record how the owed attempt ended; the only way in which a task moves on."""

    job: JobId
    node: NodeName
    epoch: int
    result: Result


Command: TypeAlias = (
    FoundCluster
    | Barrier
    | AddNode
    | EditNode
    | SetMaintenance
    | ExpireMaintenance
    | ForgetNode
    | ReportPresence
    | PayDebt
    | ForgiveDebt
    | SetGlobals
    | CommitBundle
    | SubmitJob
    | ReplaceNode
    | RecordPlan
    | ApprovePlan
    | PutSchedule
    | DropSchedule
    | PauseSchedule
    | FireSchedule
    | ReplanSchedule
    | SubmitDiscovery
    | CancelJob
    | PauseJob
    | ResumeJob
    | PromoteJob
    | RetryJob
    | RevertJob
    | ReviewJob
    | ReportSighting
    | ReportSilence
    | ClaimTask
    | StartAttempt
    | FinishAttempt
    | RecordExec
    | ReportPresences
    | ClusterCommand
    | UpgradeCommand
)
