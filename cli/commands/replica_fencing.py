"""hamgr replica fencing: whether the other one of two could be switched off."""

from collections.abc import Mapping
from typing import Any

import click

from cli import everywhere, jobs
from cli.exits import ApiError, CliError, Exit
from cli.lazy import LazyGroup
from cli.options import Leaf, settings
from cli.output import Column, ago, clean, note, show

LOOK_S = 10.0
TEST_S = 610.0
"""The longest that a fencing command may take, and a little more."""
NONE = "no fencing command (docs/voters.md)"

STATE = (
    Column("REPLICA", lambda r: r["replica"]),
    Column("COMMAND", lambda r: " ".join(r.get("command", ()))),
    Column("SWITCHES OFF", lambda r: r.get("other") or ""),
    Column("PASSED", lambda r: f"{ago(r['passed_at'])} ago" if r.get("passed_at") else ""),
    Column("TROUBLE", lambda r: clean(r["failure"])),
)
RESULTS = (
    Column("REPLICA", lambda r: r["replica"]),
    Column("SWITCHES OFF", lambda r: r["other"]),
    Column("RESULT", lambda r: "would" if r["ok"] else "FAILED"),
    Column("SAID", lambda r: clean(r["said"])),
)


@click.group(cls=LazyGroup)
def fencing() -> None:
    """Fencing commands, by which either of two voters goes on alone: show them, test them."""


@fencing.command(
    "ls", cls=Leaf, examples="hamgr replica fencing ls\nhamgr replica fencing ls -o json | jq .armed"
)
def ls() -> None:
    """Show each replica's command, when a test of it went well last, and whether fencing is armed.

    Ends with 1 when a command failed its last test, or a replica does not answer.
    """
    items: list[Mapping[str, Any]] = []
    for replica, answer in everywhere.each("GET", "/v1/fencing", timeout_s=LOOK_S):
        if isinstance(answer, CliError):
            items.append({"replica": replica, "failure": _said(answer)})
        else:
            items.append(answer)
    armed = any(item.get("armed") for item in items)
    failed = any(item["failure"] not in ("", NONE) for item in items)
    data = {"items": items, "armed": armed, "failed": failed}
    show(settings().output, data, columns=STATE, rows=items, names=[item["replica"] for item in items])
    note("fencing is armed: either of the two voters goes on alone" if armed else "fencing is not armed")
    jobs.end(Exit.FAILED if failed else Exit.OK)


@fencing.command("test", cls=Leaf, examples="hamgr replica fencing test")
def test() -> None:
    """Have each replica test its command on every other voter, now; nobody is switched off.

    Calls the command with `status`. Ends with 1 when one of them failed, or was not there to be tested.
    """
    items: list[Mapping[str, Any]] = []
    for replica, answer in everywhere.each("POST", "/v1/fencing:test", timeout_s=TEST_S):
        if isinstance(answer, CliError):
            items.append({"replica": replica, "other": "", "ok": False, "said": _said(answer)})
        else:
            items += [{"replica": replica, **item} for item in answer["items"]]
    failed = not items or not all(item["ok"] for item in items)
    data = {"items": items, "failed": failed}
    show(settings().output, data, columns=RESULTS, rows=items, names=[item["replica"] for item in items])
    if not items:
        note("there is no other voter to be switched off")
    jobs.end(Exit.FAILED if failed else Exit.OK)


def _said(error: CliError) -> str:
    lacks = isinstance(error, ApiError) and error.problem_code == "no-fencing"
    return NONE if lacks else error.message
