"""Runs the operator's fencing command: bounded in time and output, and believed only when it ends with 0.

1. Exit status 0 is success. Any other, a signal, a time-out, and a command that cannot be started are not.
2. What is killed after its time-out is killed with all that it has started.
"""

import asyncio
import contextlib
import os
import signal

from hamgr.fencing.port import Verdict
from hamgr.fencing.settings import FencingSection
from hamgr.raft.protocol.membership import Member

WORDS_BYTES_MAX = 1_000
READ_BYTES = 16 * 1024


class CommandFence:
    """A `Fence` that is a program of this machine; event loop only."""

    def __init__(self, settings: FencingSection) -> None:
        self._settings = settings

    async def off(self, member: Member) -> Verdict:
        return await self._run("off", member)

    async def status(self, member: Member) -> Verdict:
        return await self._run("status", member)

    async def _run(self, verb: str, member: Member) -> Verdict:
        settings = self._settings
        command = settings.command[0]
        address = member.raft.rpartition(":")[0].strip("[]")
        try:
            process = await asyncio.create_subprocess_exec(
                *settings.command,
                verb,
                member.name,
                address,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return Verdict(ok=False, words=f"{command} cannot be started: {error.strerror}")
        said = b""
        try:
            async with asyncio.timeout(settings.timeout_s):
                while process.stdout is not None and (piece := await process.stdout.read(READ_BYTES)):
                    said = (said + piece)[-WORDS_BYTES_MAX:]
                status = await process.wait()
        except TimeoutError:
            return Verdict(
                ok=False, words=_joined(f"{command} took more than {settings.timeout_s:g} s", said)
            )
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return Verdict(ok=status == 0, words=_joined(f"{command} {verb} ended with {status}", said))


def _joined(what: str, said: bytes) -> str:
    words = " ".join(said.decode("utf-8", "replace").split())
    return f"{what}: {words}" if words else what
