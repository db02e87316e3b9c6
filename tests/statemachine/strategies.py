"""Strategies that people might ask for: sensible ones of every kind, and ones that contradict themselves."""

from dataclasses import replace
from random import Random
from typing import Any

from statemachine.rollout import OnFailure, Promotion, Rollout, Window

WINDOW_S = 120.0
NIGHTLY = Window(cron="*/10 * * * *", duration_s=WINDOW_S)
"""Open for the first two minutes of every ten: often enough for a story of an hour."""


def sensible(rng: Random, *, nodes: int, at: float, domain: str = "rack") -> tuple[Rollout, dict[str, Any]]:
    """Return a strategy for so many nodes, and the fields of `SubmitJob` that go with it."""
    canary = rng.choice((0, 0, 1, min(2, nodes)))
    min_healthy_s = rng.choice((0.0, 0.0, 5.0, 30.0))
    healthy_deadline_s = rng.choice((0.0, 0.0, min_healthy_s + 40.0))
    percent, budget_percent = rng.choice((0, 0, 34, 50, 100)), rng.choice((None, None, 0, 34, 100))
    rollout = Rollout(
        canary=canary,
        promotion=rng.choice(list(Promotion)) if canary else Promotion.AUTOMATIC,
        max_parallel_percent=percent,
        domain=rng.choice(("", "", domain)),
        min_healthy_s=min_healthy_s,
        healthy_deadline_s=healthy_deadline_s,
        progress_deadline_s=rng.choice((0.0, 0.0, 300.0)),
        max_failed_percent=budget_percent,
        on_failure=rng.choice(list(OnFailure)),
        below_minimum=rng.random() < 0.2,
        windows=(NIGHTLY,) if rng.random() < 0.15 else (),
        start_at=at + rng.choice((5.0, 60.0)) if rng.random() < 0.15 else 0.0,
    )
    return rollout, {
        "max_parallel": 0 if percent else rng.choice((0, 1, 2, 3)),
        "max_failed": None if budget_percent is not None else rng.choice((None, 0, 1, 2)),
        "priority": rng.choice((0, 0, 0, -5, 7)),
    }


def strange(rng: Random, rollout: Rollout) -> Rollout:
    """Return `rollout` with one thing in it that nobody should ask for."""
    wrong: dict[str, Any] = rng.choice(
        (
            {"canary": rng.choice((-1, 99))},
            {"max_parallel_percent": rng.choice((-1, 101))},
            {"max_failed_percent": rng.choice((-1, 101))},
            {"domain": "no label!"},
            {"min_healthy_s": rng.choice((-1.0, float("nan"), float("inf")))},
            {"healthy_deadline_s": rollout.min_healthy_s / 2 or -1.0},
            {"progress_deadline_s": -1.0},
            {"start_at": -1.0},
            {"windows": (replace(NIGHTLY, cron="soon"),)},
            {"windows": (NIGHTLY,) * 17},
        )
    )
    return replace(rollout, **wrong)
