"""hamgr replica promote, demote, target, rest, domain: which replicas vote, and what is known of them."""

from typing import Any

import click

from cli import names
from cli.commands.replica import survived
from cli.options import Leaf, client, confirm, settings, yes_option
from cli.output import show

ONE = click.argument("name", shell_complete=names.replicas)
UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def _path(name: str, verb: str = "") -> str:
    from urllib.parse import quote  # noqa: PLC0415 - only what is sent needs it

    return f"/v1/replicas/{quote(name, safe='')}{verb}"


def _span(_ctx: click.Context, _parameter: click.Parameter, text: str) -> float:
    try:
        return float(text[:-1]) * UNITS_S[text[-1:]]
    except (ValueError, KeyError) as error:
        raise click.BadParameter(f"{text!r} is no time; write 30m, 2h or 1d") from error


def _lowers(plan: Any) -> bool:
    """Return whether less is survived afterwards."""
    before, after = plan["before"], plan["after"]
    return bool(after["survives"] < before["survives"] or after.get("also") != before.get("also"))


def _show_and_ask(plan: Any, question: str, *, yes: bool) -> None:
    survived(plan["before"], "before  ")
    survived(plan["after"], "after   ")
    if _lowers(plan):
        confirm(question, yes=yes)


@click.command(cls=Leaf, examples="hamgr replica promote r4")
@ONE
def promote(name: str) -> None:
    """Give a standby a vote, and let the autopilot give it one from now on."""
    data = client().call("POST", _path(name, ":promote")).data
    survived(data["after"])
    show(settings().output, data, names=[name], text=f"{name} is a voter")


@click.command(cls=Leaf, examples="hamgr replica demote r2\nhamgr replica demote r2 --yes -o json")
@ONE
@yes_option
def demote(name: str, *, yes: bool) -> None:
    """Make a voter a standby that stays one until it is promoted; a leader hands leadership over first."""
    asked = client()
    plan = asked.call("POST", _path(name, ":demote"), query={"dry_run": True}).data
    _show_and_ask(plan, f"Take the vote of {name}?", yes=yes)
    data = asked.call("POST", _path(name, ":demote")).data
    show(settings().output, data, names=[name], text=f"{name} is a standby")


@click.command(cls=Leaf, examples="hamgr replica target 3\nhamgr replica target 5 --yes")
@click.argument("count", type=click.Choice(["1", "3", "5", "7"]))
@yes_option
def target(count: str, *, yes: bool) -> None:
    """Say how many replicas should vote; the autopilot brings it about, one by one, as there are standbys."""
    asked, body = client(), {"target": int(count)}
    plan = asked.call("PUT", "/v1/electorate", query={"dry_run": True}, body=body).data
    _show_and_ask(plan, f"Have {count} voters?", yes=yes)
    data = asked.call("PUT", "/v1/electorate", body=body).data
    show(settings().output, data, names=[count], text=f"up to {count} replicas vote")


@click.command(
    cls=Leaf,
    examples="""
    hamgr replica rest r2 --for 2h --reason "new memory"
    hamgr replica rest r2 --end
    """,
)
@ONE
@click.option(
    "--for", "rest_s", default="1h", show_default=True, metavar="TIME", callback=_span, help="30m, 2h, 1d."
)
@click.option("--reason", default="", help="Shown in the list of replicas.")
@click.option("--end", is_flag=True, help="It is back.")
def rest(name: str, *, rest_s: float, reason: str, end: bool) -> None:
    """Say that a replica will be away, so that it keeps its vote although it is silent.

    Nothing is made to stand in for it: the others must do without it, and it is not called dead.
    """
    body = {"rest_s": 0.0 if end else rest_s, "rest_reason": "" if end else reason}
    data = client().call("PATCH", _path(name), body=body).data
    text = (
        f"{name} is back"
        if end
        else f"{name} keeps its vote for {rest_s / 60:g} minutes, though it may be away"
    )
    show(settings().output, data, names=[name], text=text)


@click.command(cls=Leaf, examples="hamgr replica domain r1 rack-7\nhamgr replica domain r1 --none")
@ONE
@click.argument("where", default="")
@click.option("--none", "nowhere", is_flag=True, help="It is in no failure domain that is known.")
def domain(name: str, where: str, *, nowhere: bool) -> None:
    """Say in which failure domain (rack, room, site) a replica is; voters are spread over them."""
    if bool(where) == nowhere:
        raise click.UsageError("name the failure domain, or say --none")
    data = client().call("PATCH", _path(name), body={"domain": where}).data
    text = f"{name} is in {where}" if where else f"{name} is in no failure domain"
    show(settings().output, data, names=[name], text=text)
