"""An `SSHExecutor` that is made with its first use: asyncssh is large, and most replicas never lead.

1. A key that cannot be used is refused at the start, as `SSHExecutor` itself would: what cannot be judged
   without asyncssh has it loaded at once.
2. Loading happens on another thread, once, however many ask for it.
"""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from backends.ports import AttemptKey, AttemptStatus, Host, LogChunk, Look, ProbeReport
from backends.ssh.settings import SSHSettings

if TYPE_CHECKING:
    from backends.ssh.executor import SSHExecutor


class DeferredSSHExecutor:
    """A `ports.NodeExecutor`, see there."""

    def __init__(self, settings: SSHSettings, *, random: Random | None = None) -> None:
        """Look at the client keys; nothing is dialled yet.

        Args:
            random: As for `SSHExecutor`.

        Raises:
            ValueError: There is no client key, or one cannot be used; the message says which and why.
        """
        self._settings, self._random = settings, random
        self._lock = asyncio.Lock()
        self._executor: SSHExecutor | None = None
        paths = settings.client_key_paths
        if not paths or not all(map(_is_usable, paths)):
            self._executor = _executor_class()(settings, random=random)

    async def probe(self, host: Host, *, timeout_s: float) -> ProbeReport:
        return await (await self._made()).probe(host, timeout_s=timeout_s)

    async def fence(self, host: Host, epoch: int, *, job: str) -> None:
        await (await self._made()).fence(host, epoch, job=job)

    async def status(self, host: Host, epoch: int, key: AttemptKey) -> AttemptStatus:
        return await (await self._made()).status(host, epoch, key)

    async def run(
        self, host: Host, epoch: int, key: AttemptKey, script: bytes, *, wait_s: float
    ) -> AttemptStatus:
        return await (await self._made()).run(host, epoch, key, script, wait_s=wait_s)

    async def kill(self, host: Host, epoch: int, key: AttemptKey) -> AttemptStatus:
        return await (await self._made()).kill(host, epoch, key)

    async def read_log(self, host: Host, key: AttemptKey, *, offset: int, bytes_max: int) -> LogChunk:
        return await (await self._made()).read_log(host, key, offset=offset, bytes_max=bytes_max)

    async def follow(self, host: Host, key: AttemptKey, *, offset: int) -> AsyncIterator[LogChunk]:
        async for chunk in (await self._made()).follow(host, key, offset=offset):
            yield chunk

    async def look(
        self, host: Host, script: bytes, *, timeout_s: float, output_bytes_max: int, once: bool = False
    ) -> Look:
        return await (await self._made()).look(
            host, script, timeout_s=timeout_s, output_bytes_max=output_bytes_max, once=once
        )

    async def close(self) -> None:
        if self._executor is not None:
            await self._executor.close()

    async def _made(self) -> "SSHExecutor":
        if self._executor is None:
            async with self._lock:
                if self._executor is None:
                    made = await asyncio.to_thread(_executor_class)
                    self._executor = made(self._settings, random=self._random)
        return self._executor


def _executor_class() -> "type[SSHExecutor]":
    from backends.ssh.executor import SSHExecutor  # noqa: PLC0415 - what is deferred

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
