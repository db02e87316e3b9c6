"""Calls the runner on a node and brings back its answer, over as many connections as that takes.

1. The runner is called as if it were there; where it is not, it is uploaded and called again.
2. A call whose connection was lost is sent again with the same key, on a new connection: the runner makes a
   repeat harmless. Only when that does not succeed in time does the call end in `TimedOut`.
3. From the moment a call was sent, no failure is reported as if nothing had happened.
"""

import asyncio
from collections.abc import Callable
from random import Random
from typing import TypeAlias

import asyncssh

from backends.ports import BackendError, CommandFailed, Host, Refused, TimedOut, Unreachable
from backends.runner import answers, script
from backends.ssh.connections import Connections, Lane
from backends.ssh.errors import quoted
from backends.ssh.kept import KeptSessions
from backends.ssh.sessions import (
    Finished,
    OutputTooLongError,
    SessionLostError,
    SessionNotOpenedError,
    execute,
)
from backends.ssh.settings import SSHSettings

OUTPUT_BYTES_MARGIN = answers.NOISE_BYTES_MAX + answers.HEADER_BYTES_MAX
"""What an answer may be longer than its body."""
_PAUSE_S_FIRST = 0.05
_PAUSE_S_MAX = 1.0

_ENDLESS = "its answer does not end; look at what its login scripts print"

Words: TypeAlias = Callable[[], list[str]]
"""Made anew for each sending, because what is left to wait is one of them."""


class Course:
    """What has become of one call so far, and when to give it up."""

    def __init__(
        self, host: Host, settings: SSHSettings, random: Random, *, deadline: float, again: str
    ) -> None:
        self.deadline = deadline
        self.sent = False
        self._again = again
        self._host = host
        self._resume_timeout_s = settings.resume_timeout_s
        self._random = random
        self._resume_by: float | None = None
        self._heard_at: float | None = None
        self._failures = 0

    @property
    def open_by(self) -> float:
        """Until when the next session must be open, on the loop's clock."""
        return self.deadline if self._resume_by is None else self._resume_by

    async def pause(self, failure: Exception) -> None:
        """Wait before the next sending.

        Raises:
            BackendError: It is time to give up; what is known decides which.
        """
        now = asyncio.get_running_loop().time()
        if isinstance(failure, SessionLostError):
            self.sent = True
            self._heard_at = failure.heard_at
        elif isinstance(failure, BackendError) and not self.sent:
            raise failure
        if isinstance(failure, SessionLostError) or self._resume_by is None:
            self._resume_by = min(self.deadline, now + self._resume_timeout_s)
        self._failures += 1
        pause_s = min(_PAUSE_S_MAX, _PAUSE_S_FIRST * 2.0 ** min(self._failures - 1, 8))
        pause_s *= self._random.uniform(0.5, 1.0)
        if now + pause_s >= self._resume_by or isinstance(failure, Refused):
            raise self._given_up(failure, now) from failure
        await asyncio.sleep(pause_s)

    def _given_up(self, failure: Exception, now: float) -> BackendError:
        silent_s = 0.0 if self._heard_at is None else now - self._heard_at
        why = failure.message if isinstance(failure, BackendError) else str(failure)
        if self.sent:
            return TimedOut(self._host.name, f"did not answer ({why}); {self._again}", silent_s=silent_s)
        return Unreachable(self._host.name, f"no session could be opened: {why}", silent_s=silent_s)


class Calls:
    """Calls the runner on nodes."""

    def __init__(self, settings: SSHSettings, connections: Connections, random: Random) -> None:
        self._settings = settings
        self._connections = connections
        self._random = random
        self._kept = KeptSessions()

    def course(self, host: Host, *, deadline: float, again: str = "ask again with the same key") -> Course:
        """Begin a call; `deadline` is on the loop's clock, `again` is the advice when its end is unknown."""
        return Course(host, self._settings, self._random, deadline=deadline, again=again)

    async def call(
        self,
        host: Host,
        lane: Lane,
        words: Words,
        stdin: bytes = b"",
        *,
        deadline: float,
        body_bytes_max: int = 0,
    ) -> Finished:
        """Run the runner with `words` and return how it ended.

        Args:
            deadline: On the loop's clock.

        Raises:
            Unreachable, Refused: The call was never sent.
            TimedOut: It was sent, and its answer did not come.
            CommandFailed: The runner could not be put on the node, or the answer has no end.
        """
        course = self.course(host, deadline=deadline)
        installed = False
        while True:
            try:
                async with self._connections.lease(host, lane, deadline=course.open_by) as connection:
                    while True:
                        finished = await self._kept.call(
                            connection,
                            words(),
                            stdin,
                            deadline=deadline,
                            output_bytes_max=body_bytes_max + OUTPUT_BYTES_MARGIN,
                        )
                        if installed or not answers.is_not_installed(finished.stdout, finished.exit_status):
                            return finished
                        await self.provide(host, connection, deadline=deadline)
                        installed = True
            except (SessionLostError, SessionNotOpenedError, Unreachable, Refused) as failure:
                await course.pause(failure)
            except OutputTooLongError as failure:
                raise CommandFailed(host.name, _ENDLESS) from failure

    async def provide(self, host: Host, connection: asyncssh.SSHClientConnection, *, deadline: float) -> None:
        """Put the runner on the node.

        Raises:
            SessionNotOpenedError: The connection was lost; no verb was sent.
            CommandFailed: The node could not store it.
        """
        try:
            finished = await execute(
                connection,
                script.install_command_line(),
                script.TEXT,
                deadline=deadline,
                output_bytes_max=OUTPUT_BYTES_MARGIN,
            )
        except SessionLostError as failure:
            raise SessionNotOpenedError(f"the runner could not be uploaded: {failure}") from failure
        except OutputTooLongError as failure:
            raise CommandFailed(host.name, _ENDLESS) from failure
        try:
            answers.parse_installed(host.name, finished.stdout, finished.exit_status)
        except CommandFailed as failure:
            said = quoted(finished.stderr) or failure.message
            raise CommandFailed(
                host.name, f"hamgr's runner could not be put into /var/lib/hamgr: {said}"
            ) from failure
