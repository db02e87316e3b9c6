"""hamgr node commission, upgrade, verify, decommission: jobs on nodes."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from cli import jobs
from cli.exits import CliError, Exit
from cli.options import Leaf, client, confirm, node_names, settings, variables, yes_option
from cli.output import note

F = TypeVar("F", bound=Callable[..., Any])


def _job_options(function: F) -> F:
    """Add what all four commands understand."""
    options = (
        node_names,
        click.option("-l", "--selector", default="", help="The nodes, e.g. role=web,rack=r1."),
        click.option("--all", "every", is_flag=True, help="Every node."),
        click.option("--max-parallel", type=click.IntRange(1), help="Size of a wave."),
        click.option("--max-failed", type=click.IntRange(0), help="More failures in a wave stop the job."),
        click.option("--reason", default="", help="Kept with the job."),
        click.option("--dry-run", is_flag=True, help="Only say what would be done."),
        click.option("--exit-code", is_flag=True, help="With --dry-run: exit 10 if there is work."),
        click.option("--detach", is_flag=True, help="Do not wait for the end."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _configuring(function: F) -> F:
    """Add what the commands that configure understand."""
    for option in (
        click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="A variable for this job."),
        click.option("--bundle", default="", metavar="DIGEST", help="Another bundle than the current one."),
    ):
        function = option(function)
    return function


def _run(kind: str, given: dict[str, Any], *, yes: bool = True, **more: Any) -> None:
    """Build the request from what the command was given, and preview or run it."""
    selector = _selector(given)
    body: dict[str, Any] = {
        "kind": kind,
        "nodes": [] if selector else list(given["nodes"]),
        "selector": selector,
        "max_parallel": given["max_parallel"] or 0,
        "max_failed": given["max_failed"],
        "reason": given["reason"],
        **more,
    }
    asked, fmt = client(), settings().output
    if given["dry_run"]:
        jobs.end(jobs.show_preview(fmt, jobs.preview(asked, body), exit_code=given["exit_code"]))
    if kind == "decommission" and not yes:
        plan = jobs.preview(asked, body)
        count = len(plan["nodes"])
        note(f"This takes {count} node{'s' if count > 1 else ''} out of service: {jobs.few(plan['nodes'])}")
        for line in jobs.service_lines(plan):
            note(line)
        confirm("Go on?", yes=False, word=str(count) if count > 1 else "")
    jobs.end(jobs.submit(asked, body, fmt, detach=given["detach"]))


def _selector(given: dict[str, Any]) -> str:
    nodes, selector, every = given["nodes"], given["selector"], given["every"]
    if sum((bool(nodes), bool(selector), every)) != 1:
        hint = "name nodes, or use -l SELECTOR, or --all"
        raise CliError(Exit.USAGE, "say which nodes, in one way", hint=hint)
    if every:
        return "*"
    patterns = [name for name in nodes if any(c in name for c in "*?[")]
    if patterns and len(nodes) > 1:
        raise CliError(Exit.USAGE, f"{patterns[0]!r} is a pattern; give one alone, or names")
    return str(patterns[0] if patterns else selector)


@click.command(
    cls=Leaf,
    examples="""
    hamgr node commission web-1 web-2 --role web
    hamgr node commission -l status=discovered,rack=r1 --role web --max-parallel 10
    hamgr node commission --all --role web --dry-run
    """,
)
@_job_options
@_configuring
@click.option("--role", default="", help="What the nodes are to be; may be left out where each has one.")
def commission(role: str, bundle: str, sets: tuple[str, ...], **given: Any) -> None:
    """Configure nodes for a role, verify them, and put them into service."""
    _run("commission", given, role=role, bundle=bundle, variables=variables(sets))


@click.command(
    cls=Leaf,
    examples="""
    hamgr node upgrade -l role=web --max-parallel 3 --max-failed 1
    hamgr node upgrade --all --dry-run --exit-code
    hamgr node upgrade web-1 --set greeting=hello --detach
    """,
)
@_job_options
@_configuring
def upgrade(bundle: str, sets: tuple[str, ...], **given: Any) -> None:
    """Bring nodes in service to a newer bundle, wave by wave; a failed one goes back to its last good."""
    _run("upgrade", given, bundle=bundle, variables=variables(sets))


@click.command(cls=Leaf, examples="hamgr node verify --all\nhamgr node verify web-1 -o json")
@_job_options
def verify(**given: Any) -> None:
    """Look whether nodes are as their bundle says; nothing is changed."""
    _run("verify", given)


@click.command(
    cls=Leaf,
    examples="""
    hamgr node decommission web-9
    hamgr node decommission -l rack=r3 --yes --reason "rack r3 is sold"
    """,
)
@_job_options
@yes_option
def decommission(*, yes: bool, **given: Any) -> None:
    """Clean nodes up and take them out of service."""
    _run("decommission", given, yes=yes)
