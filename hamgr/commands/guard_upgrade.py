"""`hamgrd guard-upgrade`: the process beside a replica that gives it a new release, or takes that back."""

import logging
import sys
from pathlib import Path

import click

from hamgr.commands.endings import EXIT_CONFIGURATION, fail
from hamgr.config import ConfigError


@click.command("guard-upgrade")
@click.argument("data_dir", type=click.Path(file_okay=False, path_type=Path))
def guard_upgrade(data_dir: Path) -> None:
    """Do what the replica's order in DATA_DIR says; nothing when there is none. systemd starts this.

    Example: hamgrd guard-upgrade /var/lib/hamgr
    """
    from hamgr.upgrade import guard  # noqa: PLC0415 - it imports what help does not need

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    try:
        guard.run(data_dir)
    except ConfigError as error:
        fail(error, EXIT_CONFIGURATION)
    except OSError as error:
        fail(error)
