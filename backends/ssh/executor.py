"""`ports.NodeExecutor` over SSH: each verb is one call of the runner on a kept connection."""

import asyncio
from collections.abc import AsyncIterator
from random import Random, SystemRandom

from backends.ports import (
    OUTPUT_BYTES_MAX,
    SCRIPT_BYTES_MAX,
    AttemptKey,
    AttemptStatus,
    CommandFailed,
    Host,
    LogChunk,
    Look,
    ProbeReport,
    TimedOut,
    Unreachable,
)
from backends.runner import answers, script
from backends.runner.script import run_words
from backends.ssh.calls import OUTPUT_BYTES_MARGIN, Calls
from backends.ssh.connections import Connections, Lane
from backends.ssh.follow import follow
from backends.ssh.looks import Looks
from backends.ssh.sessions import (
    Finished,
    OutputTooLongError,
    SessionLostError,
    SessionNotOpenedError,
    execute,
)
from backends.ssh.settings import SSHSettings

LOG_BYTES_MAX = 1024 * 1024
"""The most that one `read_log` brings; whoever wants more asks again."""


class SSHExecutor:
    """Runs attempts on nodes over SSH."""

    def __init__(self, settings: SSHSettings, *, random: Random | None = None) -> None:
        """Load the client keys; nothing is dialled yet.

        Args:
            random: Where the jitter of pauses comes from; None: the system.

        Raises:
            ValueError: There is no client key, or one cannot be used; the message says which and why.
        """
        random = SystemRandom() if random is None else random
        self._settings = settings
        self._connections = Connections(settings, random)
        self._calls = Calls(settings, self._connections, random)
        self._looks = Looks(self._calls, self._connections)

    async def probe(self, host: Host, *, timeout_s: float) -> ProbeReport:
        deadline = asyncio.get_running_loop().time() + timeout_s
        async with self._connections.meet(host, deadline=deadline) as (connection, host_key):
            try:
                finished = await execute(
                    connection,
                    script.FACTS_COMMAND,
                    script.TEXT,
                    deadline=deadline,
                    output_bytes_max=OUTPUT_BYTES_MARGIN,
                )
            except SessionNotOpenedError as failure:
                raise Unreachable(host.name, f"no session could be opened: {failure}") from failure
            except SessionLostError as failure:
                raise TimedOut(host.name, f"did not say who it is: {failure}") from failure
            except OutputTooLongError as failure:
                raise CommandFailed(
                    host.name, "its answer does not end; look at what its login scripts print"
                ) from failure
        return answers.parse_facts(host.name, finished.stdout, finished.exit_status, host_key=host_key)

    async def fence(self, host: Host, epoch: int, *, job: str) -> None:
        words = script.fence_words(epoch, job)
        finished = await self._quick(host, words)
        answers.parse_fence(host.name, finished.stdout, finished.exit_status, epoch=epoch)

    async def status(self, host: Host, epoch: int, key: AttemptKey) -> AttemptStatus:
        finished = await self._quick(host, script.status_words(epoch, key))
        return answers.parse_status(host.name, finished.stdout, finished.exit_status)

    async def run(
        self, host: Host, epoch: int, key: AttemptKey, script: bytes, *, wait_s: float
    ) -> AttemptStatus:
        if len(script) > SCRIPT_BYTES_MAX:
            raise CommandFailed(host.name, f"the script exceeds {SCRIPT_BYTES_MAX} bytes; it was not sent")
        now = asyncio.get_running_loop().time
        wait_until = now() + wait_s

        def words() -> list[str]:
            left_s = max(0.0, wait_until - now())
            return run_words(epoch, key, script, wait_s=left_s, output_bytes_max=OUTPUT_BYTES_MAX)

        finished = await self._calls.call(
            host,
            Lane.RUN,
            words,
            script,
            deadline=wait_until + self._settings.command_timeout_s,
            body_bytes_max=OUTPUT_BYTES_MAX,
        )
        return answers.parse_status(host.name, finished.stdout, finished.exit_status)

    async def kill(self, host: Host, epoch: int, key: AttemptKey) -> AttemptStatus:
        finished = await self._quick(host, script.kill_words(epoch, key))
        return answers.parse_status(host.name, finished.stdout, finished.exit_status)

    async def read_log(self, host: Host, key: AttemptKey, *, offset: int, bytes_max: int) -> LogChunk:
        bytes_max = min(bytes_max, LOG_BYTES_MAX)
        words = script.log_words(key, offset=offset, bytes_max=bytes_max)
        finished = await self._quick(host, words, body_bytes_max=bytes_max)
        return answers.parse_log(host.name, finished.stdout, finished.exit_status)

    async def follow(self, host: Host, key: AttemptKey, *, offset: int) -> AsyncIterator[LogChunk]:
        async for chunk in follow(self._calls, self._connections, self._settings, host, key, offset=offset):
            yield chunk

    async def look(
        self, host: Host, script: bytes, *, timeout_s: float, output_bytes_max: int, once: bool = False
    ) -> Look:
        if len(script) > SCRIPT_BYTES_MAX:
            raise CommandFailed(host.name, f"the script exceeds {SCRIPT_BYTES_MAX} bytes; it was not sent")
        return await self._looks.look(
            host, script, timeout_s=timeout_s, output_bytes_max=output_bytes_max, once=once
        )

    async def close(self) -> None:
        await self._connections.close()

    async def _quick(self, host: Host, words: list[str], *, body_bytes_max: int = 0) -> Finished:
        deadline = asyncio.get_running_loop().time() + self._settings.command_timeout_s
        return await self._calls.call(
            host, Lane.QUICK, lambda: words, deadline=deadline, body_bytes_max=body_bytes_max
        )
