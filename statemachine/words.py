"""The vocabulary that every replica agrees on: identifiers, their limits, and the three axes of a node.

The axes are never mixed: `Status` is where a node is in its lifecycle, `Presence` is whether we can reach
it, `Health` is whether it matched its role when we last looked.
"""

import re
from enum import StrEnum
from typing import NewType, TypeAlias

NodeName = NewType("NodeName", str)
JobId = NewType("JobId", str)
RequestId = NewType("RequestId", str)
Digest = NewType("Digest", str)
"""`sha256:` and 64 hexadecimal digits; the name of a bundle."""

Scalar: TypeAlias = str | int | float | bool | None
Value: TypeAlias = "Scalar | list[Value] | dict[str, Value]"
"""What a variable may hold: exactly what JSON may, so that msgpack, YAML and HTTP carry it unchanged."""

NODE_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?\Z")
"""A host name in lower case (RFC 1123 section 2.1), 63 characters at most."""
SHORT_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,22}[a-z0-9])?\Z")
"""Roles, components and steps; short, because they are parts of file names on the nodes."""
LABEL_KEY = re.compile(r"[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?\Z")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?\Z")
EXEC_CHARS_MAX = 1_024
"""What the log keeps of a command that somebody ran on nodes."""
REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


class Status(StrEnum):
    """Where a node is in its lifecycle; the moves between them are in `lifecycle.TRANSITIONS`."""

    NEW = "new"
    DISCOVERED = "discovered"
    COMMISSIONING = "commissioning"
    COMMISSIONED = "commissioned"
    UPGRADING = "upgrading"
    UPGRADED = "upgraded"
    DECOMMISSIONING = "decommissioning"
    DECOMMISSIONED = "decommissioned"
    QUARANTINED = "quarantined"


class Presence(StrEnum):
    REACHABLE = "reachable"
    SUSPECT = "suspect"
    UNREACHABLE = "unreachable"


class Health(StrEnum):
    VERIFIED = "verified"
    DRIFTED = "drifted"
    UNKNOWN = "unknown"


class JobKind(StrEnum):
    DISCOVER = "discover"
    COMMISSION = "commission"
    UPGRADE = "upgrade"
    VERIFY = "verify"
    DECOMMISSION = "decommission"
    DRAIN = "drain"
    """Take a node's load away and cordon it; its status stays."""
    UNDRAIN = "undrain"
    """Give a node its load back, prove that it works, and lift the cordon."""
    REPLACE = "replace"
    """Put one machine in the place of another one."""


class Offline(StrEnum):
    """What a job does with nodes that cannot be reached."""

    AUTO = "auto"
    """Refuse those that are named; those that were only selected owe an upgrade."""
    REFUSE = "refuse"
    OWE = "owe"
    """Go on without them; what they missed is done when they are back, before they count again."""


class JobState(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTLY = "partly"
    """Ended; some nodes succeeded and some did not."""
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    """Never touched the node: the job stopped first, or what the role requires was not there."""


TASK_ENDED = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED})


class Phase(StrEnum):
    """The parts of a task, in the order in which they can happen."""

    WORK = "work"
    """The verb that was asked for."""
    VERIFY = "verify"
    """The proof on the node that the work did what it should."""
    SOAK = "soak"
    """The same proof again, after the node has been at work for a while (`Rollout.min_healthy_s`)."""
    UNDO = "undo"
    """After a failure: the cleanup verbs (commission) or the last good bundle (upgrade)."""
    REVERIFY = "reverify"
    """The proof that the undo of an upgrade did what it should."""


class Verb(StrEnum):
    COMMISSION = "commission"
    UPGRADE = "upgrade"
    VERIFY = "verify"
    CLEANUP = "cleanup"
    DRAIN = "drain"
    """Take the node's load away, so that it can be worked on."""
    UNDRAIN = "undrain"


class StepClass(StrEnum):
    """What may be done with an attempt whose end nobody saw (DESIGN 5.5)."""

    IDEMPOTENT = "idempotent"
    """Launch the next attempt."""
    CHECKABLE = "checkable"
    """Run the step's check first: exit status 0 says that the work is done."""
    ONCE = "once"
    """Stop and ask the operator."""


class Ending(StrEnum):
    """How an attempt ended, as far as anybody knows."""

    EXITED = "exited"
    LOST = "lost"
    """The node rebooted, or the supervisor was killed; the work stopped somewhere in the middle."""
    TIMED_OUT = "timed-out"
    """It ran longer than the step allows and was killed on the node."""
    CANCELLED = "cancelled"
    """Killed on the node because an operator cancelled the job."""
    UNREACHABLE = "unreachable"
    """No session could be opened until the deadline; if it was launched, its outcome is unknown."""
    NOT_RUN = "not-run"
    """It could not be prepared, for example because a template names a variable that the node has not."""
    REFUSED = "refused"
    """The node answered and said no: a host key or a login that does not match, or a newer epoch."""
