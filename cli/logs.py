"""Printing a job's log: whole lines, none twice, whatever became of the server in between."""

import json
import sys

import click

from cli.client import Client
from cli.output import clean, note
from cli.stream import follow as read_stream

Attempt = tuple[str, str, int]


def print_log(client: Client, path: str, *, node: str, follow: bool, fmt: str) -> None:
    """Print the log to standard output; with `-o json` one object a line, as it came."""
    query = {key: value for key, value in (("node", node), ("follow", "1" if follow else "")) if value}
    seen: dict[Attempt, int] = {}
    rest: dict[Attempt, str] = {}
    for message in read_stream(client, path, query):
        if message.kind != "log":
            continue
        line = message.data
        attempt = (line["node"], line["step"], line["attempt"])
        end = line["offset"] + line["bytes"]
        if end <= seen.get(attempt, 0):
            continue  # the stream came from another server, which began again
        seen[attempt] = end
        if fmt == "json":
            click.echo(json.dumps(line))
            continue
        if line["note"]:
            note(f"{clean(line['node'])}: {clean(line['note'])}")
        *whole, rest[attempt] = (rest.get(attempt, "") + line["data"]).split("\n")
        for text in whole:
            _print(attempt, text)
    for attempt, text in rest.items():
        if text:
            _print(attempt, text)


def _print(attempt: Attempt, text: str) -> None:
    # A pipe gets what the node printed; a terminal gets nothing that could move its cursor.
    shown = clean(text) if sys.stdout.isatty() else text
    click.echo(f"{clean(attempt[0])} {clean(attempt[1])} | {shown}")
