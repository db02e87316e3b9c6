"""Printing: data on standard output in the shape that was asked for, everything else on standard error.

What came over the network goes through `cli.texts` first.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from cli.texts import ago, clean, clock, short

__all__ = ["Column", "ago", "clean", "clock", "describe", "grey", "note", "short", "show", "styled"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `wide` ones are for `-o wide`."""

    title: str
    of: Callable[[Mapping[str, Any]], Any]
    wide: bool = False


def styled(text: str, **style: Any) -> str:
    """Colour `text`, unless NO_COLOR is set (no-color.org)."""
    return text if os.environ.get("NO_COLOR") else click.style(text, **style)


def note(text: str) -> None:
    """Say something beside the data."""
    click.echo(text, err=True)


def grey(text: str) -> None:
    """Say something that matters only when one wonders."""
    click.echo(styled(f"hamgr: {clean(text)}", fg="bright_black"), err=True)


def show(
    fmt: str,
    data: Any,
    *,
    columns: Sequence[Column] = (),
    rows: Sequence[Mapping[str, Any]] = (),
    names: Sequence[str] = (),
    text: str | None = None,
) -> None:
    """Print `data`: whole as JSON or YAML, its `names`, or for people as a table or as `text`."""
    if fmt == "json":
        click.echo(json.dumps(data, indent=2))
    elif fmt == "yaml":
        import yaml  # noqa: PLC0415 - 30 ms that only -o yaml is worth

        click.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), nl=False)
    elif fmt == "name":
        for name in names:
            click.echo(clean(name))
    elif text is not None:
        click.echo(text)
    else:
        from cli.pictures import table  # noqa: PLC0415 - rich costs 45 ms, which only a table is worth

        shown = [column for column in columns if fmt == "wide" or not column.wide]
        click.echo(table([column.title for column in shown], [[c.of(row) for c in shown] for row in rows]))


def describe(data: Any, indent: str = "") -> str:
    """Return nested values for people: one `key: value` a line."""
    lines: list[str] = []
    for key, value in data.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{clean(key)}:", describe(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append(f"{indent}{clean(key)}:")
            lines += [f"{indent}  - {_pairs(item)}" for item in value]
        else:
            plain = _told(key, value)
            lines.append(f"{indent}{clean(key)}: {plain if plain and value != {} else '-'}")
    return "\n".join(lines)


def _pairs(item: Mapping[str, Any]) -> str:
    told = {key: value for key, value in item.items() if value not in (None, "", [])}
    return "  ".join(f"{clean(key)}={_told(key, value)}" for key, value in told.items())


def _told(key: str, value: Any) -> str:
    """Return one value; moments (keys that end in `at`) in local time."""
    if isinstance(value, list):
        return ", ".join(map(clean, value))
    moment = (key == "at" or key.endswith("_at")) and isinstance(value, float) and value
    return clock(value) if moment else clean(value)
