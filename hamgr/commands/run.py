"""`hamgrd run`: the replica itself."""

from pathlib import Path

import click

from hamgr.commands.endings import CONFIG, FILE


@click.command()
@click.option(
    "--config", "path", type=FILE, default=CONFIG, show_default=True, help="The replica's configuration."
)
def run(path: Path) -> None:
    """Run the replica in the foreground until SIGTERM; SIGHUP has it read its certificates again.

    Example: hamgrd run --config /etc/hamgr/hamgrd.yaml
    """
    from hamgr import daemon  # noqa: PLC0415 - more than a second that help need not wait

    daemon.run(path)
