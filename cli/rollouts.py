"""The flags, the name and the file that say how a job walks its nodes, as the `rollout` of a request.

Flags go before the file, or what the bundle has under the name, one by one. What is written is carried as
it is: the server judges it, so that a strategy means the same whoever sends it.
"""

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.exits import CliError, Exit

F = TypeVar("F", bound=Callable[..., Any])

FILE_BYTES_MAX = 64 * 1024
_WINDOW = re.compile(r"(?P<cron>\S+( +\S+){4}) +for +(?P<duration>\S+)( +in +(?P<zone>\S+))?\Z")
_LATER = re.compile(r"\+(?P<number>\d{1,7})(?P<unit>[smhd])\Z")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_PLAIN = ("domain", "min_healthy", "healthy_deadline", "progress_deadline", "on_failure")


class Amount(click.ParamType["int | str"]):
    """A number of nodes, or a share of them in percent."""

    name = "N|P%"

    def __init__(self, low: int) -> None:
        self._low = low

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = str(value)
        digits = text.removesuffix("%")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 8 and int(digits) >= self._low):
            self.fail(f"{text!r} is neither a number from {self._low} nor a share like 25%", param, ctx)
        return text if text.endswith("%") else int(digits)


OPTIONS = (
    click.option("--max-parallel", type=Amount(1), help="Size of a wave: a number, or a share of the nodes."),
    click.option("--max-failed", type=Amount(0), help="One failure more stops the job."),
    click.option("--canary", type=click.IntRange(0), metavar="N", help="So many go first, and must be well."),
    click.option("--promote", type=click.Choice(["automatic", "manual"]), help="Who lets the others follow."),
    click.option("--domain", metavar="LABEL", help="Only nodes of one value of this label at a time."),
    click.option("--min-healthy", metavar="TIME", help="A node has to stay healthy so long, e.g. 60s."),
    click.option("--healthy-deadline", metavar="TIME", help="How long a node may take to become healthy."),
    click.option("--progress-deadline", metavar="TIME", help="No node ends for so long: the job has failed."),
    click.option(
        "--on-failure",
        type=click.Choice(["stop", "pause", "revert"]),
        help="When too many failed: begin no more, wait for an operator, or bring all back.",
    ),
    click.option("--below-minimum", is_flag=True, help="Although a role has too few while they are changed."),
    click.option(
        "--window",
        "windows",
        multiple=True,
        metavar="WINDOW",
        help="Begin only then: 'CRON for TIME [in ZONE]', e.g. '0 22 * * sat for 4h in Europe/Madrid'; "
        "UTC without a zone. May be repeated.",
    ),
    click.option("--start-at", metavar="WHEN", help="Begin then: 2026-11-30T22:00 (local time) or +2h."),
    click.option("--priority", type=click.IntRange(-100, 100), help="Higher goes first.  [default: 0]"),
    click.option(
        "--rollout",
        "rollout_from",
        metavar="NAME|FILE",
        help="All of this from the bundle, by its name there (none: not the default one), or from a YAML "
        "file: a path with '/' or '.', or - for the input.",
    ),
)
NAMES = frozenset(
    {
        "max_parallel",
        "max_failed",
        "canary",
        "promote",
        "domain",
        "min_healthy",
        "healthy_deadline",
        "progress_deadline",
        "on_failure",
        "below_minimum",
        "windows",
        "start_at",
        "priority",
        "rollout_from",
    }
)


def rollout_options(function: F) -> F:
    """Add the flags of a strategy to a command, which hands what it was given to `strategy`."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def strategy(given: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of a job's body that say how it walks its nodes.

    Raises:
        CliError: The file cannot be read or a value cannot be what it is to be; nothing was sent.
    """
    rollout = _begun_from(given["rollout_from"]) if given["rollout_from"] else {}
    counts: dict[str, Any] = {"max_parallel": 0, "max_failed": None}
    for name in counts:
        value = given[name]
        if isinstance(value, int):
            rollout.pop(name, None)
            counts[name] = value
        elif value is not None:
            rollout[name] = value
    rollout |= {name: given[name] for name in _PLAIN if given[name] is not None}
    if given["canary"] is not None:
        rollout["canary"] = given["canary"]
    if given["promote"] is not None:
        rollout["promotion"] = given["promote"]
    if given["below_minimum"]:
        rollout["below_minimum"] = True
    if given["windows"]:
        rollout["windows"] = [window(text) for text in given["windows"]]
    if given["start_at"] is not None:
        rollout["start_at"] = moment(given["start_at"])
    priority = {} if given["priority"] is None else {"priority": given["priority"]}
    return counts | priority | ({"rollout": rollout} if rollout else {})


def window(text: str) -> dict[str, Any]:
    """Return `CRON for TIME [in ZONE]` as the server wants it.

    Raises:
        CliError: It is not of this form.
    """
    found = _WINDOW.match(text.strip())
    if found is None:
        hint = "write 'CRON for TIME [in ZONE]', for example '0 22 * * sat for 4h in Europe/Madrid'"
        raise CliError(Exit.USAGE, f"{text!r} is not a change window", hint=hint)
    zone = {"zone": found["zone"]} if found["zone"] else {}
    return {"cron": found["cron"], "duration": found["duration"], **zone}


def moment(text: str) -> str | float:
    """Return a moment for the server: `+2h` from now, or a date and time, local where it says no zone.

    Raises:
        CliError: It is neither.
    """
    from datetime import datetime  # noqa: PLC0415 - only a job that is to begin later needs it

    later = _LATER.match(text)
    if later is not None:
        return time.time() + int(later["number"]) * _UNITS_S[later["unit"]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        hint = "write for example 2026-11-30T22:00, 2026-11-30T22:00Z or +2h"
        raise CliError(Exit.USAGE, f"{text!r} is not a moment", hint=hint) from error
    return (found if found.tzinfo is not None else found.astimezone()).isoformat()


def _begun_from(text: str) -> dict[str, Any]:
    """Return the strategy that a name of the bundle or a file gives.

    Raises:
        CliError: It is a file, and cannot be read.
    """
    return _file(text) if text == "-" or "/" in text or "." in text else {"name": text}


def _file(name: str) -> dict[str, Any]:
    """Return the strategy in a file.

    Raises:
        CliError: It cannot be read, or is no mapping.
    """
    import yaml  # noqa: PLC0415 - 30 ms that only a file is worth

    try:
        if name == "-":
            data = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
        else:
            with Path(name).open("rb") as stream:
                data = stream.read(FILE_BYTES_MAX + 1)
        found = yaml.safe_load(data) if len(data) <= FILE_BYTES_MAX else None
    except OSError as error:
        raise CliError(Exit.USAGE, f"{name}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        hint = "quote what begins with '*', as cron expressions do"
        raise CliError(Exit.USAGE, f"{name}: not YAML: {error}", hint=hint) from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        hint = "write for example 'canary: 1' and 'max_parallel: 25%', one a line"
        raise CliError(Exit.USAGE, f"{name}: not a strategy", hint=hint)
    return {key: _carried(key, value) for key, value in found.items()}


def _carried(key: str, value: Any) -> Any:
    """Return a value of a file as JSON can carry it."""
    if key == "windows" and isinstance(value, list):
        return [window(one) if isinstance(one, str) else one for one in value]
    return value.isoformat() if hasattr(value, "isoformat") else value
