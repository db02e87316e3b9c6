"""Watching a job to its end: one line per change on a pipe, a live table on a terminal.

Watching is only looking: Ctrl-C detaches and the job goes on.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from cli.exits import OF_JOB, CliError, Exit
from cli.held import block_lines, budget_line, hold_lines, wave_line
from cli.output import clean, note, show, styled
from cli.settings import TRY_TIMEOUT_S

if TYPE_CHECKING:
    from cli.client import Client

POLL_S = 10.0
"""For how long a server may hold the answer until the job changes."""
PAUSE_S_PER_TASK = 0.001
PAUSE_S_MAX = 2.0
"""A large job changes all the time, and each look costs the server as much as it has tasks."""
ROWS_MAX = 15
TAIL_LINES_MAX = 20
FOLLOWERS_MAX = 20
"""Among so many newest jobs the one is looked for that came from this one."""
GLYPHS = {
    "succeeded": ("✓", "green"),
    "failed": ("✗", "red"),
    "cancelled": ("✗", "yellow"),
    "skipped": ("-", "yellow"),
    "running": ("…", "cyan"),
    "queued": (" ", "white"),
    "partly": ("!", "yellow"),
}

Job = dict[str, Any]


def watch(client: "Client", job: str, *, quiet: bool = False, limit_s: float | None = None) -> Job:
    """Return the job when it has ended, or after `limit_s`; progress goes to standard error.

    Args:
        quiet: Tell only what holds it.

    Raises:
        CliError: Ctrl-C (the job goes on), or no server answers any more.
    """
    try:
        with _screen(quiet=quiet) as draw:
            last: Job = {}
            for last in changes(client, job, limit_s=limit_s):
                draw(last)
            return last
    except (KeyboardInterrupt, click.Abort) as stop:
        raise CliError(
            Exit.DETACHED, f"detached; {job} goes on", hint=f"to come back: hamgr job watch {job}"
        ) from stop


def changes(client: "Client", job: str, *, limit_s: float | None = None) -> Iterator[Job]:
    """Yield the job each time that it changed, or after `POLL_S`; the last time when it has ended.

    With `limit_s` it comes a last time after so long, ended or not.
    """
    deadline = None if limit_s is None else time.monotonic() + limit_s
    since = 0
    while True:
        wait_s = POLL_S if deadline is None else max(0.0, min(POLL_S, deadline - time.monotonic()))
        query = {"results": "0", "since": since, "wait_s": wait_s if since else None}
        found: Job = client.call(
            "GET", f"/v1/jobs/{job}", query=query, try_timeout_s=POLL_S + TRY_TIMEOUT_S
        ).data
        yield found
        if found["ended"] or (deadline is not None and time.monotonic() >= deadline):
            return
        since = found["index"]
        pause_s = min(found["progress"]["total"] * PAUSE_S_PER_TASK, PAUSE_S_MAX)
        time.sleep(pause_s if deadline is None else max(0.0, min(pause_s, deadline - time.monotonic())))


class _Holds:
    """What holds a job, told each time that it becomes another."""

    def __init__(self) -> None:
        self._last: list[str] = []

    def __call__(self, job: Job) -> None:
        lines = hold_lines(job)
        if lines != self._last:
            self._last = lines
            for line in lines or ([] if job["ended"] else ["it goes on"]):
                note(f"  {line}")


class _Lines:
    """One line per change of a task, of the wave, and of what is waited for."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, str]] = {}
        self._holds = _Holds()
        self._last: dict[str, str] = {}
        self._index = 0

    def __call__(self, job: Job) -> None:
        if not self._index:
            note(f"{job['id']}  {job['kind']} of {job['progress']['total']}")
        self._tell_once("wave", wave_line(job))
        for task in job["tasks"]:
            now = (task["state"], task["step"])
            before = self._seen.get(task["node"], ("queued", ""))
            self._seen[task["node"]] = now
            if now != before:
                note(_line(task))
        self._tell_once("budget", budget_line(job))
        self._holds(job)
        self._tell_once("blocked", "; ".join(block_lines(job)))
        self._tell_once("idle", self._idle(job))
        self._index = job["index"]

    def _tell_once(self, what: str, text: str) -> None:
        if text != self._last.get(what, ""):
            self._last[what] = text
            if text:
                note(f"  {text}")

    def _idle(self, job: Job) -> str:
        """Return where to ask, when a job did nothing for a while and does not say itself why."""
        moves = job["ended"] or job["progress"]["running"] or job["index"] != self._index
        if moves or job["holds"] or job["blocked_by"] or job["kind"] == "discover":
            return ""
        return f"nothing is at work now; to see why: hamgr why {job['id']}"


def _line(task: dict[str, Any]) -> str:
    step = f"  {task['step']}" if task["step"] and task["state"] == "running" else ""
    error = f"  {task['error']}" if task["error"] else ""
    state = _mark(task["state"], on_terminal=sys.stderr.isatty())
    return f"  {state}  {clean(task['node'])}{clean(step)}{clean(error)}"


def _mark(state: str, *, on_terminal: bool) -> str:
    """Return glyph and word of a state; never the colour alone."""
    glyph, colour = GLYPHS.get(state, ("?", "white"))
    return styled(f"{glyph} {state}", fg=colour) if on_terminal else f"{glyph} {state}"


@contextmanager
def _screen(*, quiet: bool) -> Iterator[Any]:
    if quiet:
        yield _Holds()
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        from cli.pictures import live  # noqa: PLC0415 - rich costs 45 ms, which only a terminal is worth

        with live(GLYPHS) as draw:
            yield draw


def conclude(client: "Client", job: str, fmt: str) -> Exit:
    """Print how a job ended, and what failed; return the exit code."""
    whole: Job = client.get(f"/v1/jobs/{job}")
    progress = whole["progress"]
    seconds = (whole["ended_at"] or whole["submitted_at"]) - whole["submitted_at"]
    mark = _mark(whole["state"], on_terminal=sys.stdout.isatty())
    good = f"{progress['succeeded']} of {progress['total']}"
    line = f"{mark}  {whole['id']} {whole['kind']}: {good} in {seconds:.1f} s"
    show(fmt, whole, names=[whole["id"]], text=line)
    if fmt in ("table", "wide"):
        _explain(whole)
        _follow_up(client, whole)
    return OF_JOB.get(whole["state"], Exit.FAILED)


def _explain(job: Job) -> None:
    """Say what failed: where, why, the end of its output, and the commands to go on with."""
    bad = [task for task in job["tasks"] if task["state"] in ("failed", "skipped")]
    for task in bad[:ROWS_MAX]:
        note(f"  {clean(task['node'])}: {clean(task['error'] or task['failure'] or task['state'])}")
        wrong = [result for result in task["results"] if not result["passed"]]
        for text in wrong[0]["output_tail"].splitlines()[-TAIL_LINES_MAX:] if wrong else []:
            note(f"      {clean(text)}")
    if len(bad) > ROWS_MAX:
        note(f"  and {len(bad) - ROWS_MAX} more")
    failed = [task["node"] for task in bad if task["state"] == "failed"]
    if failed and job["kind"] != "discover":
        note(f"  try: hamgr job log {job['id']} --node {clean(failed[0])}")
        note(f"       hamgr node show {clean(failed[0])}")


def _follow_up(client: "Client", job: Job) -> None:
    """Say why the job stopped early, and which job brings back what it changed."""
    if not job["failing"] or not job["ended"]:
        return
    note(f"  it stopped early: {clean(job['failing'])}")
    if job["rollout"]["on_failure"] == "revert":
        for other in client.get("/v1/jobs", limit=FOLLOWERS_MAX)["items"]:
            if other["revert_of"] == job["id"]:
                note(f"  {other['id']} brings back what it changed; to see it: hamgr job watch {other['id']}")
