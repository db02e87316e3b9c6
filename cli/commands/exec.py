"""hamgr exec: one command on many nodes, now, and what each answered; equal answers are shown once."""

import shlex
import sys
from collections.abc import Sequence
from typing import Any

import click

from cli.commands.node_edit import seconds
from cli.exits import CliError, Exit
from cli.folding import fold
from cli.options import Leaf, client, node_names, settings
from cli.output import clean, show, styled
from cli.stream import once

UNKNOWN = "its end is not known"
_COMMAND = "cli.exec.command"


class Exec(Leaf):
    """A command whose words after `--` are another command."""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- COMMAND..."]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            ctx.meta[_COMMAND] = args[args.index("--") + 1 :]
            args = args[: args.index("--")]
        return super().parse_args(ctx, args)


@click.command(
    "exec",
    cls=Exec,
    examples="""
    hamgr exec -l role=web -- uptime
    hamgr exec web-1 web-2 -- systemctl is-active nginx
    hamgr exec --all -- 'df -h / | tail -1'      # one word is a line for the nodes' shell
    hamgr exec -l rack=r1 --deadline 10m --max-parallel 10 -- apt-get -q update
    """,
)
@node_names
@click.option("-l", "--selector", default="", help="The nodes, e.g. role=web,rack=r1.")
@click.option("--all", "every", is_flag=True, help="Every node.")
@click.option(
    "--deadline", "limit", metavar="TIME", default="60s", show_default=True, help="A node may take so long."
)
@click.option("--max-parallel", type=click.IntRange(1, 256), help="How many nodes at once.")
@click.option("--list", "only_list", is_flag=True, help="Only say on which nodes it would run.")
def exec_(
    nodes: tuple[str, ...],
    selector: str,
    limit: str,
    max_parallel: int | None,
    *,
    every: bool,
    only_list: bool,
) -> None:
    """Run COMMAND on nodes, through the cluster's own connections.

    It runs as the user that hamgr logs in as, beside whatever else runs there: nothing is locked, nothing is
    tried again, and nothing goes on when the replica that runs it dies. Who ran what is an event. For what
    has to be finished, proven or undone, use a bundle and a job.
    """
    if sum((bool(nodes), bool(selector), every)) != 1:
        raise CliError(Exit.USAGE, "on which nodes?", hint="name nodes, or -l SELECTOR, or --all")
    command = click.get_current_context().meta.get(_COMMAND, [])
    if not any(command):
        raise CliError(Exit.USAGE, "there is no command", hint="write it after --, as in: -- uptime")
    body = {
        "command": command[0] if len(command) == 1 else shlex.join(command),
        "nodes": list(nodes),
        "selector": "*" if every else selector,
        "timeout": seconds(limit),
        "max_parallel": max_parallel or 0,
    }
    asked, fmt = client(), settings().output
    if only_list:
        found = asked.call("POST", "/v1/exec", body=body, query={"dry_run": True}).data["nodes"]
        show(fmt, found, names=found, text="\n".join(map(clean, found)))
        return
    answers: list[dict[str, Any]] = []
    waiting: dict[str, None] = {}
    cut: CliError | None = None
    try:
        for message in once(asked, "/v1/exec", body):
            if message.kind == "begin":
                waiting = dict.fromkeys(message.data["nodes"])
            elif message.kind == "node":
                waiting.pop(message.data["node"], None)
                answers.append(message.data)
                _progress(len(answers), len(waiting))
    except KeyboardInterrupt:
        cut = CliError(Exit.DETACHED, f"stopped listening; what runs goes on for up to {limit}")
    except CliError as error:
        if not waiting or error.code is not Exit.TIMEOUT:
            raise
        cut = error
    answers += [_unheard(name) for name in waiting]
    show(fmt, answers, names=[a["node"] for a in answers if a["exit_code"] == 0], text=told(answers))
    if cut is not None:
        raise cut
    click.get_current_context().exit(int(exit_code(answers)))


def exit_code(answers: Sequence[dict[str, Any]]) -> Exit:
    """Return how the command ends: as the nodes did together."""
    if any(answer["unknown"] for answer in answers):
        return Exit.TIMEOUT
    well = sum(answer["exit_code"] == 0 for answer in answers)
    if well == len(answers):
        return Exit.OK
    return Exit.PARTLY if well else Exit.FAILED


def told(answers: Sequence[dict[str, Any]]) -> str:
    """Return the answers for people: equal ones once, what went wrong last, and the sum of it."""
    groups: dict[tuple[bool, str, str], list[str]] = {}
    for answer in answers:
        ended = _ended(answer)
        output = answer["output"] + ("\n(a part in the middle is left out)" if answer["truncated"] else "")
        groups.setdefault((bool(ended), ended, output), []).append(answer["node"])
    lines = []
    for (_, ended, output), nodes in sorted(groups.items(), key=lambda group: (group[0][0], -len(group[1]))):
        count = f" ({len(nodes)} nodes)" if len(nodes) > 1 else ""
        head = clean(f"{fold(nodes)}{count}")
        lines.append(styled(head, bold=True) + (f": {styled(clean(ended), fg='red')}" if ended else ""))
        lines += [f"  {clean(line)}" for line in output.splitlines()]
    return "\n".join([*lines, _sum(answers)])


def _ended(answer: dict[str, Any]) -> str:
    """Return what was not well; empty when all was."""
    if answer["unknown"]:
        return f"{UNKNOWN}: {answer['error']}"
    if answer["error"]:
        return f"not run: {answer['error']}"
    return f"exit {answer['exit_code']}" if answer["exit_code"] else ""


def _sum(answers: Sequence[dict[str, Any]]) -> str:
    well = sum(answer["exit_code"] == 0 for answer in answers)
    unknown = sum(answer["unknown"] for answer in answers)
    not_run = sum(bool(answer["error"]) and not answer["unknown"] for answer in answers)
    failed = len(answers) - well - unknown - not_run
    parts = [(well, "well"), (failed, "failed"), (not_run, "not run"), (unknown, "unknown")]
    return f"{len(answers)} nodes: " + ", ".join(f"{count} {what}" for count, what in parts if count)


def _unheard(node: str) -> dict[str, Any]:
    why = "its answer was lost with the replica's, or it had not begun"
    return {
        "node": node,
        "exit_code": None,
        "output": "",
        "truncated": False,
        "error": why,
        "unknown": True,
        "seconds": None,
    }


def _progress(ended: int, waiting: int) -> None:
    if sys.stderr.isatty():
        whole = f"{ended} of {ended + waiting} nodes"
        sys.stderr.write(f"\r{whole}\x1b[K" if waiting else "\r\x1b[K")
        sys.stderr.flush()
