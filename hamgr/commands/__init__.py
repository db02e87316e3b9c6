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
    "backup": "hamgr.commands.backup:backup",
    "check": "hamgr.commands.check:check",
    "check-config": "hamgr.commands.check_config:check_config",
    "doctor": "hamgr.commands.doctor:doctor",
    "guard-upgrade": "hamgr.commands.guard_upgrade:guard_upgrade",
    "init": "hamgr.commands.init:init",
    "join": "hamgr.commands.join:join",
    "make-certificates": "hamgr.commands.certificates:make_certificates",
    "recover": "hamgr.commands.recover:recover",
    "renew-certificate": "hamgr.commands.renew:renew_certificate",
    "restore": "hamgr.commands.restore:restore",
    "run": "hamgr.commands.run:run",
}
"""Where each command is: `module:attribute`."""


class LazyGroup(click.Group):
    """A group that imports a command when it is called, or its help is asked for."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hamgr")
def main() -> None:
    """One replica of hamgr. Operators use `hamgr`; this is what systemd starts."""
