"""`hamgrd backup`: what can be done with a backup where no replica runs."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import click

from hamgr.commands.endings import EXIT_DAMAGED, FILE, JSON_OR_TEXT, fail


@click.group()
def backup() -> None:
    """Look into backups, also where no replica runs."""


@backup.command()
@click.argument("file", type=FILE)
@click.option("--key-file", type=FILE, help="The backup key; with it, all of the file is verified.")
@click.option("-o", "--output", type=JSON_OR_TEXT, default="text", show_default=True)
def inspect(file: Path, key_file: Path | None, output: str) -> None:
    """Say what a backup is of; with the key, verify all of it by restoring it in a scratch folder.

    Without the key only what the file says of itself is shown, and nothing of that is verified.

    \b
    Examples:
      hamgrd backup inspect /mnt/backups/0123abcd-20261123T020000Z-4711.hamgr-backup
      hamgrd backup inspect --key-file /root/backup.key FILE
    """
    from hamgr.backup import files, sealed  # noqa: PLC0415 - cryptography, which help need not wait for
    from hamgr.security.backup_key import BadBackupKey, read_backup_key  # noqa: PLC0415 - as above

    try:
        header = sealed.read_header(file)
        said = {"file": str(file), "bytes": file.stat().st_size, **asdict(header), "verified": False}
        if key_file is not None:
            found = files.verify(file, read_backup_key(key_file))
            said |= {
                "verified": True,
                "nodes": len(found.state.nodes),
                "jobs": len(found.state.jobs),
                "running": list(found.state.running),
                "bundles": len(found.blobs),
                "generation": found.state.generation,
            }
    except (sealed.BadBackup, BadBackupKey) as error:
        fail(error, EXIT_DAMAGED)
    except OSError as error:
        fail(f"{file}: it cannot be read: {error.strerror}")
    if output == "json":
        click.echo(json.dumps(said, indent=2))
        return
    at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(header.at))
    click.echo(f"{file}: cluster {header.cluster} at index {header.index}, made {at} by {header.replica}")
    click.echo(f"hamgr {header.version}, backup key {header.key_id}, {said['bytes']} bytes")
    if key_file is None:
        click.echo("not verified: name the key with --key-file")
    else:
        click.echo(
            f"verified: {said['nodes']} nodes, {said['jobs']} jobs ({len(found.state.running)} not ended), "
            f"{said['bundles']} bundles"
        )
