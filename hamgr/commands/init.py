"""`hamgrd init`: the data folder of a new replica."""

from collections.abc import Sequence
from pathlib import Path

import click

from hamgr import config
from hamgr.commands.endings import CONFIG, EXIT_CONFIGURATION, FILE, fail
from hamgr.config import ConfigError
from hamgr.membership import credentials_of
from hamgr.raft.port import CannotStart
from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.store import identity


@click.command()
@click.option(
    "--config", "paths", type=FILE, multiple=True, default=[CONFIG], show_default=True,
    help="The replica's configuration; may be given more than once.",
)  # fmt: skip
def init(paths: Sequence[Path]) -> None:
    """Make the data folder of a new replica, once.

    A replica whose folder is gone, or is another one than its peers know, is refused: it would have forgotten
    what it promised. It is removed from the cluster and comes back as a new replica with a new certificate.

    \b
    Examples:
      hamgrd init
      hamgrd init --config r1.yaml --config r2.yaml --config r3.yaml
    """
    for path in paths:
        try:
            settings = config.load(path)
            owner = credentials_of(settings).identity()
            identity.create(settings.raft_dir, cluster=owner.cluster, replica=ReplicaId(owner.id))
        except ConfigError as error:
            fail(error, EXIT_CONFIGURATION)
        except CannotStart as error:
            fail(error)
        click.echo(
            f"{settings.raft_dir}: made for replica {settings.name}; start it: hamgrd run --config {path}"
        )
