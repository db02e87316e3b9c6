"""`hamgrd renew-certificate`: what a running replica does by itself in time."""

from pathlib import Path

import click

from hamgr import config
from hamgr.commands.endings import CONFIG, EXIT_CONFIGURATION, FILE, fail
from hamgr.config import ConfigError


@click.command("renew-certificate")
@click.option(
    "--config", "path", type=FILE, default=CONFIG, show_default=True, help="The replica's configuration."
)
def renew_certificate(path: Path) -> None:
    """Have this replica's certificate signed anew, with the authority's key that is on this machine.

    A running replica does so by itself 60 days before the end. Reload it afterwards: links that are up stay.

    Example: hamgrd renew-certificate && systemctl reload hamgrd
    """
    from hamgr.renewal import renew  # noqa: PLC0415 - cryptography, which help need not wait for

    try:
        until = renew(config.load(path))
    except ConfigError as error:
        fail(error, EXIT_CONFIGURATION)
    click.echo(f"the certificate is good until {until:%Y-%m-%d}; now: systemctl reload hamgrd")
