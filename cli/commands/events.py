"""hamgr events: what happened, and what happens now."""

import json
import re
import time
from collections.abc import Mapping
from typing import Any

import click

from cli.commands.node_edit import seconds
from cli.exits import CliError, Exit
from cli.options import Leaf, client, settings
from cli.output import Column, clean, clock, short, show
from cli.stream import follow

CURSOR = re.compile(r"[0-9]+(\.[0-9]+)?\Z")
BACKLOG = 10
"""How many events `-w` shows before it waits for new ones."""


def _subject(item: Mapping[str, Any]) -> str:
    subject = str(item["subject"])
    return short(subject) if subject.startswith("sha256:") else subject


COLUMNS = (
    Column("TIME", lambda e: clock(e["at"])),
    Column("KIND", lambda e: e["kind"]),
    Column("SUBJECT", _subject),
    Column("MESSAGE", lambda e: e["message"]),
    Column("JOB", lambda e: e["job"], wide=True),
    Column("ACTOR", lambda e: e["actor"], wide=True),
    Column("CURSOR", lambda e: e["cursor"], wide=True),
)


@click.command(
    cls=Leaf,
    examples="""
    hamgr events --since 10m
    hamgr events -w
    hamgr events -w --since 812.0 -o json       # one object a line; goes on after that cursor
    """,
)
@click.option("-w", "--watch", is_flag=True, help="Go on with new ones until Ctrl-C.")
@click.option("--since", default="", metavar="CURSOR|DURATION", help="After an event's cursor, or e.g. 10m.")
@click.option("--limit", type=click.IntRange(1, 2_048), help="At most this many of the past.")
def events(since: str, limit: int | None, *, watch: bool) -> None:
    """What happened in the cluster, the newest last."""
    cursor = since if CURSOR.match(since) else ""
    oldest = time.time() - seconds(since) if since and not cursor else 0.0
    asked, fmt = client(), settings().output
    limit = limit or (BACKLOG if watch and not since else None)
    page = asked.get("/v1/events", follow="0", since=cursor, limit=limit)
    items = [item for item in page["items"] if item["at"] >= oldest]
    if not watch:
        show(fmt, items, columns=COLUMNS, rows=items, names=[item["cursor"] for item in items])
        return
    for item in items:
        _print(fmt, item)
    try:
        for message in follow(asked, "/v1/events", {"since": page["next"]}, last_id=page["next"]):
            _print(fmt, message.data)
    except KeyboardInterrupt as stop:
        raise CliError(Exit.DETACHED, "stopped watching") from stop


def _print(fmt: str, item: Mapping[str, Any]) -> None:
    if fmt in ("json", "yaml"):
        click.echo(json.dumps(item))
    elif fmt == "name":
        click.echo(item["cursor"])
    else:
        job = f"  ({item['job']})" if fmt == "wide" and item["job"] else ""
        click.echo(clean(f"{clock(item['at'])}  {item['kind']:<16} {_subject(item)}  {item['message']}{job}"))
