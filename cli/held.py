"""What to tell of a job's rollout: which wave, what holds it, how much of its budget is used."""

from collections.abc import Mapping
from typing import Any

from cli.texts import clean, clock

Job = Mapping[str, Any]


def state_of(job: Job) -> str:
    """Return a job's state, or what holds it while it runs."""
    kinds = [str(hold["kind"]) for hold in job["holds"]]
    return "+".join(kinds) if kinds else str(job["state"])


def wave_of(job: Job) -> str:
    """Return how far a job is, as `2/7`; empty where there is one wave only, or none."""
    waves = job["waves"]
    if waves["total"] < 2:
        return ""
    return f"{waves['total'] if waves['open'] is None else waves['open'] + 1}/{waves['total']}"


def wave_line(job: Job) -> str:
    """Return which wave is at work, and whether it is a canary; empty as with `wave_of`."""
    number = wave_of(job)
    if not number or job["waves"]["open"] is None:
        return ""
    first = job["tasks"][: job["rollout"]["canary"]]
    canary = any(task["wave"] == job["waves"]["open"] for task in first)
    return f"wave {number.replace('/', ' of ')}{' (canary)' if canary else ''}"


def budget_line(job: Job) -> str:
    """Return how much of the budget of failures is used; empty while nothing failed, or without one."""
    failed = job["progress"]["failed"] - job["forgiven"]
    if job["max_failed"] is None or failed <= 0:
        return ""
    return f"{failed} of {job['max_failed']} allowed failures"


def hold_lines(job: Job) -> list[str]:
    """Return what holds a job, each followed by the way out."""
    lines: list[str] = []
    for hold in job["holds"]:
        until = f" (until {clock(hold['until'])})" if (hold["until"] or 0) > hold["since"] else ""
        who = f" by {clean(hold['actor'])}" if hold["kind"] == "paused" and hold["actor"] else ""
        lines.append(f"held: {clean(hold['kind'])}{who}: {clean(hold['reason'])}{until}")
        if hold["way_out"]:
            lines.append(f"  try: {clean(hold['way_out'])}")
    return lines


def block_lines(job: Job) -> list[str]:
    """Return which other jobs are waited for."""
    return [
        f"{block['nodes']} node{'s wait' if block['nodes'] > 1 else ' waits'} for {clean(block['job'])}, "
        f"which is at work there"
        for block in job["blocked_by"]
    ]
