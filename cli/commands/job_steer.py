"""hamgr job cancel, pause, resume, promote, retry, revert: what can be said to a job."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cli import jobs
from cli.commands.node import path
from cli.exits import CliError, Exit
from cli.held import hold_lines
from cli.options import Leaf, client, confirm, job_id, settings, yes_option
from cli.output import note, show

if TYPE_CHECKING:
    from cli.client import Client

reason_option = click.option("--reason", default="", help="Kept with the job.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only say whether it would be possible.")
detach_option = click.option("--detach", is_flag=True, help="Do not wait for the end.")


def _look(asked: "Client", job: str) -> dict[str, Any]:
    found: dict[str, Any] = asked.get(path("jobs", job), results="0")
    return found


def _say(job: str, verb: str, reason: str, *, dry_run: bool) -> Any:
    """Say something to a job that runs; end the command when that was only to be tried."""
    asked = client()
    target, body = f"{path('jobs', job)}:{verb}", {"reason": reason}
    if dry_run:
        asked.call("POST", target, body=body, query={"dry_run": True})
        note(f"{job} could be told to {verb} now; nothing was done")
        jobs.end(Exit.OK)
    made = asked.call("POST", target, body=body).data
    return asked, made


@click.command(cls=Leaf, examples='hamgr job cancel j-4 --reason "wrong bundle"')
@job_id
@reason_option
@dry_run_option
@yes_option
def cancel(job: str, reason: str, *, dry_run: bool, yes: bool) -> None:
    """End a job: what has not begun is cancelled, what runs is killed and undone."""
    asked = client()
    data = _look(asked, job)
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


@click.command(cls=Leaf, examples='hamgr job pause j-4 --reason "the network is flapping"')
@job_id
@reason_option
@dry_run_option
def pause(job: str, reason: str, *, dry_run: bool) -> None:
    """Let a job begin nothing more; what runs on nodes goes on to its end."""
    asked, made = _say(job, "pause", reason, dry_run=dry_run)
    progress = _look(asked, job)["progress"]
    told = f"{progress['running']} at work go on to their end, {progress['queued']} wait"
    show(settings().output, made, names=[job], text=f"{job} is paused: {told}")
    note(f"to let it go on: hamgr job resume {job}")


@click.command(cls=Leaf, examples="hamgr job resume j-4")
@job_id
@reason_option
@dry_run_option
def resume(job: str, reason: str, *, dry_run: bool) -> None:
    """Let a job go on that is paused or stopped for somebody to look; failures so far count no more."""
    asked, made = _say(job, "resume", reason, dry_run=dry_run)
    _show_on(asked, job, made, "goes on")


@click.command(cls=Leaf, examples='hamgr job promote j-4 --reason "the canaries look good"')
@job_id
@reason_option
@dry_run_option
def promote(job: str, reason: str, *, dry_run: bool) -> None:
    """Say that the canaries of a job are good, so that the other nodes follow."""
    asked, made = _say(job, "promote", reason, dry_run=dry_run)
    _show_on(asked, job, made, "is promoted")


def _show_on(asked: "Client", job: str, made: Any, sentence: str) -> None:
    """Say that a job goes on, or what holds it still."""
    show(settings().output, made, names=[job], text=f"{job} {sentence}")
    for line in hold_lines(_look(asked, job)):
        note(line)


@click.command(
    cls=Leaf,
    examples="""
    hamgr job retry j-4
    hamgr job retry j-4 --unfinished     # also what was skipped or cancelled
    """,
)
@job_id
@click.option("--unfinished", is_flag=True, help="Also where it was skipped or cancelled.")
@reason_option
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@detach_option
def retry(job: str, reason: str, *, unfinished: bool, dry_run: bool, detach: bool) -> None:
    """Do an ended job again where it failed, with the same bundle and strategy."""
    asked, fmt = client(), settings().output
    target, body = f"{path('jobs', job)}:retry", {"reason": reason, "unfinished": unfinished}
    if dry_run:
        plan = asked.call("POST", target, body=body, query={"dry_run": True}).data
        jobs.end(jobs.show_preview(fmt, plan, exit_code=False))
    jobs.end(jobs.follow(asked, asked.call("POST", target, body=body).data, fmt, detach=detach))


@click.command(
    cls=Leaf,
    examples="""
    hamgr job revert j-4 --dry-run
    hamgr job revert j-4 --reason "latency doubled"
    """,
)
@job_id
@reason_option
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@detach_option
@yes_option
def revert(job: str, reason: str, *, dry_run: bool, detach: bool, yes: bool) -> None:
    """Bring the nodes where an ended job succeeded back to what they were, the newest first.

    An upgrade is undone by an upgrade to the bundle that each node had, a commission by a decommission;
    nodes that something else has changed since are left alone.
    `hamgr node rollback` brings nodes to a bundle that you name.
    """
    asked, fmt = client(), settings().output
    target, body = f"{path('jobs', job)}:revert", {"reason": reason}
    plan = asked.call("POST", target, body=body, query={"dry_run": True}).data
    if dry_run:
        jobs.end(jobs.show_preview(fmt, plan, exit_code=False))
    for line in _blast(job, _look(asked, job), plan):
        note(line)
    count = len(plan["nodes"])
    confirm("Go on?", yes=yes, word=str(count) if count > 1 else "")
    jobs.end(jobs.follow(asked, asked.call("POST", target, body=body).data, fmt, detach=detach))


def _blast(job: str, old: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    """Return what a revert would do, for who has to agree to it."""
    count, done = len(plan["nodes"]), old["progress"]["succeeded"]
    nodes = f"{count} node{'' if count == 1 else 's'}"
    what = "takes {} out of service" if plan["kind"] == "decommission" else "brings {} back"
    lines = [f"This {what.format(nodes)}, of {done} where {job} succeeded: {jobs.few(plan['nodes'])}"]
    if done > count:
        lines.append(f"  {done - count} have moved on since, and are left alone")
    return lines + jobs.move_lines(plan) + jobs.service_lines(plan)


@click.command(
    cls=Leaf, hidden=True, examples="hamgr job revert j-4\nhamgr node rollback -l role=web --to 2fbd4b"
)
@click.argument("words", nargs=-1)
def rollback(words: tuple[str, ...]) -> None:
    """Say which of two commands is meant."""
    job = words[0] if words else "JOB"
    raise CliError(
        Exit.USAGE,
        "a job is reverted, and nodes are rolled back to a bundle",
        hint=f"hamgr job revert {job}, or hamgr node rollback NODE... --to BUNDLE",
    )
