"""hamgr node commission, upgrade, rollback, verify, decommission: jobs on nodes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli import jobs, names, rollouts
from cli.exits import CliError, Exit
from cli.options import Leaf, client, confirm, node_names, settings, variables, yes_option
from cli.output import clean, note, short

if TYPE_CHECKING:
    from cli.client import Client

F = TypeVar("F", bound=Callable[..., Any])


class Work(Leaf):
    """A command that makes a job on nodes; its help tells of rollouts apart."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, of_rollout in (("Options", False), ("Rollout", True)):
            records = [
                record
                for parameter in self.get_params(ctx)
                if isinstance(parameter, click.Option)
                and (parameter.name in rollouts.NAMES) is of_rollout
                and (record := parameter.get_help_record(ctx)) is not None
            ]
            with formatter.section(title):
                formatter.write_dl(records)


def _job_options(function: F) -> F:
    """Add what all these commands understand."""
    options = (
        node_names,
        click.option("-l", "--selector", default="", help="The nodes, e.g. role=web,rack=r1."),
        click.option("--all", "every", is_flag=True, help="Every node."),
        click.option("--reason", default="", help="Kept with the job."),
        click.option("--task-deadline", metavar="TIME", help="A node begins nothing more after so long."),
        click.option("--dry-run", is_flag=True, help="Only look what would change, and say it."),
        click.option("--exit-code", is_flag=True, help="With --dry-run: exit 10 if something would change."),
        click.option("--detach", is_flag=True, help="Do not wait for the end."),
        rollouts.rollout_options,
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


_offline = click.option(
    "--offline",
    type=click.Choice(["refuse", "owe"]),
    help="Of nodes that cannot be reached: refuse (if named), or go on and have them owe it (if selected).",
)


def _run(kind: str, given: dict[str, Any], *, yes: bool = True, **more: Any) -> None:
    """Build the request from what the command was given, and preview or run it."""
    body = _body(kind, given, **more)
    if (ask_only := given.get("ask_only")) is not None:  # `hamgr schedule add` asks later
        ask_only.update(body)
        return
    asked, fmt = client(), settings().output
    _look(asked, body, given)
    if kind == "decommission" and not yes:
        plan = jobs.preview(asked, body)
        note(f"This takes {_counted(plan)} out of service: {jobs.few(plan['nodes'])}")
        for line in jobs.service_lines(plan):
            note(line)
        _confirm_count(plan)
    jobs.end(jobs.submit(asked, body, fmt, detach=given["detach"]))


def _look(asked: "Client", body: dict[str, Any], given: dict[str, Any]) -> None:
    """Where the command is not to begin anything: show what it would change, and end it.

    `hamgr plan` hands over `plan`, and keeps what is shown so that it can be begun; --dry-run does not.
    """
    keep = bool(given.get("plan"))
    if not keep and not given["dry_run"]:
        return
    from cli import planning  # noqa: PLC0415 - only here

    body = {**body, "needs_approval": True} if given.get("needs_approval") else body
    found = planning.look(asked, body, keep=keep)
    jobs.end(planning.tell(settings().output, found, exit_code=given["exit_code"]))


def _body(kind: str, given: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the request for a job.

    Raises:
        CliError: It does not say which nodes, or a value cannot be used.
    """
    selector = _selector(given)
    return {
        "kind": kind,
        "nodes": [] if selector else list(given["nodes"]),
        "selector": selector,
        "reason": given["reason"],
        **{key: given[key] for key in ("task_deadline", "offline") if given.get(key)},
        **rollouts.strategy(given),
        **more,
    }


def _counted(plan: dict[str, Any]) -> str:
    count = len(plan["nodes"])
    return f"{count} node{'' if count == 1 else 's'}"


def _confirm_count(plan: dict[str, Any]) -> None:
    """Have the number of nodes typed where there are several."""
    count = len(plan["nodes"])
    confirm("Go on?", yes=False, word=str(count) if count > 1 else "")


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
    cls=Work,
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
    cls=Work,
    examples="""
    hamgr node upgrade -l role=web --max-parallel 3 --max-failed 1
    hamgr node upgrade --all --canary 2 --promote manual --max-parallel 25% --domain rack
    hamgr node upgrade --all --rollout careful.yaml --window '0 22 * * sat for 4h in Europe/Madrid'
    hamgr node upgrade --all --dry-run --exit-code
    hamgr node upgrade web-1 --set greeting=hello --detach
    """,
)
@_job_options
@_configuring
@_offline
def upgrade(bundle: str, sets: tuple[str, ...], **given: Any) -> None:
    """Bring nodes in service to a newer bundle, wave by wave; a failed one goes back to its last good."""
    _run("upgrade", given, bundle=bundle, variables=variables(sets))


@click.command(
    cls=Work,
    examples="""
    hamgr node rollback -l role=web --to 2fbd4b
    hamgr node rollback web-1 --to 2fbd4b --dry-run
    """,
)
@_job_options
@click.option(
    "--to",
    required=True,
    metavar="DIGEST",
    shell_complete=names.digests,
    help="The bundle; its first digits.",
)
@yes_option
def rollback(to: str, *, yes: bool, **given: Any) -> None:
    """Bring nodes in service back to a bundle that you name; `hamgr config ls` lists them.

    It is an upgrade to an older bundle, with all its safety. `hamgr job revert` undoes a whole job.
    """
    from cli.commands.config import whole_digest  # noqa: PLC0415 - only here

    _selector(given)
    asked, fmt = client(), settings().output
    digest = whole_digest(asked, to)
    body = _body("upgrade", given, bundle=digest)
    _look(asked, body, given)
    plan = jobs.preview(asked, body)
    message = clean(asked.get(f"/v1/bundles/{digest}")["message"])
    note(f"This brings {_counted(plan)} to bundle {short(digest)} ({message or 'without a message'}):")
    for line in jobs.move_lines(plan):
        note(line)
    if not yes:
        _confirm_count(plan)
    jobs.end(jobs.submit(asked, body, fmt, detach=given["detach"]))


@click.command(cls=Work, examples="hamgr node verify --all\nhamgr node verify web-1 -o json")
@_job_options
def verify(**given: Any) -> None:
    """Look whether nodes are as their bundle says; nothing is changed."""
    _run("verify", given)


@click.command(
    cls=Work,
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
