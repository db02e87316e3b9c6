"""Who restarts this replica and starts its guard: systemd, or a command from the configuration.

Either way the guard is no child of the replica's service, so that it goes on when that ends.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from hamgr.bootstrap.service import SYSTEMD

RESTART_S_MAX = 120.0
SAID_BYTES_MAX = 400
PATH_UNIT = "hamgrd-upgrade.path"


class CannotRestart(Exception):
    """The replica was not restarted, as far as is known; the message is one sentence."""


class Restarting(Protocol):
    """How one machine restarts its replica."""

    def trouble(self) -> str:
        """Return why it could not be done; empty when it could."""

    def start_guard(self, words: Sequence[str]) -> None:
        """Have the guard run, or see to it that it will; raises `OSError`."""

    def restart(self) -> None:
        """Restart the replica; returns when that was asked for. Raises `CannotRestart`."""


class SystemdRestarting:
    """By systemd: a path unit starts the guard as soon as there is an order, and again after a reboot."""

    def __init__(self, *, booted: Path = SYSTEMD, systemctl: str = "systemctl") -> None:
        self._booted, self._systemctl = booted, systemctl

    def trouble(self) -> str:
        if not self._booted.is_dir():
            return "systemd does not run here; name the command that restarts hamgrd in `upgrade.restart`"
        done = subprocess.run(
            [self._systemctl, "is-active", PATH_UNIT],
            capture_output=True, text=True, check=False, timeout=RESTART_S_MAX,
        )  # fmt: skip
        if done.returncode:
            return f"{PATH_UNIT} is not active; run: systemctl enable --now {PATH_UNIT}"
        return ""

    def start_guard(self, words: Sequence[str]) -> None:
        """Nothing: the order is what the path unit waits for, which runs outside of the replica's sandbox."""

    def restart(self) -> None:
        _run([self._systemctl, "restart", "hamgrd.service"])


class CommandRestarting:
    """By a command of the operator's."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)

    def trouble(self) -> str:
        program = Path(self._command[0])
        return (
            ""
            if not program.is_absolute() or program.exists()
            else f"{program} of `upgrade.restart` is not there"
        )

    def start_guard(self, words: Sequence[str]) -> None:
        with subprocess.Popen(
            ["/bin/sh", "-c", '"$@" & exit 0', "sh", *words],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        ) as shell:
            shell.wait(RESTART_S_MAX)  # the guard itself is nobody's child, so that nobody has to wait for it

    def restart(self) -> None:
        _run(self._command)


def restarting_of(command: Sequence[str]) -> Restarting:
    """Return how a replica is restarted: by `command`, or by systemd when there is none."""
    return CommandRestarting(command) if command else SystemdRestarting()


def _run(words: Sequence[str]) -> None:
    what = " ".join(words)
    with tempfile.TemporaryFile() as said:  # a pipe would be held open by what the command leaves running
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False, timeout=RESTART_S_MAX
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotRestart(f"`{what}` could not be run: {error}") from error
        said.seek(0)
        text = said.read(SAID_BYTES_MAX).decode(errors="replace").strip()
    if done.returncode:
        raise CannotRestart(f"`{what}` ended with status {done.returncode}: {text or 'it said nothing'}")
