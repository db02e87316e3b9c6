"""`hamgrd check`: what a stopped replica has stored."""

import json
import sys
from pathlib import Path

import click

from hamgr.commands.endings import EXIT_DAMAGED, FILE, JSON_OR_TEXT
from hamgr.raft.store.check import examine


@click.command()
@click.argument("directory", type=FILE)
@click.option("-o", "--output", type=JSON_OR_TEXT, default="text", show_default=True)
def check(directory: Path, output: str) -> None:
    """Read what a stopped replica has stored in DIRECTORY, and say what can be trusted. Changes nothing.

    Ends with status 65 when something is damaged, and with 1 when the replica runs.

    \b
    Examples:
      hamgrd check /var/lib/hamgr
      hamgrd check /var/lib/hamgr -o json | jq .damages
    """
    report = examine(directory)
    click.echo(json.dumps(report.to_dict(), indent=2) if output == "json" else "\n".join(report.lines()))
    if report.running:
        sys.exit(1)
    if report.damages:
        sys.exit(EXIT_DAMAGED)
