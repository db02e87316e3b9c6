"""Commands on a machine that is to become a replica, by the system's own `ssh`.

Operators have keys, agents, jump hosts and known hosts arranged for that program; and the CLI starts fast.
"""

import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from cli.exits import CliError, Exit

CONNECT_TIMEOUT_S = 10
PROBE_TIMEOUT_S = 60.0
INSTALL_TIMEOUT_S = 900.0
SSH_FAILED = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A machine, and how one logs in there."""

    host: str
    user: str = "root"
    port: int | None = None
    identity: str = ""
    accept_new: bool = False
    config: str = ""

    def argv(self, script: str) -> list[str]:
        """Return the command that runs a shell script there, as root."""
        words = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_TIMEOUT_S}"]
        words += ["-o", "ServerAliveInterval=10", "-l", self.user]
        words += ["-o", "StrictHostKeyChecking=accept-new"] if self.accept_new else []
        words += ["-p", str(self.port)] if self.port else []
        words += ["-i", self.identity] if self.identity else []
        words += ["-F", self.config] if self.config else []
        command = f"sh -c {shlex.quote(script)}"
        return [*words, "--", self.host, command if self.user == "root" else f"sudo -n {command}"]

    def ask(self, script: str) -> str:
        """Run a short script and return what it printed.

        Raises:
            CliError: It could not be run, or failed.
        """
        try:
            done = subprocess.run(
                self.argv(script),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PROBE_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._error(str(error), SSH_FAILED) from error
        if done.returncode:
            raise self._error(done.stderr, done.returncode)
        return done.stdout

    def feed(self, script: str, write: Callable[[IO[bytes]], None]) -> None:
        """Run a script whose standard input is what `write` writes; its errors go to our standard error.

        Raises:
            CliError: It failed.
        """
        with subprocess.Popen(self.argv(script), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            try:
                if process.stdin is not None:
                    write(process.stdin)
                    process.stdin.close()
            except BrokenPipeError:
                process.wait(INSTALL_TIMEOUT_S)  # it has said why on its standard error
            status = process.wait(INSTALL_TIMEOUT_S)
        if status:
            raise self._error("", status)

    def _error(self, said: str, status: int) -> CliError:
        lines = [line.strip() for line in said.strip().splitlines() if line.strip()]
        why = lines[-1] if lines else f"ended with status {status}"
        if status == SSH_FAILED:
            hint = (
                f"try `ssh {self.user}@{self.host} true`; --identity, --port and --accept-new-host-key help"
            )
            return CliError(Exit.UNREACHABLE, f"{self.host} cannot be reached by ssh: {why}", hint=hint)
        return CliError(
            Exit.FAILED, f"{self.host}: {why}", hint="put that right, and give this command again"
        )
