"""hamgr job: the group, and the commands that only look."""

import json
from typing import Any

import click

from cli import jobs
from cli.commands.node import path
from cli.exits import CliError, Exit
from cli.held import state_of, wave_of
from cli.lazy import LazyGroup
from cli.options import Leaf, client, job_id, settings
from cli.output import Column, ago, clock, describe, short, show
from cli.progress import conclude, watch

LAZY = {
    "cancel": ("cli.commands.job_steer:cancel", "End a job; what runs is killed and undone."),
    "pause": ("cli.commands.job_steer:pause", "Let a job begin nothing more for now."),
    "resume": ("cli.commands.job_steer:resume", "Let a held job go on."),
    "promote": ("cli.commands.job_steer:promote", "Say that the canaries are good."),
    "retry": ("cli.commands.job_steer:retry", "Do an ended job again where it failed."),
    "revert": ("cli.commands.job_steer:revert", "Bring back what an ended job changed."),
    "rollback": ("cli.commands.job_steer:rollback", "See revert, and `hamgr node rollback`."),
}


@click.group(cls=LazyGroup, lazy=LAZY)
def job() -> None:
    """Jobs: operations on nodes, which go on whoever watches."""


COLUMNS = (
    Column("JOB", lambda j: j["id"]),
    Column("KIND", lambda j: j["kind"]),
    Column("STATE", state_of),
    Column("DONE", lambda j: f"{j['progress']['done']}/{j['progress']['total']}"),
    Column("WAVE", wave_of),
    Column("FAILED", lambda j: j["progress"]["failed"] or ""),
    Column("PRIORITY", lambda j: j["priority"] or ""),
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
    plain["holds"] = [_hold(hold) for hold in data["holds"]]
    plain["rollout"] = {key: value for key, value in data["rollout"].items() if value}
    tasks = [_task(task) for task in data["tasks"]]
    show(settings().output, data, names=[data["id"]], text=describe({**plain, "tasks": tasks}))


def _task(task: Any) -> dict[str, Any]:
    """Return a task as one line has room for; its own variables as they would be written."""
    line = {key: task[key] for key in ("node", "state", "wave", "step", "error")}
    return line | ({"variables": json.dumps(task["variables"])} if "variables" in task else {})


def _hold(hold: Any) -> dict[str, Any]:
    moments = {key: clock(hold[key]) for key in ("since", "until")}
    return {**hold, **moments}


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
    """Wait for a job's end, and say nothing but what holds it; the exit code tells how it ended."""
    asked = client()
    if not watch(asked, job, quiet=True, limit_s=limit_s)["ended"]:
        raise CliError(Exit.TIMEOUT, f"{job} has not ended within {limit_s:g} s; it goes on")
    jobs.end(conclude(asked, job, settings().output))


@job.command(
    "log",
    cls=Leaf,
    examples="""
    hamgr job log j-4
    hamgr job log j-4 --node web-1 -f
    hamgr job log j-4 --step app.install --attempt 2
    hamgr job log j-4 --tail 20
    """,
)
@job_id
@click.option("--node", default="", help="Only this node.")
@click.option("--step", default="", help="Only this step: its key, or the last words of it.")
@click.option("--attempt", type=click.IntRange(1), help="Only this attempt of each step.")
@click.option("--tail", type=click.IntRange(1, 100_000), help="Only so many lines of each node, the last.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
def log_job(job: str, node: str, step: str, attempt: int | None, tail: int | None, *, follow: bool) -> None:
    """Print what a job's steps printed on the nodes."""
    from cli.logs import print_log  # noqa: PLC0415 - only here

    if tail is not None and (follow or settings().output == "json"):
        raise click.UsageError("--tail shows the end of what there is, as text; leave -f and -o json out")
    asked = {"node": node, "step": step, "attempt": str(attempt or ""), "follow": "1" if follow else ""}
    query = {key: value for key, value in asked.items() if value}
    print_log(client(), path("jobs", job) + "/log", query, tail=tail, fmt=settings().output)
