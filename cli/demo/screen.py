"""What the demo shows: acts with their seconds, and on a terminal a live table of the nodes."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import click

STATUS_STYLES = {
    "discovered": "cyan",
    "commissioning": "yellow",
    "commissioned": "green",
    "upgrading": "yellow",
    "upgraded": "bold green",
    "quarantined": "bold red",
}


class Screen(Protocol):
    """Shows the story; `nodes` is what the table is drawn from."""

    def say(self, text: str, *, mark: str = " ", seconds: float | None = None) -> None: ...

    def nodes(self, rows: Mapping[str, tuple[str, str]]) -> None:
        """Show each node's status and the step it is at."""

    def close(self) -> None: ...


@contextmanager
def act(screen: Screen, text: str) -> Iterator[None]:
    """Say `text` with a tick and the seconds it took, when it is done."""
    began = time.monotonic()
    yield
    screen.say(text, mark="✓", seconds=time.monotonic() - began)


def line(text: str, mark: str, seconds: float | None) -> str:
    """Return one line of the story."""
    took = f"{seconds:6.1f} s" if seconds is not None else ""
    return f" {mark} {text:<84}{took}".rstrip()


class Silent:
    """Shows nothing: the figures are printed at the end."""

    def say(self, text: str, *, mark: str = " ", seconds: float | None = None) -> None: ...

    def nodes(self, rows: Mapping[str, tuple[str, str]]) -> None: ...

    def close(self) -> None: ...


class Plain:
    """One line for each thing that happened; for pipes and logs."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def say(self, text: str, *, mark: str = " ", seconds: float | None = None) -> None:
        click.echo(line(text, mark, seconds))

    def nodes(self, rows: Mapping[str, tuple[str, str]]) -> None:
        for name, (status, _) in rows.items():
            if self._seen.get(name, status) != status:
                click.echo(f"     {name}: {self._seen[name]} -> {status}")
            self._seen[name] = status

    def close(self) -> None: ...


class Lively:
    """The story above, the nodes below, redrawn in place."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - a pipe does not pay for it
        from rich.live import Live  # noqa: PLC0415

        self._console = Console()
        self._live = Live(console=self._console, refresh_per_second=8, transient=True)
        self._live.start()

    def say(self, text: str, *, mark: str = " ", seconds: float | None = None) -> None:
        style = {"✓": "green", "⚡": "bold red", "✗": "bold red"}.get(mark, "")
        self._console.print(line(text, mark, seconds), style=style, highlight=False, markup=False)

    def nodes(self, rows: Mapping[str, tuple[str, str]]) -> None:
        from rich.table import Table  # noqa: PLC0415

        table: Any = Table(box=None, padding=(0, 2), show_header=False)
        for name, (status, step) in rows.items():
            table.add_row(
                f"   {name}", f"[{STATUS_STYLES.get(status, 'white')}]{status}[/]", f"[dim]{step}[/]"
            )
        self._live.update(table)

    def close(self) -> None:
        self._live.stop()
