"""`hamgrd check-config`: a configuration with all that it names."""

from pathlib import Path

import click

from hamgr import config, tokens
from hamgr.commands.endings import EXIT_CONFIGURATION, FILE, fail
from hamgr.config import ConfigError
from hamgr.membership import credentials_of, raft_settings
from hamgr.raft.port import CannotStart


@click.command("check-config")
@click.argument("path", type=FILE)
def check_config(path: Path) -> None:
    """Read a configuration, and the certificate and token that it names; say what is wrong with them.

    Example: hamgrd check-config /etc/hamgr/hamgrd.yaml
    """
    try:
        settings = config.load(path)
        tokens.load(settings.token_file)
        credentials = credentials_of(settings)
        owner = credentials.identity()
        credentials.server_context()
        raft_settings(settings, owner, version="")
    except (ConfigError, CannotStart) as error:
        fail(error, EXIT_CONFIGURATION)
    click.echo(
        f"{path}: replica {settings.name} ({owner.id}) with {len(settings.others)} others; "
        f"its certificate is good until {owner.not_after:%Y-%m-%d}; nothing to complain about"
    )
