"""`hamgrd doctor`: what could go wrong with the replica of this machine."""

import json
import sys
from pathlib import Path

import click

from hamgr import config
from hamgr.commands.endings import CONFIG, FILE, JSON_OR_TEXT
from hamgr.config import ConfigError


@click.command()
@click.option(
    "--config", "path", type=FILE, default=CONFIG, show_default=True, help="The replica's configuration."
)
@click.option("-o", "--output", type=JSON_OR_TEXT, default="text", show_default=True)
def doctor(path: Path, output: str) -> None:
    """Look at this machine's replica and at the others: files, addresses, disk, clocks, versions.

    Changes nothing. Ends with 1 when something fails; warnings are for you to judge.

    \b
    Examples:
      hamgrd doctor
      hamgrd doctor -o json | jq '.[] | select(.level != "ok")'
    """
    from hamgr.doctor import around, local  # noqa: PLC0415 - what help need not wait for
    from hamgr.doctor.findings import Level, fail, worst  # noqa: PLC0415 - as above

    try:
        settings = config.load(path)
        found = list(local.findings(settings, running=around.runs(settings)))
        found += around.findings(settings, around.others(settings))
    except ConfigError as error:
        found = [fail("configuration", line, "correct it") for line in str(error).splitlines()]
    if output == "json":
        click.echo(json.dumps([finding.to_dict() for finding in found], indent=2))
    else:
        for finding in found:
            click.echo(finding.line())
    sys.exit(1 if worst(found) is Level.FAIL else 0)
