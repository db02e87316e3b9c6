"""hamgr why: why a job or a node waits, was refused, or is unhealthy."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cli import names
from cli.commands.node import path
from cli.exits import ApiError, CliError, Exit
from cli.options import Leaf, client, settings
from cli.output import ago, clean, clock, show

if TYPE_CHECKING:
    from cli.client import Client

JOB = re.compile(r"(j\d*-)?\d+\Z")
NOUNS = {"job": "jobs", "jobs": "jobs", "node": "nodes", "nodes": "nodes"}


@click.command(
    cls=Leaf,
    examples="""
    hamgr why j-7
    hamgr why web-3
    hamgr why node web-3 -o json
    """,
)
@click.argument("words", nargs=-1, required=True, metavar="[job|node] NAME", shell_complete=names.nodes)
def why(words: tuple[str, ...]) -> None:
    """Say in plain words why a job or a node is as it is, and what ends that.

    Everything that is said was recorded by the cluster; the first line says where the thing stands.
    """
    asked = client()
    if len(words) == 2 and words[0] in NOUNS:
        noun, name = NOUNS[words[0]], words[1]
        data = asked.get(path(noun, _job(name) if noun == "jobs" else name) + "/why")
    elif len(words) == 1:
        data = _guessed(asked, words[0])
    else:
        raise CliError(
            Exit.USAGE, "one job or one node, please", hint="hamgr why job j-7, hamgr why node web-1"
        )
    show(settings().output, data, names=[data["name"]], text=_text(data))


def _job(name: str) -> str:
    return f"j-{name}" if name.isascii() and name.isdigit() else name


def _guessed(asked: "Client", name: str) -> Any:
    """Return the answer for what `name` can only be: a job where it looks like one, else a node."""
    if JOB.match(name):
        try:
            return asked.get(path("jobs", _job(name)) + "/why")
        except ApiError as error:
            if error.problem_code != "no-such-job":
                raise
            refused = error
        try:
            return asked.get(path("nodes", name) + "/why")
        except ApiError as error:
            raise (refused if error.problem_code == "no-such-node" else error) from error
    return asked.get(path("nodes", name) + "/why")


def _text(data: Mapping[str, Any]) -> str:
    first, *causes = data["causes"]
    lines = [clean(first["message"]) + _times(first)]
    for cause in causes:
        lines.append(f"- {clean(cause['message'])}{_times(cause)}")
        lines += [f"    | {clean(line)}" for line in cause["output"].splitlines()]
        if cause["way_out"]:
            lines.append(f"    try: {clean(cause['way_out'])}")
    return "\n".join(lines)


def _times(cause: Mapping[str, Any]) -> str:
    told = [f"{ago(cause['since'])} ago"] if cause["since"] else []
    told += [f"until {clock(cause['until'])}"] if cause["until"] else []
    return f"  ({', '.join(told)})" if told else ""
