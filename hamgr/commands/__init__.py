"""`hamgrd`: what people and systemd start. One file for each command; only the one that is meant is imported.

1. A command file has a click command, and is named in `COMMANDS`. It imports lazily what is large.
2. `hamgr.daemon` knows nothing of the commands; `run` starts it.
3. Errors are one sentence each, written by `fail`, and end with a status of `hamgr.commands.endings`.
"""

from collections.abc import Mapping
from importlib import import_module

import click

from hamgr.commands.endings import EXIT_CONFIGURATION, EXIT_DAMAGED, fail

__all__ = ["COMMANDS", "EXIT_CONFIGURATION", "EXIT_DAMAGED", "fail", "main"]

COMMANDS: Mapping[str, str] = {
    "init": "hamgr.commands.init:init",
    "join": "hamgr.commands.join:join",
    "run": "hamgr.commands.run:run",
    "doctor": "hamgr.commands.doctor:doctor",
    "check": "hamgr.commands.check:check",
    "check-config": "hamgr.commands.check_config:check_config",
    "backup": "hamgr.commands.backup:backup",
    "restore": "hamgr.commands.restore:restore",
    "recover": "hamgr.commands.recover:recover",
    "renew-certificate": "hamgr.commands.renew:renew_certificate",
    "make-certificates": "hamgr.commands.certificates:make_certificates",
    "guard-upgrade": "hamgr.commands.guard_upgrade:guard_upgrade",
}
"""Where each command is: `module:attribute`; listed in this order."""
SENTENCE_CHARS_MAX = 200
"""Of a command's line of help; a first sentence is never cut."""


class LazyGroup(click.Group):
    """A group that imports a command when it is called, or its help is asked for."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        found = [(name, self.get_command(ctx, name)) for name in COMMANDS]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, one.get_short_help_str(SENTENCE_CHARS_MAX)) for name, one in found if one is not None]
            )


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hamgr")
def main() -> None:
    """One replica of hamgr. Operators use `hamgr`; this is what systemd starts."""
