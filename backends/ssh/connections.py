"""The pool: one kept connection per node, dialled once however many ask, with many commands at once on it.

1. A lost connection is dropped at once; whoever needs the node next dials again.
2. A connection serves a few commands of each kind at once, so that long ones never shut out the short
   ones, and all together never exceed sshd's MaxSessions (10).
3. Idle connections are closed after a while, and earlier where there are too many.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from random import Random

import asyncssh

from backends.ports import BackendError, Host, Refused, Unreachable
from backends.ssh import errors, keys
from backends.ssh.dial import Dialer, heard_at
from backends.ssh.pacing import Pacing
from backends.ssh.sessions import SessionLostError
from backends.ssh.settings import SSHSettings

_CLOSE_TIMEOUT_S = 5.0


class Lane(Enum):
    """Kinds of commands, each with how many run at once on one connection."""

    RUN = ("run", 2)
    FOLLOW = ("follow", 3)
    QUICK = ("quick", 2)
    LOOK = ("look", 2)
    EXEC = ("exec", 1)

    @property
    def places(self) -> int:
        return self.value[1]


@dataclass(slots=True, eq=False)
class _Line:
    """What is kept of one node."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    lanes: dict[Lane, asyncio.Semaphore] = field(
        default_factory=lambda: {lane: asyncio.Semaphore(lane.places) for lane in Lane}
    )
    connection: asyncssh.SSHClientConnection | None = None
    users: int = 0
    idle_since: float = 0.0
    idle_close: asyncio.TimerHandle | None = None
    failure: BackendError | None = None
    failed_at: float = 0.0


class Connections:
    """Opens, keeps, shares and closes connections."""

    def __init__(self, settings: SSHSettings, random: Random) -> None:
        """Load the client keys.

        Raises:
            ValueError: There is none, or one cannot be used; the message says which and why.
        """
        self._settings = settings
        self._dialer = Dialer(settings, Pacing(settings, random))
        self._lines: dict[Host, _Line] = {}
        self._closed = False

    @asynccontextmanager
    async def lease(
        self, host: Host, lane: Lane, *, deadline: float
    ) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """Hold a connection to `host`, whose key is pinned, for one command.

        Args:
            deadline: On the loop's clock.

        Raises:
            Unreachable, Refused. A `SessionLostError` of the caller's is told when the node was heard last.
        """
        if not host.host_key:
            raise errors.host_key_unknown(host)
        line = self._lines.setdefault(host, _Line())
        line.users += 1
        if line.idle_close is not None:
            line.idle_close.cancel()
            line.idle_close = None
        try:
            async with contextlib.AsyncExitStack() as stack:
                try:
                    async with asyncio.timeout_at(deadline):
                        await stack.enter_async_context(line.lanes[lane])
                        connection = await self._connected(line, host, deadline)
                except TimeoutError:
                    raise Unreachable(
                        host.name, "no session with it became free in time; try again"
                    ) from None
                try:
                    yield connection
                except SessionLostError as failure:
                    failure.heard_at = heard_at(connection)
                    raise
        finally:
            line.users -= 1
            if line.users == 0:
                self._rest(host, line)

    @asynccontextmanager
    async def meet(
        self, host: Host, *, deadline: float
    ) -> AsyncIterator[tuple[asyncssh.SSHClientConnection, str]]:
        """Hold a fresh connection and the host key that answered; it is closed at the end.

        Where `host.host_key` is given, only that key is accepted.

        Raises:
            Unreachable, Refused.
        """
        self._check_open(host)
        connection = await self._dialer.dial(host, deadline=deadline)
        try:
            key = connection.get_server_host_key()
            if key is None:
                raise Refused(host.name, f"{errors.where(host)} proved no host key")
            yield connection, keys.openssh_form(key)
        finally:
            connection.abort()

    def retire(self, host: Host, connection: asyncssh.SSHClientConnection) -> None:
        """Drop a connection that does not answer as it should; commands on it are lost, not undone."""
        line = self._lines.get(host)
        if line is not None and line.connection is connection:
            line.connection = None
        connection.abort()

    def __len__(self) -> int:
        """Return how many connections are kept."""
        return sum(1 for line in self._lines.values() if line.connection is not None)

    async def close(self) -> None:
        """Close every connection; later calls are refused."""
        self._closed = True
        kept = [line.connection for line in self._lines.values() if line.connection is not None]
        for line in self._lines.values():
            if line.idle_close is not None:
                line.idle_close.cancel()
        self._lines.clear()
        for connection in kept:
            connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                for connection in kept:
                    await connection.wait_closed()
        for connection in kept:
            connection.abort()

    async def _connected(self, line: _Line, host: Host, deadline: float) -> asyncssh.SSHClientConnection:
        now = asyncio.get_running_loop().time
        asked_at = now()
        async with contextlib.AsyncExitStack() as stack:
            await _turn(stack, line.lock, host, deadline)
            if line.connection is not None and not line.connection.is_closed():
                return line.connection
            line.connection = None
            self._check_open(host)
            if line.failure is not None and line.failed_at >= asked_at:
                # Whoever waited for this dial shares its end, instead of dialling one after the other.
                raise type(line.failure)(host.name, line.failure.message)
            self._make_room()
            try:
                connection = await self._dialer.dial(host, deadline=deadline)
            except BackendError as failure:
                line.failure, line.failed_at = failure, now()
                raise
            if self._lines.get(host) is not line:  # closed meanwhile
                connection.abort()
                self._check_open(host)
            line.connection, line.failure = connection, None
            return connection

    def _check_open(self, host: Host) -> None:
        if self._closed:
            raise Unreachable(host.name, "hamgr is stopping and opens no more connections")

    def _rest(self, host: Host, line: _Line) -> None:
        """Nobody uses the line now: forget it, or close it after a while."""
        if self._closed or self._lines.get(host) is not line:
            return
        if line.connection is None or line.connection.is_closed():
            del self._lines[host]
            return
        loop = asyncio.get_running_loop()
        line.idle_since = loop.time()
        line.idle_close = loop.call_later(self._settings.idle_close_s, self._drop, host, line)

    def _drop(self, host: Host, line: _Line) -> None:
        if line.idle_close is not None:
            line.idle_close.cancel()
        if line.connection is not None:
            line.connection.close()
        if self._lines.get(host) is line:
            del self._lines[host]

    def _make_room(self) -> None:
        if len(self._lines) <= self._settings.connections_max:
            return
        idle = [(line.idle_since, host, line) for host, line in self._lines.items() if line.users == 0]
        if idle:
            _, host, line = min(idle, key=lambda entry: entry[0])
            self._drop(host, line)


async def _turn(
    stack: contextlib.AsyncExitStack, place: asyncio.Semaphore | asyncio.Lock, host: Host, deadline: float
) -> None:
    """Take a place until the stack ends."""
    try:
        async with asyncio.timeout_at(deadline):
            await stack.enter_async_context(place)
    except TimeoutError:
        raise Unreachable(host.name, "no session with it became free in time; try again later") from None
