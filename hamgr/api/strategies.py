"""Rollout strategies in bodies: what people write, into what the log keeps.

1. A strategy may be the name of one of the bundle's, and say some of it otherwise.
2. A moment is RFC 3339, or Unix seconds; what names no time to come is refused before the log.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainValidator

from hamgr.api.problems import Fault
from hamgr.bundles.strategy import TEXT_CHARS_MAX, Amount, Duration, StrategyModel, Text, unkept
from statemachine.copying import replace
from statemachine.rollout import Rollout

__all__ = ["Duration", "NamedOrWritten", "RolloutBody", "doubles", "unkept_times"]

START_LATE_S_MAX = 300.0
"""A request may be sent again until then; what is to start earlier than that is a mistake."""
START_AHEAD_S_MAX = 366 * 86_400.0


def _moment(value: object) -> float:
    if isinstance(value, str) and len(value) <= TEXT_CHARS_MAX:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is not None and moment.tzinfo is not None:
            return max(moment.timestamp(), 0.0)
        if moment is not None:
            raise ValueError("does not say in which time zone; add Z, or an offset like +01:00")
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1e11:
        return float(value)
    raise ValueError("must be a moment like '2026-11-30T22:00:00+01:00', or Unix seconds")


def _by_name(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


class RolloutBody(StrategyModel):
    """The `rollout` of a job; a text is the name of one of the bundle's."""

    name: Text = ""
    below_minimum: bool = False
    start_at: Annotated[float, PlainValidator(_moment)] = 0.0

    def rollout(self) -> Rollout:
        return replace(
            super().rollout(), name=self.name, below_minimum=self.below_minimum, start_at=self.start_at
        )

    def said(self) -> tuple[str, ...]:
        """Return what the body says itself, whatever the strategy says that it names."""
        return tuple(sorted(self.model_fields_set - {"name"}))


NamedOrWritten = Annotated[RolloutBody, BeforeValidator(_by_name)]


def doubles(body: RolloutBody, *, max_parallel: int, max_failed: int | None) -> list[Fault]:
    """Return which counts the job says beside its rollout, and otherwise."""
    beside: list[tuple[str, int | None, Amount | None]] = [
        ("max_parallel", max_parallel or None, body.max_parallel),
        ("max_failed", max_failed, body.max_failed),
    ]
    return [
        Fault(pointer=f"/rollout/{name}", message=f"is {_said(inside)}, and /{name} is {outside}")
        for name, outside, inside in beside
        if outside is not None and inside is not None and inside.nodes != outside
    ]


def _said(amount: Amount) -> str:
    return f"{amount.percent}%" if amount.nodes is None else str(amount.nodes)


def unkept_times(rollout: Rollout, now: float) -> list[Fault]:
    """Return which windows and moments of a strategy name no time to come. It can take a second: it counts.

    Args:
        now: Unix seconds.
    """
    faults = list(_unkept_start(rollout.start_at, now))
    for place, window in enumerate(rollout.windows):
        if wrong := unkept(window, max(now, rollout.start_at)):
            faults.append(Fault(pointer=f"/rollout/windows/{place}", message=wrong))
    return faults


def _unkept_start(start_at: float, now: float) -> Sequence[Fault]:
    if start_at and not now - START_LATE_S_MAX <= start_at <= now + START_AHEAD_S_MAX:
        when = "has passed" if start_at < now else "is more than a year away"
        return [Fault(pointer="/rollout/start_at", message=f"{_told(start_at)} {when}")]
    return []


def _told(at: float) -> Any:
    return datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds") if at < 1e10 else f"{at:g}"
