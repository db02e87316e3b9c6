"""Seeded worlds: no crash, split, lost answer or reboot breaks a law, and each of them really came about.

`HAMGR_SIMULATION_SEEDS` (default 120) says how many; `python -m tests.simulation` runs as many as you like.
"""

import os
import subprocess
import sys

import pytest

from tests.simulation.figures import CRASH_BOUNDARIES, FAULTS, RARE, Figures
from tests.simulation.network import Weather
from tests.simulation.world import SETTLED_S_MAX, Verdict, judge

pytestmark = pytest.mark.timeout(600)  # dozens of worlds, on a machine that may be busy
SEEDS = int(os.environ.get("HAMGR_SIMULATION_SEEDS", "120"))
CHUNK = 30
"""Seeds of one test: enough that every kind of fault comes about."""


def passed(verdict: Verdict) -> Figures:
    if verdict.broken:
        pytest.fail(str(verdict), pytrace=False)
    return verdict.figures


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_world_breaks_a_law(first: int) -> None:
    figures = Figures()
    for seed in range(first, min(first + CHUNK, SEEDS)):
        figures.add(passed(judge(seed)))
    print(figures.line())
    assert figures.settled_s_max < SETTLED_S_MAX
    if figures.runs == CHUNK:
        idle = [fault for fault in FAULTS if not figures.counts[fault]]
        assert not idle, f"never came about in {CHUNK} worlds: {idle}"
        ends = [f"job {state}" for state in ("succeeded", "partly", "failed", "cancelled")]
        assert all(figures.counts[end] for end in ends), figures.line()


def test_orders_that_come_minutes_late_break_no_law() -> None:
    figures = Figures()
    for seed in range(2_000_000, 2_000_010):
        figures.add(passed(judge(seed, weather=Weather(late=0.3))))
    assert figures.counts["ex-leader refused by a node"] > figures.runs, figures.line()


def test_what_a_given_up_step_left_running_is_never_joined_by_another() -> None:
    figures = Figures()
    for seed in range(37, 137):
        figures.add(passed(judge(seed)))
        if figures.counts[RARE]:
            return
    pytest.fail(f"no node was busy: {figures.line()}")


@pytest.mark.parametrize("action", ["crash", "isolate"])
@pytest.mark.parametrize("boundary", CRASH_BOUNDARIES)
def test_a_leader_struck_at_a_boundary_again_and_again_loses_nothing(boundary: str, action: str) -> None:
    struck = f"{'crash' if action == 'crash' else 'isolated'} at {boundary}"
    figures = Figures()
    for seed in range(1_000_000, 1_000_020):
        figures.add(passed(judge(seed, only_boundary=(boundary, action))))
        if figures.counts[struck] >= 2:
            return
    pytest.fail(f"{struck}: only {figures.counts[struck]} times in {figures.runs} worlds")


def test_the_same_seed_is_the_same_story() -> None:
    assert judge(11).trace == judge(11).trace
    assert judge(11).trace != judge(12).trace


def test_a_story_does_not_depend_on_the_hash_seed() -> None:
    stories = {
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--start", "20", "--seeds", "3", "--traces"],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("0", "1", "4711")
    }
    assert len(stories) == 1
    assert len(stories.pop().splitlines()) == 3
