"""Groups that know their commands by name and import one only when it runs: `--help` stays fast.

They are listed as they were written down: what shows comes before what changes.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

ALIASES = {
    "nodes": "node",
    "jobs": "job",
    "global": "globals",
    "event": "events",
    "list": "ls",
    "delete": "forget",
    "rm": "forget",
    "logs": "log",
    "transfer": "lead",
}
"""Words that people type; each means the one on the right, where the group has that one."""
SENTENCE_CHARS_MAX = 200
"""Of the line of help; a first sentence is never cut."""


class LazyGroup(click.Group):
    """A group whose commands are given as `name: ("module:attribute", "one line of help")`."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = dict(lazy or {})

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return [*self.commands, *self.lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        known = self.list_commands(ctx)
        name = cmd_name if cmd_name in known else ALIASES.get(cmd_name, cmd_name)
        if name not in self.lazy:
            return super().get_command(ctx, name)
        module, _, attribute = self.lazy[name][0].partition(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.lazy[name][0]} is not a command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            close = get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = [
            (name, command.get_short_help_str(SENTENCE_CHARS_MAX))
            for name, command in self.commands.items()
            if not command.hidden
        ]
        rows = own + [(name, text) for name, (_, text) in self.lazy.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
