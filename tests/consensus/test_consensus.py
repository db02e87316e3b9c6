"""Seeded clusters: no crash, power failure, partition or change of members breaks a law, and all happen.

`HAMGR_CONSENSUS_SEEDS` (default 200) says how many; `python -m tests.consensus` runs as many as you like.
"""

import os
import subprocess
import sys

import pytest

from tests.consensus.figures import Figures
from tests.consensus.world import judge

SEEDS = int(os.environ.get("HAMGR_CONSENSUS_SEEDS", "200"))
CHUNK = 20
OFTEN = (
    "process killed",
    "power lost",
    "death in the middle of a write",
    "frozen",
    "cluster split",
    "one way blocked",
    "link stalled",
    "leader elected",
    "snapshot taken",
    "write acknowledged",
    "read",
)
"""What comes about in every few worlds; the rest is counted by the command over hundreds of them."""


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_cluster_breaks_a_law(first: int) -> None:
    figures = Figures()
    for seed in range(first, min(first + CHUNK, SEEDS)):
        verdict = judge(seed)
        if verdict.law:
            pytest.fail(str(verdict), pytrace=False)
        figures.add(verdict.figures)
    print(figures.line())
    if figures.runs == CHUNK:
        idle = [fault for fault in OFTEN if not figures.counts[fault]]
        assert not idle, f"never came about in {CHUNK} worlds: {idle}"


def test_a_story_depends_on_its_seed_alone_and_not_on_the_hash_seed() -> None:
    stories = {
        subprocess.run(
            [sys.executable, "-m", "tests.consensus", "--from", "20", "--seeds", "3", "--traces"],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("0", "4711")
    }
    assert len(stories) == 1
    lines = stories.pop().splitlines()
    assert len(set(lines)) == 3


def test_a_broken_law_is_told_with_its_seed_and_what_happened_last(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.consensus.laws import Laws  # noqa: PLC0415 - what is broken here is the law itself

    monkeypatch.setattr(
        Laws, "applied", lambda laws, name, *_, **__: laws.break_("nothing applies", "so", name)
    )
    told = str(judge(3))
    assert told.startswith("seed 3, step ")
    assert "nothing applies: so" in told
    assert "leads in term" in told
    assert "--from 3 --seeds 1" in told
    assert len(told.splitlines()) < 60
