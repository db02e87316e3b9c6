"""The replicated state: frozen values, shared between versions, never changed in place.

1. `apply` makes a new `State` from an old one; whoever holds a `State` may keep reading it for ever.
2. Mappings are plain dicts that nobody mutates after they are placed in a state. Their order is the
   order of the log, which is the same on every replica whatever the hash seed.
3. Everything that grows has a bound in this file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from statemachine.electorate import Electorate
from statemachine.joining import JoinToken
from statemachine.manifest import Bundle
from statemachine.planned import Plan
from statemachine.rollout import Hold, Rollout
from statemachine.schedule import Schedule
from statemachine.upgrading import Upgrade
from statemachine.words import (
    Digest,
    Ending,
    Health,
    JobId,
    JobKind,
    JobState,
    NodeName,
    Phase,
    Presence,
    RequestId,
    Scalar,
    Status,
    TaskState,
    Value,
)

NODES_MAX = 10_000
HISTORY_MAX = 32
"""Transitions kept per node, the newest."""
EVENTS_MAX = 2_048
"""Events kept for watchers that reconnect; older cursors are told to list again."""
JOBS_ENDED_MAX = 200
"""Ended jobs kept, the newest."""
JOBS_RUNNING_MAX = 64
BUNDLES_MAX = 64
TOMBSTONES_MAX = 1_024
LABELS_MAX = 64
"""Labels of a node."""
TASKS_MAX = NODES_MAX
RESULTS_MAX = 64
"""Attempt results kept per task, the newest."""
OUTPUT_TAIL_BYTES_MAX = 1_024
"""What the log keeps of an attempt's output; all of it stays on the node."""
ERROR_CHARS_MAX = 512
EPOCH_MAX = 2**48
"""The highest epoch that is believed of a node; leaves room for every claim there will ever be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a node answers SSH."""

    address: str
    port: int = 22
    user: str = "root"

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One line of a node's history: what changed, who asked, why, by which job, when, at which index."""

    index: int
    at: float
    status: Status
    trigger: str
    actor: str
    job: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """A cordon: no job touches the node until it is lifted or `until` has passed.

    Attributes:
        drain: The drain that set it; only an undrain lifts it then, since the node has no load.
    """

    reason: str
    owner: str
    since: float
    until: float | None = None
    drain: JobId = JobId("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """An upgrade that a node missed because nobody could reach it.

    Attributes:
        job: The job that went on without it.
        bundle: What it was to bring the node to.
        variables: The request's layer of variables.
        rollout: What of the strategy holds for one node: windows, health, minimums.
        error: Why paying it failed; it is not tried again then until an operator says so.
        paid_by: The newest job that pays it.
        tries: How often a payment found the node silent again.
        not_before: No payment earlier than this, in Unix seconds.
    """

    job: JobId
    bundle: Digest
    since: float
    variables: Mapping[str, Value] = field(default_factory=dict)
    rollout: Rollout = field(default_factory=Rollout)
    priority: int = 0
    actor: str = ""
    error: str = ""
    paid_by: JobId = JobId("")
    tries: int = 0
    not_before: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A managed machine.

    Attributes:
        presence_at: Since when its presence is what it is; 0 where that was not recorded.
        host_key: Pinned public key in OpenSSH form; empty before it was discovered.
        machine_id: machine-id(5); empty before it was discovered.
        epoch: The fence: the highest number under which anybody was sent to the node.
        job: The lock: the job whose task is at work on the node; empty when it is free.
        bundle: What the node was last configured with, whole or in part.
        last_good: The bundle that last passed verify; a failed upgrade returns to it.
        last_request: The request's layer of variables, as it was then.
        returns_to: The status that a failed upgrade gives back.
        variables: The node's own layer of variables.
        error: Why the last operation failed; empty after one that did not.
        past: The newest history of the machines that had this name before.
        debt: What it missed while it could not be reached; others do not lean on it until that is done.
        index: Log index of the last change (the API's ETag).
    """

    name: NodeName
    status: Status
    endpoint: Endpoint
    presence: Presence = Presence.REACHABLE
    presence_reason: str = ""
    health: Health = Health.UNKNOWN
    host_key: str = ""
    machine_id: str = ""
    role: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Scalar] = field(default_factory=dict)
    variables: Mapping[str, Value] = field(default_factory=dict)
    epoch: int = 0
    job: JobId = JobId("")
    bundle: Digest = Digest("")
    last_good: Digest = Digest("")
    returns_to: Status | None = None
    error: str = ""
    maintenance: Maintenance | None = None
    debt: Debt | None = None
    seen_at: float = 0.0
    history: tuple[Transition, ...] = ()
    past: tuple[Transition, ...] = ()
    index: int = 0
    last_request: Mapping[str, Value] = field(default_factory=dict)
    presence_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one attempt ended.

    Attributes:
        exit_code: None unless `ending` is `EXITED`.
        changed: What the step said of itself; None when it said nothing.
        output_tail: At most `OUTPUT_TAIL_BYTES_MAX` of its output.
    """

    step: str
    attempt: int
    ending: Ending
    exit_code: int | None = None
    changed: bool | None = None
    started_at: float = 0.0
    ended_at: float = 0.0
    error: str = ""
    output_tail: str = ""

    @property
    def passed(self) -> bool:
        return self.ending is Ending.EXITED and self.exit_code == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A job's part on one node.

    Attributes:
        wave: Which wave of the job it belongs to, from 0.
        epoch: The claim under which it is being done; 0 before the first.
        claimant: The replica and term that hold the claim, for people; the number is the fence.
        cursor: The next step within `phase`.
        attempt: The attempt of that step that is owed, from 1.
        launched_at: When the owed attempt was announced; None when nobody may have launched it.
        touched: An attempt was announced at least once, so the node may have been changed.
        checking: The owed attempt is a lost `checkable` one, whose check comes first.
        not_before: No launch earlier than this (back-off after a failed attempt).
        cancel: An operator asked for the task to end.
        failure: Why the work failed, kept while the undo runs.
        bundle: What this task configures with, where that is not the job's bundle.
        bundle_before: The node's last good bundle when the task began; a revert goes back to it.
        proving_since: When the first proof of this task began; the healthy deadline counts from it.
        notified: Handlers that are to run at the end of their component's verb, as `component/handler`.
        kind: What is done on this node, where that is not what the job is.
        variables: The request's layer of variables on this node, where that is not the job's.
        variables_before: The one with which `bundle_before` was proven; a revert brings it back too.
    """

    node: NodeName
    wave: int = 0
    state: TaskState = TaskState.QUEUED
    phase: Phase = Phase.WORK
    cursor: int = 0
    attempt: int = 1
    epoch: int = 0
    claimant: str = ""
    launched_at: float | None = None
    touched: bool = False
    checking: bool = False
    not_before: float = 0.0
    cancel: bool = False
    failure: str = ""
    started_at: float = 0.0
    ended_at: float = 0.0
    error: str = ""
    results: tuple[Result, ...] = ()
    bundle: Digest = Digest("")
    bundle_before: Digest = Digest("")
    proving_since: float = 0.0
    notified: tuple[str, ...] = ()
    kind: JobKind | None = None
    variables: Mapping[str, Value] | None = None
    variables_before: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One operation on a set of nodes.

    Attributes:
        bundle: What it configures with; empty for discover.
        role: The role that a commission gives; empty when each node has its own.
        variables: The request's layer of variables.
        max_parallel: Size of a wave.
        max_failed: The budget: one failure more and no further task begins; None for no limit.
        rollout: The strategy.
        priority: Of two jobs that want a node, the higher one is first; then the older one.
        holds: Why no further task begins now, one of a kind; empty when nothing holds the job.
        forgiven: Failures that an operator has seen and resumed after; they count no more.
        promoted: The canaries were promoted.
        failing: Why the job stopped early; empty when it did not.
        progressed_at: When a task ended last, by a leader's clock, or a leader first looked after the job was
            submitted or let go on; 0 while none has looked.
        window_until: When the open window closes, or the next one opens; 0 before anybody has looked.
        retry_of: The job whose failed nodes this one tries again.
        revert_of: The job that this one undoes.
        plan: The hash of the plan that it was begun from; empty when there was none.
        replaces: The node in whose place the job puts the one of its first task.
        owes: Nodes that cannot be reached when their turn comes are skipped, and owe what they missed.
        task_deadline_s: How long a task may take until its undo begins, from its first claim; 0 for no limit.
        tasks: By node, in the order of the waves. A discover job's are keyed by `address:port`.
        endpoints: What a discover job probes, by task.
        sweep: A discover job that was given a range: silence is not a failure.
        readmit: A discover job that accepts machines that were forgotten.
        labels: What a discover job gives to the nodes that it finds.
    """

    id: JobId
    kind: JobKind
    state: JobState = JobState.RUNNING
    actor: str
    reason: str = ""
    bundle: Digest = Digest("")
    role: str = ""
    variables: Mapping[str, Value] = field(default_factory=dict)
    max_parallel: int = 1
    max_failed: int | None = None
    tasks: Mapping[NodeName, Task] = field(default_factory=dict)
    endpoints: Mapping[NodeName, Endpoint] = field(default_factory=dict)
    sweep: bool = False
    readmit: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    submitted_at: float = 0.0
    ended_at: float = 0.0
    error: str = ""
    index: int = 0
    rollout: Rollout = field(default_factory=Rollout)
    priority: int = 0
    holds: tuple[Hold, ...] = ()
    forgiven: int = 0
    promoted: bool = False
    failing: str = ""
    progressed_at: float = 0.0
    window_until: float = 0.0
    retry_of: JobId = JobId("")
    revert_of: JobId = JobId("")
    plan: str = ""
    task_deadline_s: float = 0.0
    owes: bool = False
    replaces: NodeName = NodeName("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What watchers are told; `(index, part)` orders all events of a cluster and is the cursor."""

    index: int
    part: int
    at: float
    kind: str
    subject: str
    message: str
    actor: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """A forgotten machine, kept so that it cannot come back unasked."""

    name: NodeName
    machine_id: str
    host_key: str
    at: float
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The answer to a request id, and what was asked under it."""

    request_id: RequestId
    fingerprint: bytes
    outcome: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything that replicas agree on after the first `index` commands of the log.

    Attributes:
        requests: Answers by request id, in generations of bounded size, the newest first (see
            `statemachine.requests`).
        job_count: How many jobs there ever were; names the next one.
        globals_index: Log index of the last change of `globals`.
        event_base: Events with an index up to this one may be gone.
        plans: By hash, the oldest first.
        schedules: By name.
        join_tokens: By id, the oldest first.
        electorate: What operators wish of the replicas.
        generation: Higher whenever the cluster began again from a backup or from survivors of a lost
            majority; no two beginnings have the same (`cluster.generations`).
        upgrade: The last one of hamgr itself; None before the first.
    """

    index: int = 0
    cluster: str = ""
    nodes: Mapping[NodeName, Node] = field(default_factory=dict)
    jobs: Mapping[JobId, Job] = field(default_factory=dict)
    running: tuple[JobId, ...] = ()
    bundles: Mapping[Digest, Bundle] = field(default_factory=dict)
    current_bundle: Digest = Digest("")
    globals: Mapping[str, Value] = field(default_factory=dict)
    globals_index: int = 0
    tombstones: tuple[Tombstone, ...] = ()
    events: tuple[Event, ...] = ()
    event_base: int = 0
    requests: tuple[Mapping[RequestId, Remembered], ...] = ()
    job_count: int = 0
    plans: Mapping[str, Plan] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    join_tokens: Mapping[str, JoinToken] = field(default_factory=dict)
    electorate: Electorate = field(default_factory=Electorate)
    generation: int = 0
    upgrade: Upgrade | None = None
