"""Whether the replicas' clocks agree; jobs' times, windows and schedules are the leader's."""

from collections.abc import Mapping
from statistics import median
from typing import Any

DIFFER_S = 5.0
"""Less is what busy hosts and a slow answer explain; time servers keep hosts within milliseconds."""


def ahead_s(
    told: Mapping[str, Mapping[str, Any] | None], *, asked_at: float, answered_at: float
) -> dict[str, float]:
    """Return how far each replica's clock is ahead of this one's, as far as waiting does not explain it.

    Args:
        told: What each replica said of itself; one that said no time is left out.
        asked_at, answered_at: Unix seconds here, before the first question and after the last answer.
    """
    found = {}
    for name, part in told.items():
        theirs = (part or {}).get("clock")
        if isinstance(theirs, int | float):
            found[name] = max(theirs - answered_at, 0.0) + min(theirs - asked_at, 0.0)
    return found


def warnings(ahead: Mapping[str, float]) -> list[dict[str, str]]:
    """Return whose clock is not that of most replicas."""
    usual = median(ahead.values()) if ahead else 0.0
    odd = {
        name: seconds - usual for name, seconds in sorted(ahead.items()) if abs(seconds - usual) > DIFFER_S
    }
    if len(ahead) == 2 and max(ahead.values()) - min(ahead.values()) > DIFFER_S:
        first, second = sorted(ahead)
        said = f"the clocks of {first} and {second} are {abs(ahead[first] - ahead[second]):.0f} s apart"
    elif odd:
        said = "; ".join(f"{name}'s clock is {seconds:+.0f} s from most" for name, seconds in odd.items())
    else:
        return []
    hint = "`timedatectl` on each host; windows, schedules and times of jobs go by the leader's clock"
    return [{"code": "clocks-differ", "message": said, "hint": hint}]
