"""Follows an attempt's output over as many connections as that takes: no byte lost, none twice."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import asyncssh

from backends.ports import AttemptKey, CommandFailed, Host, LogChunk, Refused, Unreachable
from backends.runner import answers, script
from backends.ssh.calls import OUTPUT_BYTES_MARGIN, Calls
from backends.ssh.connections import Connections, Lane
from backends.ssh.sessions import Session, SessionLostError, SessionNotOpenedError, open_session
from backends.ssh.settings import SSHSettings


async def follow(
    calls: Calls, connections: Connections, settings: SSHSettings, host: Host, key: AttemptKey, *, offset: int
) -> AsyncIterator[LogChunk]:
    """Yield what `NodeExecutor.follow` promises."""
    now = asyncio.get_running_loop().time
    course = calls.course(host, deadline=now() + settings.command_timeout_s)
    installed = False
    while True:
        try:
            async with connections.lease(host, Lane.FOLLOW, deadline=course.open_by) as connection:
                stream = _stream(connection, host, key, offset, deadline=course.deadline)
                async with aclosing(stream):
                    async for data in stream:
                        # It is alive: what follows has as much time to come back as the first call had.
                        course = calls.course(host, deadline=now() + settings.command_timeout_s)
                        course.sent = True
                        yield LogChunk(offset=offset, data=data)
                        offset += len(data)
                yield LogChunk(offset=offset, data=b"", complete=True)
                return
        except (SessionLostError, SessionNotOpenedError, Unreachable, Refused) as failure:
            await course.pause(failure)
        except _NotInstalledError as failure:
            if installed:
                raise CommandFailed(host.name, "does not run the runner that was put there") from failure
            installed = True
            async with connections.lease(host, Lane.QUICK, deadline=course.deadline) as connection:
                await calls.provide(host, connection, deadline=course.deadline)


class _NotInstalledError(Exception):
    """The node has no runner of this version yet."""


async def _stream(
    connection: asyncssh.SSHClientConnection, host: Host, key: AttemptKey, offset: int, *, deadline: float
) -> AsyncGenerator[bytes, None]:
    """Yield the raw output from `offset` on; ends when the attempt is over."""
    session = Session()
    try:
        async with asyncio.timeout_at(deadline):
            command = script.command_line(script.follow_words(key, offset=offset))
            (await open_session(connection, command, session)).write_eof()
            head = await _head(session, host)
        if head:
            yield head
        while data := await session.read():
            yield data
        await session.end()
    except TimeoutError as failure:
        connection.abort()
        raise SessionLostError("no answer in time") from failure
    finally:
        session.abort()


async def _head(session: Session, host: Host) -> bytes:
    """Read up to the end of the header, and return what came after it."""
    heard = b""
    while (answer := answers.split(heard)) is None:
        data = await session.read()
        if not data:
            finished = await session.end()
            if answers.is_not_installed(heard, finished.exit_status):
                raise _NotInstalledError
            raise CommandFailed(host.name, "did not answer like a runner")
        heard += data
        if len(heard) > OUTPUT_BYTES_MARGIN:
            raise CommandFailed(host.name, "prints without end before its answer; look at its login scripts")
    answers.parse_follow_header(host.name, answer)
    return answer.rest
