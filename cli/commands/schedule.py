"""hamgr schedule: jobs that are asked for again and again, at moments of a calendar."""

from typing import Any

import click

from cli.commands.node import path
from cli.exits import CliError, Exit
from cli.lazy import LazyGroup
from cli.options import Leaf, client, confirm, settings, yes_option
from cli.output import Column, ago, clock, describe, note, show

KINDS = {
    "commission": "node_work",
    "upgrade": "node_work",
    "verify": "node_work",
    "decommission": "node_work",
    "drain": "node_rest",
    "undrain": "node_rest",
}
"""What can be scheduled, and which module knows its command line."""
COLUMNS = (
    Column("NAME", lambda s: s["name"]),
    Column("KIND", lambda s: s["kind"]),
    Column("CRON", lambda s: s["cron"]),
    Column("ZONE", lambda s: s["zone"]),
    Column("NEXT", lambda s: "paused" if s["paused"] else clock(s["next_at"])),
    Column("LAST", lambda s: ago(s["fired_at"])),
    Column("OUTCOME", lambda s: s["paused"] or s["outcome"]),
    Column("AUTHOR", lambda s: s["author"], wide=True),
)


@click.group(cls=LazyGroup)
def schedule() -> None:
    """Schedules: jobs that are asked for again and again."""


@schedule.command("ls", cls=Leaf, examples="hamgr schedule ls\nhamgr schedule ls -o json")
def list_schedules() -> None:
    """List the schedules, when each comes next, and what became of it last."""
    items = client().get("/v1/schedules")["items"]
    show(settings().output, items, columns=COLUMNS, rows=items, names=[item["name"] for item in items])


@schedule.command("show", cls=Leaf, examples="hamgr schedule show nightly")
@click.argument("name")
def show_schedule(name: str) -> None:
    """Show a schedule with the job that it asks for."""
    data = client().get(path("schedules", name))
    said = {key: value for key, value in data["request"].items() if value}
    moments = {key: clock(data[key]) for key in ("since", "next_at", "fired_at")}
    show(settings().output, data, names=[name], text=describe({**data, **moments, "request": said}))


@schedule.command(
    "add",
    cls=Leaf,
    examples="""
    hamgr schedule add nightly --cron "0 3 * * *" --zone Europe/Madrid -- node verify --all
    hamgr schedule add weekly --cron "0 22 * * sat" -- node upgrade -l role=web --canary 1
    """,
)
@click.argument("name")
@click.option("--cron", required=True, metavar="FIELDS", help="Five fields as in crontab(5).")
@click.option("--zone", default="UTC", show_default=True, help="Whose calendar, e.g. Europe/Madrid.")
@click.option("--dry-run", is_flag=True, help="Only say whether it would be possible.")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
def add(name: str, cron: str, zone: str, words: tuple[str, ...], *, dry_run: bool) -> None:
    """Have `hamgr COMMAND...` asked for at moments of a calendar; the nodes are looked up each time.

    A moment that nobody led the cluster through is made up for within an hour. While the last job of the
    schedule still runs, a moment is skipped.
    """
    body = {"name": name, "cron": cron, "zone": zone, "job": asked_by(words)}
    asked = client()
    data = asked.call("POST", "/v1/schedules", body=body, query={"dry_run": dry_run}).data
    if dry_run:
        show(settings().output, data, names=[name], text=f"{name} would be scheduled")
        return
    kept = asked.get(path("schedules", name))
    coming = clock(kept["next_at"])
    show(settings().output, kept, names=[name], text=f"{name} is scheduled; it comes first at {coming}")


def asked_by(words: tuple[str, ...]) -> dict[str, Any]:
    """Return the request that a command line of hamgr would send.

    Raises:
        CliError: It is none that makes a job on nodes.
    """
    from importlib import import_module  # noqa: PLC0415 - only here, and only the module that is needed

    given = words[1:] if words[:1] == ("hamgr",) else words
    if len(given) < 2 or given[0] != "node" or given[1] not in KINDS:
        known = ", ".join(f"node {kind}" for kind in KINDS)
        raise CliError(Exit.USAGE, f"{' '.join(given)!r} cannot be scheduled", hint=f"one of: {known}")
    command = getattr(import_module(f"cli.commands.{KINDS[given[1]]}"), given[1])
    body: dict[str, Any] = {}
    with command.make_context(
        f"node {given[1]}", list(given[2:]), parent=click.get_current_context()
    ) as inner:
        if inner.params.get("dry_run") or inner.params.get("detach"):
            raise CliError(Exit.USAGE, "leave --dry-run and --detach out", hint="a schedule only asks")
        command.callback(**inner.params, ask_only=body)
    return body


@schedule.command("pause", cls=Leaf, examples='hamgr schedule pause nightly --reason "change freeze"')
@click.argument("name")
@click.option("--reason", default="", help="Shown with the schedule.")
def pause(name: str, reason: str) -> None:
    """Let a schedule make nothing until it is resumed; a job that runs goes on."""
    data = client().call("POST", path("schedules", name) + ":pause", body={"reason": reason}).data
    show(settings().output, data, names=[name], text=f"{name} is paused")


@schedule.command("resume", cls=Leaf, examples="hamgr schedule resume nightly")
@click.argument("name")
def resume(name: str) -> None:
    """Let a schedule go on; moments that passed meanwhile are not made up for."""
    asked = client()
    asked.call("POST", path("schedules", name) + ":resume")
    kept = asked.get(path("schedules", name))
    show(settings().output, kept, names=[name], text=f"{name} goes on; next at {clock(kept['next_at'])}")


@schedule.command("rm", cls=Leaf, examples="hamgr schedule rm nightly --yes")
@click.argument("name")
@yes_option
def remove(name: str, *, yes: bool) -> None:
    """Ask for the job no more; one that runs goes on."""
    asked = client()
    found = asked.get(path("schedules", name))
    note(f"  {name}: {found['kind']} at {found['cron']!r} in {found['zone']}, by {found['author']}")
    confirm(f"Drop the schedule {name}?", yes=yes)
    data = asked.call("DELETE", path("schedules", name)).data
    show(settings().output, data, names=[name], text=f"{name} is dropped")
