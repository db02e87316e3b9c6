"""`hamgrd init`: a new cluster of one replica; with --config, the data folder of a replica made by hand."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hamgr import config
from hamgr.commands.endings import EXIT_CONFIGURATION, FILE, JSON_OR_TEXT, fail
from hamgr.commands.places import name_of, place_options, places_of
from hamgr.config import HTTPS, ConfigError
from hamgr.membership import credentials_of
from hamgr.raft.port import CannotStart
from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.settings import InvalidSettings, check_address
from hamgr.raft.store import identity

if TYPE_CHECKING:
    from hamgr.bootstrap import founding


@click.command()
@click.option("--name", default="", callback=name_of, help="Of the replica.  [default: the host's name]")
@click.option("--address", default="", help="Of this machine.  [default: the one of its default route]")
@click.option("--raft-port", type=click.IntRange(1, 65_535), default=7001, show_default=True)
@click.option("--api-port", type=click.IntRange(1, 65_535), default=7080, show_default=True)
@place_options
@click.option(
    "--config", "paths", type=FILE, multiple=True,
    help="Only make the data folder of a replica that is configured by hand; may be given more than once.",
)  # fmt: skip
@click.option("-o", "--output", type=JSON_OR_TEXT, default="text", show_default=True)
def init(
    name: str,
    address: str,
    raft_port: int,
    api_port: int,
    config_dir: Path,
    data_dir: Path,
    unit: Path,
    *,
    no_unit: bool,
    start: bool,
    paths: Sequence[Path],
    output: str,
) -> None:
    """Make a new cluster of one replica on this machine: authority, certificate, tokens, keys, systemd unit.

    Prints the admin's API token and the backup key, once: only a hash of the token is kept. Further replicas
    come with `hamgr replica add HOST`, or with `hamgrd join` on their machines.

    A replica whose folder is gone, or is another one than its peers know, is refused: it would have forgotten
    what it promised. It is removed from the cluster and joins as a new one.

    \b
    Examples:
      hamgrd init --start
      hamgrd init --name r1 --address 10.0.0.1 --start
      hamgrd init --config r1.yaml --config r2.yaml --config r3.yaml
    """
    if paths:
        for path in paths:
            _make_folder(path)
        return
    from hamgr.bootstrap import founding, service  # noqa: PLC0415 - cryptography, which help need not wait for
    from hamgr.bootstrap.places import CannotBegin, own_address, own_name, with_port  # noqa: PLC0415 - as above

    places = places_of(config_dir, data_dir, unit, no_unit=no_unit)
    try:
        host = address or own_address()
        raft, api = with_port(host, raft_port), HTTPS + with_port(host, api_port)
        check_address("--address", raft)
        made = founding.found(places, name=name or own_name(), raft=raft, api=api)
    except (CannotBegin, InvalidSettings) as error:
        fail(error)
    if output == "json":
        said = {"cluster": made.cluster, "token": made.token, "backup_key": made.backup_key}
        more = {"api": api, "ca": str(places.etc / "ca.crt"), "ssh_public_key": made.public_key}
        click.echo(json.dumps(said | more, indent=2))
    else:
        click.echo(_told(places.etc, made, api))
    if start:
        try:
            click.echo(service.start(places), err=True)
        except CannotBegin as error:
            fail(error)
    elif output == "text":
        click.echo(f"\nStart it:\n  {service.how(places)}")


def _told(etc: Path, made: "founding.Founded", api: str) -> str:
    return f"""\
Cluster {made.cluster} is made; it has one replica so far.

The admin's token. It is shown this once, and only its hash is kept:
  {made.token}
The backup key, also in {etc / "backup.key"}. Keep a copy away from the replicas; no backup opens without it:
  {made.backup_key}
For ~root/.ssh/authorized_keys of the nodes:
  {made.public_key}

To use it:
  export HAMGR_ADDR={api} HAMGR_CA_FILE={etc / "ca.crt"} HAMGR_TOKEN={made.token}
  hamgr status
  hamgr replica add HOST        # installs hamgr there over SSH, and lets it join"""


def _make_folder(path: Path) -> None:
    try:
        settings = config.load(path)
        owner = credentials_of(settings).identity()
        identity.create(settings.raft_dir, cluster=owner.cluster, replica=ReplicaId(owner.id))
    except ConfigError as error:
        fail(error, EXIT_CONFIGURATION)
    except CannotStart as error:
        fail(error)
    click.echo(f"{settings.raft_dir}: made for replica {settings.name}; start it: hamgrd run --config {path}")
