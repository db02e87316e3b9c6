"""`hamgrd recover`: a cluster whose majority is lost for good begins again from what its survivors have."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from hamgr.commands.endings import CONFIG, EXIT_CONFIGURATION, FILE, JSON_OR_TEXT, fail
from hamgr.config import ConfigError


@click.command()
@click.option(
    "--config", "path", type=FILE, default=CONFIG, show_default=True, help="The replica's configuration."
)
@click.option("--report", is_flag=True, help="Only say what this survivor has, for the others.")
@click.option(
    "--with", "others", type=FILE, multiple=True, metavar="FILE",
    help="What another survivor has said with --report. Once for each.",
)  # fmt: skip
@click.option("-o", "--output", type=JSON_OR_TEXT, default="text", show_default=True)
def recover(path: Path, report: bool, others: Sequence[Path], output: str) -> None:
    """Compare what the survivors of a lost majority have, and say which one is to be used. Changes nothing.

    Stop the replica first, on every survivor. See docs/recover.md.

    \b
    Examples:
      hamgrd recover --report > r2.json
      hamgrd recover --with r2.json
    """
    from hamgr.raft.port import CannotStart  # noqa: PLC0415 - what help need not wait for
    from hamgr.recovery import case, telling  # noqa: PLC0415 - as above
    from hamgr.recovery.survivor import CannotRecover  # noqa: PLC0415 - as above

    try:
        here = case.Here.read(path)
        if report:
            click.echo(here.survivor.encode(), nl=False)
            return
        found = here.compared(others)
        answers = here.looked(found)
    except ConfigError as error:
        fail(error, EXIT_CONFIGURATION)
    except (CannotRecover, CannotStart) as error:
        fail(error)
    if output == "json":
        click.echo(json.dumps(telling.told(found, answers), indent=2))
    else:
        click.echo("\n".join(telling.lines(found, answers)))
