"""hamgr plan and hamgr apply: look first, have it approved, begin exactly that."""

from collections.abc import Mapping
from typing import Any

import click

from cli import jobs, names, planning
from cli.commands.node import path
from cli.exits import CliError, Exit
from cli.lazy import LazyGroup
from cli.options import Leaf, client, confirm, settings, yes_option
from cli.output import Column, ago, note, show

LAZY = {
    "commission": ("cli.commands.plan_work:commission", "What commissioning nodes would change."),
    "upgrade": ("cli.commands.plan_work:upgrade", "What an upgrade of nodes would change."),
    "rollback": ("cli.commands.plan_work:rollback", "What going back to a bundle would change."),
    "decommission": ("cli.commands.plan_work:decommission", "What taking nodes out of service would change."),
}


@click.group(cls=LazyGroup, lazy=LAZY)
def plan() -> None:
    """Plans: see what would change on which node, then begin exactly that, or have it approved first."""


def _approval(item: Mapping[str, Any]) -> str:
    if item["approved_by"]:
        return f"by {item['approved_by']}"
    return "needed" if item["needs_approval"] else "-"


COLUMNS = (
    Column("PLAN", lambda p: p["hash"][: planning.HASH_CHARS]),
    Column("KIND", lambda p: p["kind"]),
    Column("NODES", lambda p: len(p["nodes"])),
    Column("AUTHOR", lambda p: p["author"]),
    Column("MADE", lambda p: ago(p["at"])),
    Column("APPROVAL", _approval),
    Column("JOB", lambda p: p["used_by"]),
)


@plan.command("ls", cls=Leaf, examples="hamgr plan ls")
def list_plans() -> None:
    """List the plans that are kept, the newest first."""
    items = client().get("/v1/plans")["items"]
    show(settings().output, items, columns=COLUMNS, rows=items, names=[item["hash"] for item in items])


plan_name = click.argument("name", metavar="PLAN", shell_complete=names.plans)


@plan.command("show", cls=Leaf, examples="hamgr plan show 9f8e7d6c5b4a")
@plan_name
@click.option("--exit-code", is_flag=True, help="Exit 10 if something would change.")
def show_plan(name: str, *, exit_code: bool) -> None:
    """Look at the nodes of a plan again, and show what it would change now."""
    fmt = settings().output
    found = planning.look_again(client(), name)
    lines = planning.about(found)
    if "looks" in found:
        lines += ["", planning.text(found)]
    show(fmt, found, names=[found["hash"]], text="\n".join(lines))
    if fmt in ("table", "wide") and not (found["used_by"] or found.get("moved") or found.get("refused")):
        for line in planning.next_lines(found):
            note(line)
    jobs.end(Exit.PENDING if exit_code and found.get("changes") else Exit.OK)


@plan.command(
    "approve",
    cls=Leaf,
    examples="""
    hamgr plan approve 9f8e7d6c5b4a
    hamgr plan approve 9f8e7d6c5b4a --yes
    """,
)
@plan_name
@yes_option
def approve_plan(name: str, *, yes: bool) -> None:
    """Approve a plan that somebody else wrote.

    Looks at its nodes and shows what it would change before it asks, unless --yes is given.
    """
    asked = client()
    found = asked.get(path("plans", name)) if yes else planning.look_again(asked, name)
    if not yes:
        for line in planning.about(found):
            note(line)
        if "looks" in found:
            note("\n" + planning.text(found))
    if found["moved"]:
        moved = "what this plan rests on has moved, so it cannot be begun"
        raise CliError(Exit.CONFLICT, moved, hint="have it made anew")
    confirm("Approve exactly this?", yes=yes)
    made = asked.call("POST", path("plans", found["hash"]) + ":approve").data
    short = found["hash"][: planning.HASH_CHARS]
    show(settings().output, made, names=[found["hash"]], text=f"plan {short} is approved")
    note(f"  to begin it: hamgr apply --plan {short}")


@click.command(
    cls=Leaf,
    examples="""
    hamgr apply --plan 9f8e7d6c5b4a
    hamgr apply --plan 9f8e7d6c5b4a --detach --reason "change 4711"
    """,
)
@click.option(
    "--plan",
    "name",
    required=True,
    metavar="PLAN",
    shell_complete=names.plans,
    help="Its hash, or how that begins.",
)
@click.option("--reason", default="", help="Kept with the job, instead of the plan's.")
@click.option("--dry-run", is_flag=True, help="Only say whether it could be begun now.")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
def apply(name: str, reason: str, *, dry_run: bool, detach: bool) -> None:
    """Begin exactly what was planned; refused when anything that the plan rests on has moved."""
    asked, fmt = client(), settings().output
    if dry_run:
        made = asked.call("POST", path("plans", name) + ":apply", query={"dry_run": True}).data
        show(fmt, made, names=[name], text="it could be begun now")
        jobs.end(Exit.OK)
    jobs.end(planning.begin(asked, name, fmt, reason=reason, detach=detach))
