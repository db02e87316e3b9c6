"""An `SSHExecutor` on a thread and an event loop of its own, made with its first use.

1. A wave of logins keeps its loop busy for long: hundreds of callbacks in a row, some of milliseconds. The
   caller's loop, which answers the API, waits for none of them.
2. asyncssh is large, and most replicas never lead: it is loaded on that thread, with the first verb. A key
   that cannot be used is refused at the start all the same, as `SSHExecutor` itself would: what cannot be
   judged without asyncssh has it loaded at once.
3. Whoever is cancelled goes on at once; what it had begun is cancelled too and cleans up by itself, before
   `close` returns at the latest.
"""

import asyncio
import contextlib
import stat
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from backends.ports import (
    AttemptKey,
    AttemptStatus,
    Host,
    LogChunk,
    Look,
    ProbeReport,
    Unreachable,
)
from backends.ssh.settings import SSHSettings

if TYPE_CHECKING:
    from backends.ssh.executor import SSHExecutor

T = TypeVar("T")

CLOSE_TIMEOUT_S = 5.0
"""For verbs that are under way when everything is closed, before they are cancelled."""


class ThreadedSSHExecutor:
    """A `ports.NodeExecutor`, see there."""

    def __init__(
        self,
        settings: SSHSettings,
        *,
        random: Random | None = None,
        new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    ) -> None:
        """Look at the client keys; nothing is dialled yet.

        Args:
            random: As for `SSHExecutor`.
            new_loop: Makes the event loop of the thread.

        Raises:
            ValueError: There is no client key, or one cannot be used; the message says which and why.
        """
        self._settings, self._random, self._new_loop = settings, random, new_loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._executor: SSHExecutor | None = None
        paths = settings.client_key_paths
        if not paths or not all(map(_is_usable, paths)):
            self._executor = _executor_class()(settings, random=random)

    async def probe(self, host: Host, *, timeout_s: float) -> ProbeReport:
        return await self._there(host, lambda executor: executor.probe(host, timeout_s=timeout_s))

    async def fence(self, host: Host, epoch: int, *, job: str) -> None:
        await self._there(host, lambda executor: executor.fence(host, epoch, job=job))

    async def status(self, host: Host, epoch: int, key: AttemptKey) -> AttemptStatus:
        return await self._there(host, lambda executor: executor.status(host, epoch, key))

    async def run(
        self, host: Host, epoch: int, key: AttemptKey, script: bytes, *, wait_s: float
    ) -> AttemptStatus:
        return await self._there(host, lambda executor: executor.run(host, epoch, key, script, wait_s=wait_s))

    async def kill(self, host: Host, epoch: int, key: AttemptKey) -> AttemptStatus:
        return await self._there(host, lambda executor: executor.kill(host, epoch, key))

    async def read_log(self, host: Host, key: AttemptKey, *, offset: int, bytes_max: int) -> LogChunk:
        return await self._there(
            host, lambda executor: executor.read_log(host, key, offset=offset, bytes_max=bytes_max)
        )

    async def follow(self, host: Host, key: AttemptKey, *, offset: int) -> AsyncIterator[LogChunk]:
        followed = _Followed(host, key, offset)
        try:
            while (chunk := await self._there(host, followed.next)) is not None:
                yield chunk
        finally:
            with contextlib.suppress(Unreachable):  # closed, and with it all that was followed
                await self._there(host, followed.close)

    async def look(
        self, host: Host, script: bytes, *, timeout_s: float, output_bytes_max: int, once: bool = False
    ) -> Look:
        return await self._there(
            host,
            lambda executor: executor.look(
                host, script, timeout_s=timeout_s, output_bytes_max=output_bytes_max, once=once
            ),
        )

    async def close(self) -> None:
        self._closed = True
        if self._thread is None or self._loop is None:
            return
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._end(), self._loop))
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._thread = None

    async def _there(self, host: Host, verb: "Callable[[SSHExecutor], Awaitable[T]]") -> T:
        """Have the thread do what is asked."""
        if self._closed:
            raise Unreachable(host.name, "hamgr is stopping and opens no more connections")
        if self._thread is None or self._loop is None:
            self._loop = self._new_loop()
            self._thread = threading.Thread(target=_run, args=(self._loop,), name="ssh", daemon=True)
            self._thread.start()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._do(verb), self._loop))

    async def _do(self, verb: "Callable[[SSHExecutor], Awaitable[T]]") -> T:
        if self._executor is None:
            self._executor = _executor_class()(self._settings, random=self._random)
        return await verb(self._executor)

    async def _end(self) -> None:
        """Close every connection, and wait for the verbs that this ends."""
        if self._executor is not None:
            await self._executor.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        if rest:
            _, rest = await asyncio.wait(rest, timeout=CLOSE_TIMEOUT_S)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


class _Followed:
    """A log that is followed; on the thread of the executor only."""

    def __init__(self, host: Host, key: AttemptKey, offset: int) -> None:
        self._host, self._key, self._offset = host, key, offset
        self._turn = asyncio.Lock()
        """Who was cancelled while it waited for a chunk may not have ended when this is closed."""
        self._chunks: AsyncIterator[LogChunk] | None = None

    async def next(self, executor: "SSHExecutor") -> LogChunk | None:
        """Return the next chunk; None at the end."""
        async with self._turn:
            if self._chunks is None:
                self._chunks = executor.follow(self._host, self._key, offset=self._offset)
            return await anext(self._chunks, None)

    async def close(self, _executor: "SSHExecutor") -> None:
        async with self._turn:
            if isinstance(self._chunks, AsyncGenerator):
                await self._chunks.aclose()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def _executor_class() -> "type[SSHExecutor]":
    from backends.ssh.executor import SSHExecutor  # noqa: PLC0415 - large, and seldom needed

    return SSHExecutor


def _is_usable(path: Path) -> bool:
    """Say whether `path` is surely a private key that hamgr can use; False: asyncssh has to say."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            return False
        load_ssh_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True
