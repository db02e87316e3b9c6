"""`hamgrd restore`: a cluster that is lost begins again, from a backup, on one machine."""

import json
from pathlib import Path

import click

from hamgr.commands.endings import EXIT_DAMAGED, FILE, JSON_OR_TEXT, fail
from hamgr.commands.places import name_of, place_options, places_of
from hamgr.config import HTTPS
from hamgr.raft.settings import InvalidSettings, check_address


@click.command()
@click.argument("file", type=FILE)
@click.option("--key-file", type=FILE, required=True, help="The backup key that `hamgrd init` printed.")
@click.option("--name", default="", callback=name_of, help="Of the replica.  [default: the host's name]")
@click.option("--address", default="", help="Of this machine.  [default: the one of its default route]")
@click.option("--raft-port", type=click.IntRange(1, 65_535), default=7001, show_default=True)
@click.option("--api-port", type=click.IntRange(1, 65_535), default=7080, show_default=True)
@place_options
@click.option("-o", "--output", type=JSON_OR_TEXT, default="text", show_default=True)
def restore(
    file: Path,
    key_file: Path,
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
    output: str,
) -> None:
    """Make a new cluster of one replica on this machine from a backup. See docs/backup.md.

    Stop what is left of the old cluster first. The new one has an id and an authority of its own; tokens and
    the nodes' SSH key are those of the backup. Jobs that had not ended are held until somebody decides.

    \b
    Examples:
      hamgrd restore --key-file /root/backup.key --start FILE
    """
    from hamgr.backup.restoring import restore as restore_  # noqa: PLC0415 - cryptography: help need not wait
    from hamgr.backup.sealed import BadBackup  # noqa: PLC0415 - as above
    from hamgr.bootstrap import service  # noqa: PLC0415 - as above
    from hamgr.bootstrap.places import CannotBegin, own_address, own_name, with_port  # noqa: PLC0415 - as above
    from hamgr.security.backup_key import BadBackupKey  # noqa: PLC0415 - as above

    places = places_of(config_dir, data_dir, unit, no_unit=no_unit)
    try:
        host = address or own_address()
        raft, api = with_port(host, raft_port), HTTPS + with_port(host, api_port)
        check_address("--address", raft)
        made = restore_(file, key_file, places, name=name or own_name(), raft=raft, api=api)
    except (BadBackup, BadBackupKey) as error:
        fail(error, EXIT_DAMAGED)
    except (CannotBegin, InvalidSettings) as error:
        fail(error)
    if output == "json":
        said = {"cluster": made.cluster, "generation": made.generation, "nodes": made.nodes}
        more = {
            "held": list(made.jobs),
            "index": made.header.index,
            "api": api,
            "ca": str(places.etc / "ca.crt"),
        }
        click.echo(json.dumps(said | more, indent=2))
    else:
        held = f"Held until somebody decides: {', '.join(made.jobs)}\n" if made.jobs else ""
        click.echo(
            f"Cluster {made.cluster} is restored: {made.nodes} nodes, as they were at index "
            f"{made.header.index} of cluster {made.header.cluster}.\n{held}\n"
            f"To use it, with a token of the old cluster:\n"
            f"  export HAMGR_ADDR={api} HAMGR_CA_FILE={places.etc / 'ca.crt'} HAMGR_TOKEN=...\n"
            f"  hamgr status\n  hamgr node verify --all      # what the nodes are really like now\n"
            f"  hamgr replica add HOST       # on each machine that is to have a replica again"
        )
    if start:
        try:
            click.echo(service.start(places), err=True)
        except CannotBegin as error:
            fail(error)
    elif output == "text":
        click.echo(f"\nStart it:\n  {service.how(places)}")
