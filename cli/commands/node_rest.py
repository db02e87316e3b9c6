"""hamgr node drain, undrain, forgive, replace: nodes that rest, come back, or are followed by others."""

from typing import Any

import click

from cli import jobs, names
from cli.commands.node import path
from cli.exits import CliError, Exit
from cli.options import Leaf, client, confirm, node_names, settings, yes_option
from cli.output import note, show


def _asked(kind: str, nodes: tuple[str, ...], given: dict[str, Any], **more: Any) -> None:
    """Preview or submit a job on the nodes named.

    Raises:
        CliError: None was named.
    """
    if not nodes:
        raise CliError(Exit.USAGE, "which nodes?", hint=f"hamgr node {kind} NODE...")
    body = {"kind": kind, "nodes": list(dict.fromkeys(nodes)), "reason": given["reason"], **more}
    if (ask_only := given.get("ask_only")) is not None:  # see `cli.commands.schedule`
        ask_only.update(body)
        return
    asked, fmt = client(), settings().output
    if given["dry_run"]:
        jobs.end(jobs.show_preview(fmt, jobs.preview(asked, body), exit_code=False))
    jobs.end(jobs.submit(asked, body, fmt, detach=given["detach"]))


@click.command(
    cls=Leaf,
    examples="""
    hamgr node drain web-1 --reason "new DIMM"
    hamgr node drain web-1 web-2 --deadline 10m
    hamgr node drain web-1 --dry-run
    """,
)
@node_names
@click.option("--deadline", metavar="TIME", help="Give up on a node after so long (10m), and undo it.")
@click.option("--reason", default="", help="Shown to everybody who meets the node.")
@click.option("--below-minimum", is_flag=True, help="Although a role has too few then.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
def drain(nodes: tuple[str, ...], *, deadline: str | None, below_minimum: bool, **given: Any) -> None:
    """Take the load off nodes by their role's drain steps, and keep jobs away until they are undrained."""
    more: dict[str, Any] = {"task_deadline": deadline} if deadline else {}
    if below_minimum:
        more["rollout"] = {"below_minimum": True}
    _asked("drain", nodes, given, **more)


@click.command(cls=Leaf, examples="hamgr node undrain web-1\nhamgr node undrain web-1 web-2 --detach")
@node_names
@click.option("--deadline", metavar="TIME", help="Give up on a node after so long, e.g. 10m.")
@click.option("--reason", default="", help="Kept with the job.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
def undrain(nodes: tuple[str, ...], *, deadline: str | None, **given: Any) -> None:
    """Give nodes their load back, prove that they work, and let jobs come near them again."""
    _asked("undrain", nodes, given, **({"task_deadline": deadline} if deadline else {}))


@click.command(cls=Leaf, examples='hamgr node forgive web-1 --reason "reinstalled by hand"')
@node_names
@click.option("--reason", default="", help="Kept with the event.")
@click.option("--dry-run", is_flag=True, help="Only say whether it would be possible.")
def forgive(nodes: tuple[str, ...], *, reason: str, dry_run: bool) -> None:
    """Let nodes serve although they owe an upgrade that they missed while nobody could reach them."""
    if not nodes:
        raise CliError(Exit.USAGE, "which nodes?", hint="hamgr node forgive NODE...")
    asked = client()
    says = "would owe nothing" if dry_run else "owes nothing any more"
    for name in dict.fromkeys(nodes):
        target = path("nodes", name) + ":forgive"
        data = asked.call("POST", target, body={"reason": reason}, query={"dry_run": dry_run}).data
        show(settings().output, data, names=[name], text=f"{name} {says}")


@click.command(
    cls=Leaf,
    examples="""
    hamgr node replace web-1 spare-3 --reason "broken board"
    hamgr node replace web-1 spare-3 --dry-run
    """,
)
@click.argument("old", shell_complete=names.nodes)
@click.argument("new", shell_complete=names.nodes)
@click.option("--reason", default="", help="Kept with the job.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@yes_option
def replace(old: str, new: str, *, reason: str, dry_run: bool, detach: bool, yes: bool) -> None:
    """Put the machine NEW to work as OLD, take OLD out of service, and give NEW its name.

    NEW gets the role, labels, variables and history too. Until NEW is proven nothing happens to OLD; one
    that cannot be reached is left as it is, and cannot come back unasked.
    """
    asked, fmt = client(), settings().output
    at = path("nodes", old) + ":replace"
    body = {"new": new, "reason": reason}

    def preview() -> dict[str, Any]:
        found: dict[str, Any] = asked.call("POST", at, body=body, query={"dry_run": True}).data
        return found

    if dry_run:
        jobs.end(jobs.show_preview(fmt, preview(), exit_code=False))
    if not yes:
        plan = preview()
        fate = "taken out of service" if old in plan["nodes"] else "out of reach, and is forgotten"
        note(f"{new} comes in the place of {old}, and has its name then; the old machine is {fate}.")
        confirm("Go on?", yes=False)
    jobs.end(jobs.follow(asked, asked.call("POST", at, body=body).data, fmt, detach=detach))
