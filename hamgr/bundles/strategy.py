"""How a strategy is written, in a bundle and in a request: shares, times with units, windows.

1. A number may be a share (`25%`), a time may have a unit (`5m`).
2. What can be read only with a calendar is judged before the log: replicas have none to agree on.
"""

import math
import re
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from hamgr.jobs.windows import BadWindow, opening
from statemachine.model import TASKS_MAX
from statemachine.rollout import (
    DEADLINE_S_MAX,
    WINDOW_S_MAX,
    WINDOW_S_MIN,
    WINDOWS_MAX,
    NamedRollout,
    OnFailure,
    Promotion,
    Rollout,
    Window,
)

UNITS_S = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
TEXT_CHARS_MAX = 255
_DURATION = re.compile(r"(\d{1,9})([smhd])\Z")
_SHARE = re.compile(r"(\d{1,9}) ?%\Z")


class Amount(NamedTuple):
    """How many: a count, or a share in percent; None is the one that was not given."""

    nodes: int | None = None
    percent: int | None = None


def _amount(value: object, *, low: int) -> Amount:
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= TASKS_MAX:
        return Amount(nodes=value)
    found = _SHARE.match(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"must be a number of nodes from {low} to {TASKS_MAX}, or a share like '25%'")
    if int(found[1]) < low:
        raise ValueError("is a share of nothing; give at least 1%")
    return Amount(percent=int(found[1]))


def _at_once(value: object) -> Amount:
    return _amount(value, low=1)


def _to_lose(value: object) -> Amount:
    return _amount(value, low=0)


def _seconds(value: object) -> float:
    found = _DURATION.match(value) if isinstance(value, str) else None
    number = value
    if found is not None:
        number = float(found[1]) * UNITS_S[found[2]]
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise ValueError("must be a number of seconds, or a time like '90s', '5m', '2h' or '1d'")
    if not 0 <= number <= DEADLINE_S_MAX:
        raise ValueError(f"must be between 0 and {DEADLINE_S_MAX / 86_400:g} days")
    return float(number)


Text = Annotated[str, Field(max_length=TEXT_CHARS_MAX)]
Duration = Annotated[float, PlainValidator(_seconds)]


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class WindowModel(_Written):
    """A change window: it opens at each moment of `cron`, as in crontab(5), in `zone`."""

    cron: Text
    duration: Duration
    zone: Text = "UTC"

    def window(self) -> Window:
        return Window(cron=" ".join(self.cron.split()), duration_s=self.duration, zone=self.zone)


class StrategyModel(_Written):
    """A strategy; what is left out is as for a job that says nothing."""

    canary: Annotated[int, Field(ge=0, le=TASKS_MAX)] = 0
    promotion: Annotated[Promotion, Field(strict=False)] = Promotion.AUTOMATIC
    max_parallel: Annotated[Amount, PlainValidator(_at_once)] | None = None
    domain: Text = ""
    min_healthy: Duration = 0.0
    healthy_deadline: Duration = 0.0
    progress_deadline: Duration = 0.0
    max_failed: Annotated[Amount, PlainValidator(_to_lose)] | None = None
    on_failure: Annotated[OnFailure, Field(strict=False)] = OnFailure.STOP
    windows: Annotated[list[WindowModel], Field(max_length=WINDOWS_MAX)] = []

    def rollout(self) -> Rollout:
        """Return the strategy; counts of nodes are the job's own (`max_parallel`, `max_failed`)."""
        return Rollout(
            canary=self.canary,
            promotion=self.promotion,
            max_parallel_percent=(self.max_parallel and self.max_parallel.percent) or 0,
            domain=self.domain,
            min_healthy_s=self.min_healthy,
            healthy_deadline_s=self.healthy_deadline,
            progress_deadline_s=self.progress_deadline,
            max_failed_percent=self.max_failed.percent if self.max_failed else None,
            on_failure=self.on_failure,
            windows=tuple(window.window() for window in self.windows),
        )

    def named(self) -> NamedRollout:
        """Return the strategy with its counts of nodes, as a bundle keeps it."""
        return NamedRollout(
            rollout=self.rollout(),
            max_parallel=(self.max_parallel and self.max_parallel.nodes) or 0,
            max_failed=self.max_failed.nodes if self.max_failed else None,
        )


def unkept(window: Window, now: float) -> str:
    """Return why a window is of no use; empty when it opens some day after `now`, in Unix seconds."""
    if not WINDOW_S_MIN <= window.duration_s <= WINDOW_S_MAX:
        return (
            f"lasts {window.duration_s:g} s; it must be between {WINDOW_S_MIN:g} s and "
            f"{WINDOW_S_MAX / 86_400:g} days"
        )
    try:
        found = opening((window,), now)
    except BadWindow as error:
        return str(error)
    if found.open_until is None and found.opens_at is None:
        return f"{window.cron!r} never opens"
    return ""
