"""How a job walks its nodes: canaries, failure domains, health gates, budget, change windows.

1. A strategy that contradicts itself is refused whole, with every contradiction named (`problems`).
2. A job that is held begins no further task; what runs on nodes goes on, and the hold says why.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from statemachine.words import LABEL_KEY

WINDOWS_MAX = 16
WINDOW_S_MIN = 60.0
WINDOW_S_MAX = 7 * 86_400.0
DEADLINE_S_MAX = 30 * 86_400.0
PRIORITY_MAX = 100
REASON_CHARS_MAX = 512
CRON = re.compile(r"\S{1,64}( \S{1,64}){4}\Z")
"""Five fields, as in crontab(5); whether they name a time is for the API to know."""
ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+/-]{0,63}\Z")


class Promotion(StrEnum):
    """What lets a rollout go on after its canaries."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


class OnFailure(StrEnum):
    """What a job does when more nodes failed than it may lose."""

    STOP = "stop"
    """What has not begun is skipped."""
    PAUSE = "pause"
    """Nothing further begins until an operator resumes, cancels or reverts."""
    REVERT = "revert"
    """Stop, then bring what succeeded back to what it was, the newest first."""


class HoldKind(StrEnum):
    PAUSED = "paused"
    """An operator paused the job."""
    CANARY = "canary"
    """The canaries are done and wait for their promotion."""
    FAILURES = "failures"
    """More nodes failed than the job may lose."""
    STALLED = "stalled"
    """No task ended for longer than the progress deadline."""
    WINDOW = "window"
    """No change window is open."""
    SCHEDULED = "scheduled"
    """The job is to begin later."""
    REBORN = "reborn"
    """The cluster was restored or recovered while the job was under way: nothing of it goes on, not even on
    nodes where it had begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why a live job begins no further task.

    Attributes:
        until: When the leader looks again, in Unix seconds; None when only an operator ends it.
    """

    kind: HoldKind
    since: float
    reason: str
    actor: str = ""
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time in which a job may begin tasks: from each moment of `cron` in `zone`, for `duration_s`."""

    cron: str
    duration_s: float
    zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A strategy; the defaults are those of a job that says nothing.

    Attributes:
        canary: Size of the first wave; 0 for none. One failure in it is one too many.
        max_parallel_percent: Size of a wave in percent of the nodes, rounded down, at least one; 0 leaves
            it to `Job.max_parallel`.
        domain: A label; a wave has nodes of one value of it only.
        min_healthy_s: For how long a node must go on being healthy, before it counts as done.
        healthy_deadline_s: How long after its work a node may take to be so; 0 gives it one chance.
        progress_deadline_s: A job in which no task ends for so long has failed; 0 for never.
        max_failed_percent: The budget in percent of all nodes, rounded down; None leaves it to
            `Job.max_failed`.
        below_minimum: Nodes may be taken out of work although a role would have less than it requires.
        start_at: Unix seconds; begin nothing earlier.
        name: The strategy of the bundle on which it rests; empty where there is none.
    """

    canary: int = 0
    promotion: Promotion = Promotion.AUTOMATIC
    max_parallel_percent: int = 0
    domain: str = ""
    min_healthy_s: float = 0.0
    healthy_deadline_s: float = 0.0
    progress_deadline_s: float = 0.0
    max_failed_percent: int | None = None
    on_failure: OnFailure = OnFailure.STOP
    below_minimum: bool = False
    windows: tuple[Window, ...] = ()
    start_at: float = 0.0
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRollout:
    """A strategy that a bundle has a name for.

    Attributes:
        max_parallel: Size of a wave in nodes; 0 for nothing said.
        max_failed: The budget in nodes; None for nothing said.
    """

    rollout: Rollout = field(default_factory=Rollout)
    max_parallel: int = 0
    max_failed: int | None = None


def problems(rollout: Rollout, *, nodes: int, max_parallel: int, max_failed: int | None) -> list[str]:
    """Return what is wrong with a strategy for a job on so many nodes, one sentence each.

    Args:
        max_parallel: What the job itself says; 0 for nothing.
        max_failed: Likewise; None for nothing.
    """
    return [
        *_numbers(rollout, nodes=nodes),
        *_doubles(rollout, max_parallel=max_parallel, max_failed=max_failed),
        *_health(rollout),
        *_windows(rollout),
    ]


def _numbers(rollout: Rollout, *, nodes: int) -> Iterator[str]:
    if not 0 <= rollout.canary <= nodes:
        yield f"{rollout.canary} canaries are asked for, of {nodes} nodes"
    if rollout.promotion is Promotion.MANUAL and not rollout.canary:
        yield "promotion is manual, and there is no canary that could be promoted"
    if not 0 <= rollout.max_parallel_percent <= 100:
        yield f"max_parallel is {rollout.max_parallel_percent} %; it must be between 1 and 100"
    if rollout.max_failed_percent is not None and not 0 <= rollout.max_failed_percent <= 100:
        yield f"max_failed is {rollout.max_failed_percent} %; it must be between 0 and 100"
    if rollout.domain and not LABEL_KEY.match(rollout.domain):
        yield f"{rollout.domain!r} cannot be a label, so it is no failure domain"
    if rollout.start_at < 0:
        yield f"start_at is {rollout.start_at:g}, before 1970"


def _doubles(rollout: Rollout, *, max_parallel: int, max_failed: int | None) -> Iterator[str]:
    if rollout.max_parallel_percent and max_parallel:
        yield f"max_parallel is given as {max_parallel} and as {rollout.max_parallel_percent} %"
    if rollout.max_failed_percent is not None and max_failed is not None:
        yield f"max_failed is given as {max_failed} and as {rollout.max_failed_percent} %"


def _health(rollout: Rollout) -> Iterator[str]:
    for name in ("min_healthy_s", "healthy_deadline_s", "progress_deadline_s"):
        value = getattr(rollout, name)
        if not 0 <= value <= DEADLINE_S_MAX:
            yield f"{name} is {value:g}; it must be between 0 and {DEADLINE_S_MAX:g}"
    if rollout.healthy_deadline_s and rollout.healthy_deadline_s <= rollout.min_healthy_s:
        yield (
            f"a node must be healthy for {rollout.min_healthy_s:g} s and has only "
            f"{rollout.healthy_deadline_s:g} s to become so (healthy_deadline)"
        )
    if rollout.progress_deadline_s and rollout.progress_deadline_s <= max(
        rollout.min_healthy_s, rollout.healthy_deadline_s
    ):
        yield f"progress_deadline, {rollout.progress_deadline_s:g} s, is over before a node can be healthy"


def _windows(rollout: Rollout) -> Iterator[str]:
    if len(rollout.windows) > WINDOWS_MAX:
        yield f"{len(rollout.windows)} windows are more than {WINDOWS_MAX}"
    for window in rollout.windows:
        if not CRON.match(window.cron):
            yield f"{window.cron!r} is not five fields of cron, like '0 22 * * sat'"
        if not ZONE.match(window.zone):
            yield f"{window.zone!r} is no time zone, like Europe/Madrid"
        if not WINDOW_S_MIN <= window.duration_s <= WINDOW_S_MAX:
            yield (
                f"a window lasts {window.duration_s:g} s; it must be between {WINDOW_S_MIN:g} and "
                f"{WINDOW_S_MAX:g}"
            )
