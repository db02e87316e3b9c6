"""hamgr discover: find machines at addresses, in ranges, and in the lists that people have."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from cli import jobs
from cli.exits import ApiError, CliError, Exit
from cli.inventories.files import FORMATS, read, text_of
from cli.inventories.hosts import Host
from cli.inventories.table import addresses as listed
from cli.lazy import LazyGroup
from cli.options import Leaf, client, pairs, settings
from cli.output import Column, grey, note, show

F = TypeVar("F", bound=Callable[..., Any])

MDNS_ROOM_S = 15.0
"""For what surrounds the listening: the answers' addresses, and another client's turn."""
EXIT_CODE = "With --dry-run: exit 10 when something would be done."


class Discover(LazyGroup):
    """A group that takes addresses where a command's name could stand."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = not args or args[0] in self.commands or args[0] in ("-h", "--help")
        return super().parse_args(ctx, args if named else ["addresses", *args])


@click.group(
    cls=Discover, epilog="`hamgr discover 10.0.0.7 10.0.0.0/24` means `hamgr discover addresses ...`."
)
def discover() -> None:
    """Find machines over SSH; what answers becomes a node. Nothing on the machines is changed."""


def _options(function: F) -> F:
    """Add what all ways to discover have."""
    options = (
        click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Given to what is found."),
        click.option("--readmit", is_flag=True, help="Take machines back that were forgotten."),
        click.option("--max-parallel", type=click.IntRange(1), help="How many at once."),
        click.option("--reason", default="", help="Kept with the job."),
        click.option("--dry-run", is_flag=True, help="Only say what would be done."),
        click.option("--exit-code", is_flag=True, help=EXIT_CODE),
        click.option("--detach", is_flag=True, help="Do not wait for the end."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _ssh(function: F) -> F:
    """Add where and as whom SSH is spoken, for addresses that do not say so."""
    ports = click.IntRange(1, 65_535)
    port = click.option("--port", type=ports, default=22, show_default=True, help="SSH port.")
    return port(click.option("--user", default="root", show_default=True, help="SSH user.")(function))


def _body(addresses: Sequence[str], port: int, user: str, asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "discover",
        "addresses": list(addresses),
        "port": port,
        "user": user,
        "labels": pairs(asked["labels"], "--label"),
        "readmit": asked["readmit"],
        "max_parallel": asked["max_parallel"] or 0,
        "reason": asked["reason"],
    }


def _go(body: dict[str, Any], asked: dict[str, Any]) -> Exit:
    """Try a discovery out, or submit it and watch it."""
    server, fmt = client(), settings().output
    if asked["dry_run"]:
        return jobs.show_preview(fmt, jobs.preview(server, body), exit_code=asked["exit_code"])
    return jobs.submit(server, body, fmt, detach=asked["detach"])


@discover.command(
    "addresses",
    cls=Leaf,
    examples="""
    hamgr discover 10.0.0.7 10.0.0.8:2222
    hamgr discover 10.0.0.0/24 --user ops --label rack=r1
    hamgr discover 10.0.0.0/24 --dry-run        # the addresses that would be probed
    """,
)
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@_ssh
@_options
def addresses_(addresses: tuple[str, ...], port: int, user: str, **asked: Any) -> None:
    """Probe addresses, host names or ranges."""
    jobs.end(_go(_body(addresses, port, user, asked), asked))


@discover.command(
    "cidr",
    cls=Leaf,
    examples="""
    hamgr discover cidr 10.0.0.0/24
    hamgr discover cidr 10.0.0.0/24 10.0.1.0/24 --label site=x --max-parallel 64
    """,
)
@click.argument("ranges", nargs=-1, required=True, metavar="RANGE...")
@_ssh
@_options
def cidr(ranges: tuple[str, ...], port: int, user: str, **asked: Any) -> None:
    """Probe every address of ranges but network and broadcast; one that is silent is no failure."""
    for text in ranges:
        if "/" not in text:
            raise CliError(Exit.USAGE, f"{text} is not a range", hint="write it like 10.0.0.0/24")
    jobs.end(_go(_body(ranges, port, user, asked), asked))


@discover.command(
    "list",
    cls=Leaf,
    examples="""
    hamgr discover list hosts.txt
    getent ahostsv6 db.example.org | awk '{print $1}' | hamgr discover list -
    """,
)
@click.argument("file", metavar="FILE")
@_ssh
@_options
def list_(file: str, port: int, user: str, **asked: Any) -> None:
    """Probe the addresses of a file, one a line, IPv6 too; `-` is standard input."""
    found = listed(text_of(file))
    if not found:
        raise CliError(Exit.USAGE, f"{file}: has no address")
    jobs.end(_go(_body(found, port, user, asked), asked))


@discover.command(
    "mdns",
    cls=Leaf,
    examples="""
    hamgr discover mdns
    hamgr discover mdns --seconds 10 --user ops --label site=x
    hamgr discover mdns --dry-run               # who announces itself
    """,
)
@click.option(
    "--seconds", type=click.IntRange(1, 30), default=5, show_default=True, help="How long to listen."
)
@click.option("--user", default="root", show_default=True, help="SSH user.")
@_options
def mdns(seconds: int, user: str, **asked: Any) -> None:
    """Probe what announces SSH (_ssh._tcp) by multicast DNS on the networks of the replica that is asked."""
    grey(f"listening for {seconds} s ...")
    room_s = seconds + MDNS_ROOM_S
    asked_of = client(timeout_s=max(room_s, settings().timeout_s))
    found = asked_of.call("GET", "/v1/neighbours", query={"seconds": seconds}, try_timeout_s=room_s).data
    if not found["items"]:
        raise CliError(
            Exit.FAILED,
            f"nobody announces SSH on the networks of replica {found['replica']}",
            hint="listen for longer, ask another replica, or name a range: hamgr discover cidr",
        )
    places = [_bracketed(one["address"], one["port"]) for one in found["items"]]
    jobs.end(_go(_body(places, 22, user, asked), asked))


@discover.command(
    "import",
    cls=Leaf,
    examples="""
    hamgr discover import inventory.ini
    hamgr discover import hosts.csv --dry-run
    hamgr discover import - --format yaml --user ops
    """,
)
@click.argument("file", metavar="FILE")
@click.option("--format", "form", type=click.Choice(FORMATS), help="By default told by the file.")
@click.option("--user", default="root", show_default=True, help="Where the file names none.")
@_options
def import_(file: str, form: str | None, user: str, **asked: Any) -> None:
    """Make the hosts of an Ansible inventory (INI, YAML) or a CSV file known, and discover them.

    Groups become labels `group/NAME`; names, addresses, ports and users are taken, other variables are not.
    """
    hosts = read(file, form or "")
    more = pairs(asked["labels"], "--label")
    if asked["dry_run"]:
        _show(hosts, user)
        jobs.end(Exit.PENDING if asked["exit_code"] else Exit.OK)
    failed = _add(hosts, user, more)
    ends = [Exit.PARTLY] if failed else []
    known = [host for host in hosts if host.name not in failed]
    for one in sorted({host.user or user for host in known}):
        where = [_place(host) for host in known if (host.user or user) == one]
        ends.append(_go(_body(where, 22, one, {**asked, "labels": ()}), asked))
    jobs.end(max(ends, default=Exit.FAILED))


def _place(host: Host) -> str:
    return _bracketed(host.address, host.port)


def _bracketed(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _show(hosts: Sequence[Host], user: str) -> None:
    rows = [
        {
            "name": host.name,
            "address": _place(host),
            "user": host.user or user,
            "role": host.role,
            "labels": dict(host.labels),
        }
        for host in hosts
    ]
    columns = (
        Column("NAME", lambda r: r["name"]),
        Column("ADDRESS", lambda r: r["address"]),
        Column("USER", lambda r: r["user"]),
        Column("ROLE", lambda r: r["role"]),
        Column("LABELS", lambda r: ",".join(f"{k}={v}" for k, v in r["labels"].items())),
    )
    show(settings().output, rows, columns=columns, rows=rows, names=[host.name for host in hosts])


def _add(hosts: Sequence[Host], user: str, more: dict[str, str]) -> set[str]:
    """Make hosts known; return the names of those that could not be, each of which is told."""
    server = client()
    failed: set[str] = set()
    for host in hosts:
        body = {
            "name": host.name,
            "address": host.address,
            "port": host.port,
            "user": host.user or user,
            "labels": {**host.labels, **more},
            "role": host.role,
        }
        try:
            server.call("POST", "/v1/nodes", body=body)
        except ApiError as error:
            if error.problem_code != "identity":  # that one is known by this name already
                failed.add(host.name)
                note(f"{host.name}: {error.message}")
    return failed
