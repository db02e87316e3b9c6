"""What a terminal shows of a job while it is watched, and how often that is asked for."""

from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from cli.pictures import progress
from cli.progress import GLYPHS, changes


def job(**more: Any) -> dict[str, Any]:
    """Return a job as the API shows it: one canary is done, one node runs, one failed."""
    counts = {"total": 4, "done": 2, "queued": 1, "running": 1, "succeeded": 1, "failed": 1}
    states = ("succeeded", "failed", "running", "queued")
    return {
        "id": "j-7",
        "kind": "upgrade",
        "state": "running",
        "ended": False,
        "progress": {**counts, "cancelled": 0, "skipped": 0},
        "waves": {"total": 3, "open": 1},
        "rollout": {"canary": 1},
        "max_failed": 2,
        "forgiven": 0,
        "holds": [],
        "blocked_by": [],
        "tasks": [
            {"node": f"n{i}", "wave": i, "state": state, "step": "work.00.app.install", "error": ""}
            for i, state in enumerate(states)
        ],
        **more,
    }


def drawn(shown: dict[str, Any]) -> list[str]:
    console = Console(width=100, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(progress(shown, GLYPHS))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_the_title_has_wave_counts_and_budget() -> None:
    lines = drawn(job())
    counts = "2/4  1 succeeded  1 failed  1 running  1 queued"
    assert lines[0] == f"j-7  upgrade  wave 2 of 3  {counts}  1 of 2 allowed failures"
    assert [line.split()[:3] for line in lines[1:3]] == [["✗", "failed", "n1"], ["…", "running", "n2"]]
    assert lines[-1] == "Ctrl-C detaches; the job goes on"


def test_a_canary_is_marked_and_what_holds_the_job_stands_below_with_the_way_out() -> None:
    hold = {
        "kind": "canary",
        "since": 1.0,
        "reason": "1 canaries are done [red]and wait",
        "actor": "",
        "until": None,
        "way_out": "hamgr job promote j-7",
    }
    blocks = [{"job": "j-3", "nodes": 2}]
    lines = drawn(job(waves={"total": 3, "open": 0}, holds=[hold], blocked_by=blocks))
    assert "wave 1 of 3 (canary)" in lines[0]
    assert lines[-4:] == [
        "held: canary: 1 canaries are done [red]and wait",
        "  try: hamgr job promote j-7",
        "2 nodes wait for j-3, which is at work there",
        "Ctrl-C detaches; the job goes on",
    ]


def test_what_nodes_say_is_drawn_without_control_characters() -> None:
    shown = job()
    shown["tasks"][1]["error"] = "\x1b[2Jgone\x07 [bold]x"
    assert "[2Jgone" in " ".join(drawn(shown))
    assert not {"\x1b", "\x07"} & set("".join(drawn(shown)))


class Asked:
    """A client whose job changes with every look, and ends with the last."""

    def __init__(self, tasks: int, looks: int) -> None:
        self.tasks, self.looks, self.index = tasks, looks, 0

    def call(self, _method: str, _path: str, **_more: Any) -> Any:
        self.index += 1
        found = job(index=self.index, ended=self.index == self.looks)
        found["progress"]["total"] = self.tasks
        return SimpleNamespace(data=found)


@pytest.mark.parametrize(("tasks", "rests_s"), [(3, 0.003), (1_000, 1.0), (10_000, 2.0)])
def test_a_large_job_is_looked_at_less_often(
    monkeypatch: pytest.MonkeyPatch, tasks: int, rests_s: float
) -> None:
    rests: list[float] = []
    monkeypatch.setattr("cli.progress.time.sleep", rests.append)
    seen = list(changes(Asked(tasks, looks=3), "j-7"))  # type: ignore[arg-type]  # all that is asked of it
    assert [one["index"] for one in seen] == [1, 2, 3]
    assert rests == [rests_s, rests_s]
