"""hamgr job: list, show, watch, log, cancel, wait."""

from typing import Any

import click

from cli import jobs
from cli.commands.node import path
from cli.exits import CliError, Exit
from cli.options import Leaf, client, confirm, job_id, settings, yes_option
from cli.output import Column, ago, describe, note, short, show
from cli.progress import changes, conclude, watch


@click.group()
def job() -> None:
    """Jobs: operations on nodes, which go on whoever watches."""


COLUMNS = (
    Column("JOB", lambda j: j["id"]),
    Column("KIND", lambda j: j["kind"]),
    Column("STATE", lambda j: j["state"]),
    Column("DONE", lambda j: f"{j['progress']['done']}/{j['progress']['total']}"),
    Column("FAILED", lambda j: j["progress"]["failed"] or ""),
    Column("BEGAN", lambda j: ago(j["submitted_at"])),
    Column("REASON", lambda j: j["reason"]),
    Column("ROLE", lambda j: j["role"], wide=True),
    Column("BUNDLE", lambda j: short(j["bundle"]), wide=True),
    Column("ACTOR", lambda j: j["actor"], wide=True),
    Column("ERROR", lambda j: j["error"], wide=True),
)


@job.command("ls", cls=Leaf, examples="hamgr job ls\nhamgr job ls --state running")
@click.option("--state", default="", help="running, succeeded, partly, failed or cancelled.")
@click.option("--kind", default="", help="discover, commission, upgrade, verify or decommission.")
@click.option("--limit", type=click.IntRange(1, 300), default=50, show_default=True)
def list_jobs(state: str, kind: str, limit: int) -> None:
    """List the jobs, the newest first."""
    items = client().get("/v1/jobs", state=state, kind=kind, limit=limit)["items"]
    show(settings().output, items, columns=COLUMNS, rows=items, names=[item["id"] for item in items])


@job.command("show", cls=Leaf, examples="hamgr job show j-4\nhamgr job show 4 -o json")
@job_id
def show_job(job: str) -> None:
    """Show everything about a job: tasks, attempts, results."""
    data = client().get(path("jobs", job))
    plain: dict[str, Any] = {key: value for key, value in data.items() if key != "tasks"}
    tasks = [
        {"node": t["node"], "state": t["state"], "wave": t["wave"], "step": t["step"], "error": t["error"]}
        for t in data["tasks"]
    ]
    show(settings().output, data, names=[data["id"]], text=describe({**plain, "tasks": tasks}))


@job.command("watch", cls=Leaf, examples="hamgr job watch j-4")
@job_id
def watch_job(job: str) -> None:
    """Watch a job to its end; Ctrl-C only stops watching."""
    asked = client()
    watch(asked, job)
    jobs.end(conclude(asked, job, settings().output))


@job.command("wait", cls=Leaf, examples="hamgr job wait j-4 --for 600 && echo done")
@job_id
@click.option("--for", "limit_s", type=click.FloatRange(0), help="Seconds; exit 7 when it is not over then.")
def wait_job(job: str, limit_s: float | None) -> None:
    """Wait for a job's end and say nothing; the exit code tells how it ended."""
    asked = client()
    if limit_s is None:
        watch(asked, job, quiet=True)
    elif not _ends_within(asked, job, limit_s):
        raise CliError(Exit.TIMEOUT, f"{job} has not ended within {limit_s:g} s; it goes on")
    jobs.end(conclude(asked, job, settings().output))


def _ends_within(asked: Any, job: str, limit_s: float) -> bool:
    import time  # noqa: PLC0415 - only here

    deadline = time.monotonic() + limit_s
    since = 0
    while True:
        left_s = max(0.0, min(10.0, deadline - time.monotonic()))
        query = {"results": "0", "since": since, "wait_s": left_s or None}
        found = asked.call("GET", path("jobs", job), query=query, try_timeout_s=30.0).data
        if found["ended"]:
            return True
        if time.monotonic() >= deadline:
            return False
        since = found["index"]


@job.command(
    "log",
    cls=Leaf,
    examples="""
    hamgr job log j-4
    hamgr job log j-4 --node web-1 -f
    """,
)
@job_id
@click.option("--node", default="", help="Only this node.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
def log_job(job: str, node: str, *, follow: bool) -> None:
    """Print what a job's steps printed on the nodes."""
    from cli.logs import print_log  # noqa: PLC0415 - only here

    print_log(client(), path("jobs", job) + "/log", node=node, follow=follow, fmt=settings().output)


@job.command("cancel", cls=Leaf, examples='hamgr job cancel j-4 --reason "wrong bundle"')
@job_id
@click.option("--reason", default="", help="Kept with the job.")
@click.option("--dry-run", is_flag=True, help="Only say whether it would be possible.")
@yes_option
def cancel_job(job: str, reason: str, *, dry_run: bool, yes: bool) -> None:
    """End a job: what has not begun is cancelled, what runs is killed and undone."""
    asked = client()
    data = next(changes(asked, job))
    progress = data["progress"]
    asked.call("POST", path("jobs", job) + ":cancel", body={"reason": reason}, query={"dry_run": True})
    note(
        f"This ends {job} ({data['kind']}): {progress['queued']} not begun, {progress['running']} at work, "
        f"{progress['done']} done already"
    )
    if dry_run:
        jobs.end(Exit.OK)
    confirm("Cancel it?", yes=yes)
    made = asked.call("POST", path("jobs", job) + ":cancel", body={"reason": reason}).data
    show(settings().output, made, names=[job], text=f"{job} is being cancelled")
    note(f"to see it end: hamgr job watch {job}")
