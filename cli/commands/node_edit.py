"""hamgr node add, edit, maintenance, forget: what an operator says of a node."""

import time

import click

from cli import jobs
from cli.commands.node import path
from cli.exits import CliError, Exit
from cli.options import Leaf, client, confirm, node_name, node_names, pairs, settings, variables, yes_option
from cli.output import note, show

UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def _done(name: str, data: dict[str, object], sentence: str) -> None:
    show(settings().output, data, names=[name], text=f"{name} {sentence}")


@click.command(
    cls=Leaf,
    examples="""
    hamgr node add web-7 10.0.0.17
    hamgr node add web-8 10.0.0.18 --port 2222 --user ops --label rack=r2 --role web
    """,
)
@click.argument("name")
@click.argument("address")
@click.option("--port", type=click.IntRange(1, 65_535), default=22, show_default=True, help="SSH port.")
@click.option("--user", default="root", show_default=True, help="SSH user.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="A variable of this node.")
@click.option("--role", default="", help="What the node is for.")
def add(
    name: str, address: str, port: int, user: str, labels: tuple[str, ...], sets: tuple[str, ...], role: str
) -> None:
    """Make a node known before anybody has seen it; `hamgr discover` then finds it."""
    body = {
        "name": name,
        "address": address,
        "port": port,
        "user": user,
        "labels": pairs(labels, "--label"),
        "variables": variables(sets),
        "role": role,
    }
    _done(name, client().call("POST", "/v1/nodes", body=body).data, "is known")


@click.command(
    cls=Leaf,
    examples="""
    hamgr node edit web-1 --label rack=r3 --unlabel old
    hamgr node edit web-1 --set http.port=8081 --unset http.debug
    hamgr node edit web-1 --role gateway --if-match 812
    """,
)
@node_name
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Set a label.")
@click.option("--unlabel", "unlabels", multiple=True, metavar="KEY", help="Remove a label.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Set a variable; a.b=1 nests.")
@click.option("--unset", "unsets", multiple=True, metavar="KEY", help="Remove a variable of this node.")
@click.option("--role", help="What the node is for.")
@click.option("--if-match", type=int, metavar="INDEX", help="Only if it has not changed since.")
def edit(
    node: str,
    labels: tuple[str, ...],
    unlabels: tuple[str, ...],
    sets: tuple[str, ...],
    unsets: tuple[str, ...],
    role: str | None,
    if_match: int | None,
) -> None:
    """Change labels, variables or role."""
    body: dict[str, object] = {}
    if labels or unlabels:
        body["labels"] = {**pairs(labels, "--label"), **dict.fromkeys(unlabels, "")}
    if sets or unsets:
        body["variables"] = variables(sets, unsets)
    if role is not None:
        body["role"] = role
    if not body:
        raise CliError(Exit.USAGE, "nothing to change", hint="give --label, --set or --role")
    headers = {} if if_match is None else {"If-Match": f'"{if_match}"'}
    data = client().call("PATCH", path("nodes", node), body=body, headers=headers).data
    _done(node, data, "is changed")


@click.command(
    cls=Leaf,
    examples="""
    hamgr node maintenance on web-1 web-2 --reason "new DIMM" --for 2h
    hamgr node maintenance off web-1
    """,
)
@click.argument("words", nargs=-1, required=True, metavar="on|off NODE...")
@click.option("--reason", default="", help="Needed for `on`; shown to everybody who meets the node.")
@click.option("--for", "for_", metavar="DURATION", help="Ends by itself, e.g. 30m, 2h, 1d.")
def maintenance(words: tuple[str, ...], reason: str, for_: str | None) -> None:
    """Put nodes into maintenance, or take them out; no job touches a node in maintenance."""
    given = list(words)
    place = 0 if given[0] in ("on", "off") else -1
    switch = given.pop(place)
    if switch not in ("on", "off") or not given:
        raise CliError(Exit.USAGE, "say on or off, and which nodes", hint="hamgr node maintenance on NODE")
    if switch == "on" and not reason:
        raise CliError(Exit.USAGE, "maintenance needs a reason", hint='--reason "new DIMM"')
    asked = client()
    until = time.time() + seconds(for_) if for_ else None
    for name in given:
        target = path("nodes", name) + "/maintenance"
        if switch == "on":
            data = asked.call("PUT", target, body={"reason": reason, "until": until}).data
        else:
            data = asked.call("DELETE", target).data
        _done(name, data, "is in maintenance" if switch == "on" else "is out of maintenance")


def seconds(text: str) -> float:
    """Return a duration like 90s, 30m, 2h or 1d in seconds.

    Raises:
        CliError: It is none.
    """
    number, unit = text[:-1], text[-1:]
    if number.isascii() and number.isdigit() and unit in UNITS_S and len(number) < 8:
        return float(number) * UNITS_S[unit]
    raise CliError(Exit.USAGE, f"{text!r} is not a duration", hint="write for example 90s, 30m, 2h or 1d")


@click.command(
    cls=Leaf,
    examples="""
    hamgr node forget web-9
    hamgr node forget web-9 --force --yes       # although it is in service
    """,
)
@node_names
@click.option("--force", is_flag=True, help="Although it is in service; nothing on it is cleaned up.")
@click.option("--dry-run", is_flag=True, help="Only say whether it would be possible.")
@yes_option
def forget(nodes: tuple[str, ...], *, force: bool, dry_run: bool, yes: bool) -> None:
    """Strike nodes from the inventory; they do not come back unless discovery is told to readmit them."""
    if not nodes:
        raise CliError(Exit.USAGE, "which nodes?", hint="hamgr node forget NODE...")
    asked = client()
    names = list(dict.fromkeys(nodes))
    for name in names:
        found = asked.get(path("nodes", name))
        note(f"  {name}: {found['status']}{', role ' + found['role'] if found['role'] else ''}")
        asked.call("DELETE", path("nodes", name), query={"force": force, "dry_run": True})
    if dry_run:
        jobs.end(Exit.OK)
    confirm(
        f"Forget {len(names)} node{'s' if len(names) > 1 else ''}?",
        yes=yes,
        word=str(len(names)) if len(names) > 1 else "",
    )
    for name in names:
        _done(name, asked.call("DELETE", path("nodes", name), query={"force": force}).data, "is forgotten")
