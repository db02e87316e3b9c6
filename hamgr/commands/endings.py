"""How a command of `hamgrd` ends when it cannot do what it was asked for, and options that many share."""

import sys
from pathlib import Path
from typing import NoReturn

import click

EXIT_CONFIGURATION = 78
"""EX_CONFIG of sysexits(3): systemd does not restart what cannot start (RestartPreventExitStatus)."""
EXIT_DAMAGED = 65
"""EX_DATAERR of sysexits(3)."""

CONFIG = Path("/etc/hamgr/hamgrd.yaml")
FILE = click.Path(path_type=Path)
JSON_OR_TEXT = click.Choice(["text", "json"])


def fail(error: object, status: int = 1) -> NoReturn:
    """Say what is wrong, and end."""
    for line in str(error).splitlines():
        click.echo(f"hamgrd: {line}", err=True)
    sys.exit(status)
