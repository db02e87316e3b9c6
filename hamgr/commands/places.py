"""Options of the commands that make a replica."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hamgr.bootstrap.places import DATA, ETC, UNIT, Places
from hamgr.commands.endings import FILE
from hamgr.config import NAME

F = TypeVar("F", bound=Callable[..., Any])


def place_options(function: F) -> F:
    """Add --config-dir, --data-dir, --unit, --no-unit and --start."""
    for option in (
        click.option("--start", is_flag=True, help="Start the replica, now and at each boot."),
        click.option("--no-unit", is_flag=True, help="Write no systemd unit."),
        click.option(
            "--unit", type=FILE, default=UNIT, show_default=True, help="Where the systemd unit goes."
        ),
        click.option("--data-dir", type=FILE, default=DATA, show_default=True, help="Log, snapshots, blobs."),
        click.option(
            "--config-dir",
            type=FILE,
            default=ETC,
            show_default=True,
            help="Configuration, keys, certificates.",
        ),
    ):
        function = option(function)
    return function


def places_of(config_dir: Path, data_dir: Path, unit: Path, *, no_unit: bool) -> Places:
    """Return where the files of this replica are."""
    return Places(
        etc=config_dir.absolute(), data=data_dir.absolute(), unit=None if no_unit else unit.absolute()
    )


def name_of(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Check a replica's name; empty stays empty."""
    if value and NAME.fullmatch(value) is None:
        raise click.BadParameter(f"{value!r} is not a name of lower-case letters, digits and dashes")
    return value
