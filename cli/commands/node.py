"""hamgr node: the group, and the commands that only look."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from cli.exits import CliError, Exit
from cli.lazy import LazyGroup
from cli.options import Leaf, client, node_name, settings
from cli.output import Column, ago, clock, describe, short, show

if TYPE_CHECKING:
    from cli.client import Client

PAGE = 500

LAZY = {
    "add": ("cli.commands.node_edit:add", "Make a node known before anybody has seen it."),
    "edit": ("cli.commands.node_edit:edit", "Change labels, variables or role."),
    "maintenance": ("cli.commands.node_edit:maintenance", "Put nodes into maintenance, or take them out."),
    "forget": ("cli.commands.node_edit:forget", "Strike nodes from the inventory."),
    "drain": ("cli.commands.node_rest:drain", "Take the load off nodes, and keep jobs away from them."),
    "undrain": ("cli.commands.node_rest:undrain", "Give nodes their load back, and prove that they work."),
    "forgive": ("cli.commands.node_rest:forgive", "Let nodes serve that owe an upgrade."),
    "replace": ("cli.commands.node_rest:replace", "Put another machine in the place of a node."),
    "commission": ("cli.commands.node_work:commission", "Configure nodes and put them to work."),
    "upgrade": ("cli.commands.node_work:upgrade", "Bring nodes in service to a newer bundle, in waves."),
    "rollback": ("cli.commands.node_work:rollback", "Bring nodes back to a bundle that you name."),
    "verify": ("cli.commands.node_work:verify", "Look whether nodes are as they should be."),
    "decommission": ("cli.commands.node_work:decommission", "Take nodes out of service."),
}


@click.group(cls=LazyGroup, lazy=LAZY)
def node() -> None:
    """Nodes: what there is, and everything that can be done to them."""


def _note(item: Any) -> str:
    cordon, debt = item["maintenance"], item.get("debt")  # an older server says nothing of debts
    if cordon:
        end = f" until {clock(cordon['until'])}" if cordon["until"] else ""
        return f"maintenance by {cordon['owner']}{end}: {cordon['reason']}"
    if debt:
        why = f", and failed to pay: {debt['error']}" if debt["error"] else ""
        return f"owes {short(debt['bundle'])} of {debt['job']}{why}"
    return str(item["error"] or (item["presence_reason"] if item["presence"] != "reachable" else ""))


def _presence(item: Any) -> str:
    """Return the presence, and since when where that matters; an older server does not say."""
    since = item.get("presence_since")
    since_then = f"({ago(since)})" if since and item["presence"] != "reachable" else ""
    return f"{item['presence']}{since_then}"


COLUMNS = (
    Column("NAME", lambda n: n["name"]),
    Column("STATUS", lambda n: n["status"]),
    Column("PRESENCE", _presence),
    Column("HEALTH", lambda n: n["health"]),
    Column("ROLE", lambda n: n["role"]),
    Column("JOB", lambda n: n["job"]),
    Column("NOTE", _note),
    Column("ADDRESS", lambda n: f"{n['address']}:{n['port']}", wide=True),
    Column("BUNDLE", lambda n: short(n["bundle"]), wide=True),
    Column("SEEN", lambda n: ago(n["seen_at"]), wide=True),
    Column("LABELS", lambda n: ",".join(f"{k}={v}" for k, v in n["labels"].items()), wide=True),
)


def every_node(asked: "Client", selector: str) -> Iterator[dict[str, Any]]:
    """Yield the nodes that `selector` names, page by page."""
    following: str | None = ""
    while following is not None:
        page = asked.get("/v1/nodes", selector=selector, limit=PAGE, **{"continue": following})
        yield from page["items"]
        following = page["continue"]


@node.command(
    "ls",
    cls=Leaf,
    examples="""
    hamgr node ls
    hamgr node ls -l role=web,rack!=r1 -o wide
    hamgr node ls -l status=discovered -o name
    """,
)
@click.option("-l", "--selector", default="", help="Only these, e.g. role=web, rack!=r1, 'web-*'.")
def list_nodes(selector: str) -> None:
    """List the nodes."""
    items = list(every_node(client(), selector))
    show(settings().output, items, columns=COLUMNS, rows=items, names=[item["name"] for item in items])


@node.command("show", cls=Leaf, examples="hamgr node show web-1\nhamgr node show web-1 -o json")
@node_name
def show_node(node: str) -> None:
    """Show everything about a node, its history included."""
    data = client().get(path("nodes", node))
    show(settings().output, data, names=[data["name"]], text=describe(data))


@node.command("vars", cls=Leaf, examples="hamgr node vars web-1\nhamgr node vars web-1 --origin")
@node_name
@click.option("--origin", is_flag=True, help="Say for each value which layer it came from.")
def node_variables(node: str, *, origin: bool) -> None:
    """Show the variables that a node is configured with, what it was last asked for (`--set`) included."""
    data = client().get(path("nodes", node) + "/variables")
    rows = [
        {"path": name, "value": _at(data["values"], name), "origin": layer}
        for name, layer in data["origins"].items()
    ]
    columns = [Column("VARIABLE", lambda r: r["path"]), Column("VALUE", lambda r: r["value"])]
    if origin:
        columns.append(Column("FROM", lambda r: r["origin"]))
    shown = data if origin else data["values"]
    show(settings().output, shown, columns=columns, rows=rows, names=list(data["origins"]))


def _at(values: Any, dotted: str) -> Any:
    """Return the value at a dotted path; a key may itself contain dots."""
    if not dotted:
        return values
    for key, below in values.items():
        if dotted == key:
            return below
        if dotted.startswith(f"{key}.") and isinstance(below, dict):
            return _at(below, dotted[len(key) + 1 :])
    return None


def path(noun: str, name: str) -> str:
    """Return the path of one thing.

    Raises:
        CliError: No thing can have this name.
    """
    from urllib.parse import quote  # noqa: PLC0415 - loaded by then, and not by --help

    if not name or name in (".", ".."):
        raise CliError(Exit.USAGE, f"{name!r} is not a name")
    return f"/v1/{noun}/{quote(name, safe=':')}"
