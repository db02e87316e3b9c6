"""`hamgr`: the entry point, and the one place where every way to end becomes an exit code.

Imports here are paid by every invocation, completion included: click and nothing else that is heavy.
"""

import os
import sys
from collections.abc import Sequence

import click

from cli.exits import ApiError, CliError, Exit
from cli.lazy import LazyGroup
from cli.options import common_options
from cli.settings import Settings

COMMANDS = {
    "status": ("cli.commands.status:status", "How the cluster is, on one screen."),
    "node": ("cli.commands.node:node", "Nodes: ls, show, add, edit, commission, upgrade, verify, ..."),
    "discover": ("cli.commands.discover:discover", "Find machines at addresses."),
    "job": ("cli.commands.job:job", "Jobs: ls, show, watch, log, wait, cancel, pause, promote, revert, ..."),
    "exec": ("cli.commands.exec:exec_", "Run one command on many nodes, now."),
    "plan": ("cli.commands.plan:plan", "Plans: what would change where; begun, or approved, by its hash."),
    "apply": ("cli.commands.plan:apply", "Begin exactly what was planned."),
    "schedule": ("cli.commands.schedule:schedule", "Jobs that are asked for again and again."),
    "why": ("cli.commands.why:why", "Why a job or a node waits, was refused, or is unhealthy."),
    "replica": ("cli.commands.replica:replica", "Replicas: ls, add, remove, lead."),
    "self": ("cli.commands.self_:self_", "hamgr itself: upgrade it, one replica at a time."),
    "vip": ("cli.commands.vip:vip", "The virtual address: show who holds it, test that it moves."),
    "doctor": ("cli.commands.doctor:doctor", "What could go wrong with the replicas."),
    "backup": ("cli.commands.backup:backup", "Backups: ls, now."),
    "token": ("cli.commands.token:token", "Join tokens: create, ls, revoke."),
    "config": ("cli.commands.config:config", "Configuration bundles: push, ls, show, export."),
    "globals": ("cli.commands.globals:globals_", "Variables of all nodes: show, set, unset."),
    "events": ("cli.commands.events:events", "What happened, and what happens now."),
    "demo": ("cli.demo.command:demo", "A practice cluster on this machine, with a leader that dies."),
    "completion": ("cli.commands.shell:completion", "The completion script of a shell."),
    "help": ("cli.commands.shell:help_", "Help topics: exit-codes."),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    params=list(common_options(hidden=False)),
    epilog="Start with `hamgr status`; every command has examples in its --help.",
)
@click.version_option(package_name="hamgr", prog_name="hamgr")
@click.pass_context
def root(ctx: click.Context) -> None:
    """Manage a fleet of machines through any replica of hamgr."""
    ctx.ensure_object(Settings)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit; never with a traceback unless --debug was given."""
    args = list(sys.argv[1:] if argv is None else argv)
    sys.exit(int(run(args)))


def run(args: list[str]) -> int:
    """Run the command line and return the exit code."""
    debug = "--debug" in args
    try:
        result = root.main(args=args, prog_name="hamgr", standalone_mode=False)
        sys.stdout.flush()
        return int(result) if isinstance(result, int) else Exit.OK
    except click.UsageError as error:
        place = error.ctx.command_path if error.ctx is not None else "hamgr"
        tell(CliError(Exit.USAGE, _sentence(error.format_message()), hint=f"{place} --help"))
        return Exit.USAGE
    except click.ClickException as error:
        tell(CliError(Exit.USAGE, _sentence(error.format_message())))
        return Exit.USAGE
    except CliError as error:
        tell(error)
        return error.code
    except (click.Abort, KeyboardInterrupt):
        click.echo("hamgr: stopped", err=True)
        return Exit.DETACHED
    except SystemExit as end:  # click's own answer to a pipe that nobody reads any more, and to completion
        gone = hasattr(sys.stdout, "wrapped")  # click has replaced a broken standard output
        return Exit.OK if gone else int(end.code or 0)
    except BrokenPipeError:
        # Whoever read us has seen enough; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception as error:  # noqa: BLE001 - the one door: an operator is never shown a traceback unasked
        if debug:
            import traceback  # noqa: PLC0415 - 12 ms that only a bug is worth

            traceback.print_exc()
        click.echo(f"hamgr: this is a bug in hamgr: {type(error).__name__}: {error}", err=True)
        click.echo("  try: the same command with --debug, and report what it prints", err=True)
        return Exit.FAILED


def _sentence(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")


def tell(error: CliError) -> None:
    """Print an error: one sentence, what it is made of, and the way out."""
    from cli.output import clean  # noqa: PLC0415 - only errors need it here

    click.echo(f"hamgr: {clean(error.message)}", err=True)
    if isinstance(error, ApiError):
        for fault in error.errors:
            place = ":".join(str(fault[key]) for key in ("file", "line", "column") if fault.get(key))
            where = place or str(fault.get("pointer") or "")
            hint = f" ({fault['hint']})" if fault.get("hint") else ""
            if place or str(fault.get("message", "")) not in error.message:
                click.echo(
                    clean(f"{where + ': ' if where else ''}{fault.get('message', '')}{hint}"), err=True
                )
    if error.hint:
        click.echo(f"  try: {clean(error.hint)}", err=True)


if __name__ == "__main__":
    main()
