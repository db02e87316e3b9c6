"""The backups that one replica makes while it runs: at their time, verified, and told about.

1. A backup is of a state that holds all that was acknowledged before it was begun. Without a leader none is
   made: what a minority has may be old.
2. It counts when it was restored in a scratch folder, gave the same state, and `command` ended with 0.
3. A failure is told once in the cluster's events, stands in `hamgr status` until a backup succeeds, and the
   next try comes after `RETRY_S`.
"""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends.blobs import BlobError
from hamgr.backup import files
from hamgr.backup.files import Kept
from hamgr.backup.sealed import BadBackup, Header, key_id
from hamgr.backup.settings import BackupSection
from hamgr.raft.port import ConsensusError, Replica
from hamgr.security.backup_key import BadBackupKey, read_backup_key
from statemachine.model import State
from statemachine.words import Digest

RETRY_S = 600.0
LOOK_S = 30.0
"""How often it is looked whether a backup is due: the clock may be set, and files may be removed."""
READ_TIMEOUT_S = 10.0
OUTPUT_CHARS_MAX = 300

log = logging.getLogger(__name__)


class BackupFailed(Exception):
    """No backup was made, or it is not good; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where a backup's parts come from.

    Attributes:
        cluster: Id, as in the certificates.
        files: By their name in a backup (`content.FILES`).
        fetch: Returns a bundle, and sees to it that it is in the store.
        stored: Reads one from the store; blocks.
    """

    cluster: str
    replica: Replica
    version: str
    files: Mapping[str, Path]
    fetch: Callable[[Digest], Awaitable[bytes]]
    stored: Callable[[Digest], bytes]


class BackupService:
    """Makes backups; one at a time."""

    def __init__(
        self, settings: BackupSection, sources: Sources, *, tell: Callable[[str, str], Awaitable[object]]
    ) -> None:
        """Nothing is read yet.

        Args:
            tell: Makes an event of a kind and a message.
        """
        self._settings, self._sources, self._tell = settings, sources, tell
        self._turn = asyncio.Lock()
        self._failure = ""
        self._last: Kept | None = None

    async def run(self) -> None:
        """Make backups for ever."""
        while True:
            await asyncio.sleep(await self._wait_s())
            if await asyncio.to_thread(self._due):
                with contextlib.suppress(BackupFailed):
                    await self.make()

    async def make(self) -> Kept:
        """Make a backup now, verify it, and throw old ones away.

        Raises:
            BackupFailed: There is no new one, or none to rely on.
        """
        async with self._turn:
            try:
                made = await self._make()
            except (ConsensusError, BlobError, BadBackup, BadBackupKey, OSError, BackupFailed) as error:
                why = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)
                await self._failed(why)
                raise BackupFailed(why) from error
            if self._failure:
                await self._say("backup-made", f"backups are made again: {made.path.name}")
            self._failure, self._last = "", made
            log.info("made %s, %d bytes", made.path, made.bytes)
            return made

    @property
    def summary(self) -> dict[str, Any]:
        """Return what `hamgr status` needs to know."""
        last = self._last
        return {"failure": self._failure, "at": last.header.at if last else None}

    def view(self) -> dict[str, Any]:
        """Return all backups of this cluster in the directory, the newest first; reads the disk."""
        return self.summary | {
            "replica": self._sources.replica.name,
            "directory": str(self._settings.directory),
            "every_s": self._settings.every_s,
            "items": [line(one) for one in self._own()],
        }

    async def _make(self) -> Kept:
        settings, sources = self._settings, self._sources
        key = await asyncio.to_thread(read_backup_key, settings.key_file)
        state = await sources.replica.read(timeout_s=READ_TIMEOUT_S)
        for digest in state.bundles:
            await sources.fetch(digest)
        made = await asyncio.to_thread(self._write, key, state)
        if settings.command:
            await self._hand_on(made.path)
        gone = await asyncio.to_thread(
            files.prune,
            settings.directory,
            cluster=sources.cluster,
            keep_last=settings.keep_last,
            keep_days=settings.keep_days,
            now=time.time(),
        )
        for path in gone:
            log.info("removed %s, which is old enough", path)
        return made

    def _write(self, key: bytes, state: State) -> Kept:
        settings, sources = self._settings, self._sources
        header = Header(
            cluster=sources.cluster,
            replica=sources.replica.name,
            index=state.index,
            at=time.time(),
            version=sources.version,
            key_id=key_id(key),
        )
        blobs = ((digest, sources.stored(digest)) for digest in state.bundles)
        kept = {name: path.read_bytes() for name, path in sources.files.items() if path.exists()}
        path, digest = files.make(settings.directory, key, header, state, files=kept, blobs=blobs)
        try:
            _prove(path, key, digest)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Kept(path=path, bytes=path.stat().st_size, header=header)

    async def _hand_on(self, path: Path) -> None:
        command = self._settings.command
        process = await asyncio.create_subprocess_exec(
            *command, path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            async with asyncio.timeout(self._settings.command_timeout_s):
                said, _ = await process.communicate()
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise BackupFailed(
                f"{path} is made, but `{command[0]}` took more than {self._settings.command_timeout_s:g} s"
            ) from error
        if process.returncode:
            words = said.decode("utf-8", "replace").strip()[-OUTPUT_CHARS_MAX:]
            raise BackupFailed(f"{path} is made, but `{command[0]}` ended with {process.returncode}: {words}")

    async def _failed(self, why: str) -> None:
        log.warning("no backup to rely on was made: %s", why)
        first, self._failure = not self._failure, why
        if first:
            await self._say("backup-failed", why)

    async def _say(self, kind: str, message: str) -> None:
        with contextlib.suppress(ConsensusError):  # the log has it, and `hamgr status`
            await self._tell(kind, message)

    async def _wait_s(self) -> float:
        return RETRY_S if self._failure else LOOK_S if self._last else 1.0

    def _due(self) -> bool:
        mine = [one for one in self._own() if one.header.replica == self._sources.replica.name]
        self._last = mine[0] if mine else None
        return is_due(mine, every_s=self._settings.every_s, now=time.time())

    def _own(self) -> list[Kept]:
        found = files.listed(self._settings.directory)
        return [one for one in found if one.header.cluster == self._sources.cluster]


def is_due(mine: Iterable[Kept], *, every_s: float, now: float) -> bool:
    """Return whether no backup is recent; one that is dated in the future was made by a wrong clock."""
    return not any(0 <= now - one.header.at < every_s for one in mine)


def _prove(path: Path, key: bytes, digest: str) -> None:
    found = files.verify(path, key)
    if hashlib.sha256(found.encoded).hexdigest() != digest:
        raise BackupFailed(f"{path}: what is restored from it is another state; look at that disk")


def line(one: Kept) -> dict[str, Any]:
    """Return a backup as lists show it."""
    return {
        "file": str(one.path),
        "bytes": one.bytes,
        "at": one.header.at,
        "index": one.header.index,
        "replica": one.header.replica,
        "version": one.header.version,
    }
