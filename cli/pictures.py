"""What rich draws: tables, and a job's progress on a terminal; imported only where something is drawn."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.held import block_lines, budget_line, hold_lines, wave_line
from cli.texts import clean

PIPE_COLUMNS = 10_000
"""A table on a pipe is never cut."""
ROWS_MAX = 15
REFRESHES_PER_SECOND = 8


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table as text; on a terminal it is as wide as that, on a pipe as wide as it needs."""
    grid = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold", show_edge=False)
    terminal = sys.stdout.isatty()
    for title in titles:
        grid.add_column(title, no_wrap=not terminal, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(clean(value)) for value in row))
    console = Console(width=None if terminal else PIPE_COLUMNS, highlight=False)
    with console.capture() as captured:
        console.print(grid)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


@contextmanager
def live(glyphs: Mapping[str, tuple[str, str]]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that shows a job's progress in place, on standard error."""
    screen = Live(console=Console(stderr=True), refresh_per_second=REFRESHES_PER_SECOND, transient=True)
    with screen:
        yield lambda job: screen.update(progress(job, glyphs))


def progress(job: dict[str, Any], glyphs: Mapping[str, tuple[str, str]]) -> Group:
    """Return how far a job is: one line, the tasks that matter, and below them what it waits for."""
    numbers = job["progress"]
    counts = "  ".join(f"{numbers[state]} {state}" for state in glyphs if numbers.get(state))
    told = [wave_line(job), f"{numbers['done']}/{numbers['total']}", counts, budget_line(job)]
    title = "  ".join([clean(job["id"]), clean(job["kind"]), *filter(None, told)])
    grid = Table(box=None, show_header=False)
    interesting = [task for task in job["tasks"] if task["state"] in ("running", "failed")]
    for task in interesting[:ROWS_MAX]:
        glyph, colour = glyphs[task["state"]]
        said = clean(task["error"] or task["step"])
        grid.add_row(Text(f"{glyph} {task['state']}", style=colour), Text(clean(task["node"])), Text(said))
    # Beside the table, not as its title and caption: rich would break those to the width of the rows.
    return Group(Text(title, style="bold"), grid, Text(_notes(job), style="bright_black"))


def _notes(job: dict[str, Any]) -> str:
    """Return what stands below the tasks: what holds the job, whom it waits for, and how to get away."""
    return "\n".join([*hold_lines(job), *block_lines(job), "Ctrl-C detaches; the job goes on"])
