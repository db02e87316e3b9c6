"""One command on a connection: its input, its bounded output, its end.

1. A command line is fixed text and plain words (`backends.runner.script`); data travels on standard input.
2. Output beyond its bound is never kept; the channel is closed instead.
3. Whoever fails learns whether the command may have run.
"""

import asyncio
import contextlib
from abc import abstractmethod
from collections import deque
from dataclasses import dataclass

import asyncssh

_STDERR_BYTES_MAX = 4 * 1024
_STREAM_BYTES_HIGH = 256 * 1024
_WINDOW_BYTES = 256 * 1024


class SessionNotOpenedError(Exception):
    """The node (or its connection) gave no session; the command was not sent."""


class SessionLostError(Exception):
    """The connection ended first; the command may have run, and may run still.

    `heard_at` is when the node's last byte came, on the loop's clock; None where nobody has told yet.
    """

    heard_at: float | None = None


class OutputTooLongError(Exception):
    """The command said more than an answer may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a command ended. `exit_status` is 128 + 15 when a signal ended it."""

    exit_status: int
    stdout: bytes
    stderr: bytes


class Receiver(asyncssh.SSHClientSession[bytes]):
    """What any session on a channel has: the channel, the start of its standard error, and its end."""

    def __init__(self) -> None:
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.ended = False
        self._stderr = bytearray()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self.channel = chan

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if datatype == asyncssh.EXTENDED_DATA_STDERR:
            self._stderr += data[: max(0, _STDERR_BYTES_MAX - len(self._stderr))]
        else:
            self.output_received(data)

    @abstractmethod
    def output_received(self, data: bytes) -> None:
        """Take a part of the standard output."""

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:  # noqa: ARG002, FBT001, RUF100 (asyncssh's signature)
        self.exit_status_received(128 + 15)

    def abort(self) -> None:
        """Close the channel at once; what runs on the node is not told."""
        if self.channel is not None and not self.ended:
            self.channel.abort()


class Session(Receiver):
    """Receives from one channel into a bounded buffer.

    With `bytes_max` the whole output is collected, and more than that ends the session; without it the
    output is a stream: the node is held back while the reader is slow.
    """

    def __init__(self, bytes_max: int | None = None) -> None:
        super().__init__()
        self._bytes_max = bytes_max
        self._chunks: deque[bytes] = deque()
        self._bytes = 0
        self._paused = False
        self._too_long = False
        self._changed = asyncio.Event()
        self._exit_status: int | None = None

    def output_received(self, data: bytes) -> None:
        if self._bytes_max is not None and self._bytes + len(data) > self._bytes_max:
            self._too_long = True
            self.abort()
            return
        self._chunks.append(data)
        self._bytes += len(data)
        if self._bytes_max is None and self._bytes >= _STREAM_BYTES_HIGH and self.channel is not None:
            self._paused = True
            self.channel.pause_reading()
        self._changed.set()

    def exit_status_received(self, status: int) -> None:
        self._exit_status = status

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncssh's signature; the exit status tells)
        self.ended = True
        self._changed.set()

    async def read(self) -> bytes:
        """Return the next part of the output, `b""` at its end."""
        while not self._chunks and not self.ended:
            self._changed.clear()
            await self._changed.wait()
        data = b"".join(self._chunks)
        self._chunks.clear()
        if self._bytes_max is None:
            self._bytes = 0
        if self._paused and self.channel is not None and not self.ended:
            self._paused = False
            self.channel.resume_reading()
        return data

    async def end(self) -> Finished:
        """Wait for the command to end and return what is left of its output.

        Raises:
            SessionLostError, OutputTooLongError.
        """
        parts = []
        while data := await self.read():
            parts.append(data)
        if self._too_long:
            raise OutputTooLongError
        if self._exit_status is None:
            raise SessionLostError("the connection was lost")
        return Finished(exit_status=self._exit_status, stdout=b"".join(parts), stderr=bytes(self._stderr))


async def open_session(
    connection: asyncssh.SSHClientConnection, command: str, session: Receiver
) -> asyncssh.SSHClientChannel[bytes]:
    """Start a command and return its channel.

    Raises:
        SessionNotOpenedError: It was not sent.
        SessionLostError: The connection ended while it was being sent.
    """
    try:
        channel, _ = await connection.create_session(
            lambda: session, command, encoding=None, window=_WINDOW_BYTES
        )
    except asyncssh.ChannelOpenError as failure:
        raise SessionNotOpenedError(failure.reason) from failure
    except (OSError, asyncssh.Error) as failure:
        raise SessionLostError("the connection was lost") from failure
    except asyncio.CancelledError:
        # The node may open the session later, and nobody would ever close it: sshd allows ten.
        if session.channel is None:
            connection.abort()
        raise
    return channel


async def execute(
    connection: asyncssh.SSHClientConnection,
    command: str,
    stdin: bytes = b"",
    *,
    deadline: float,
    output_bytes_max: int,
) -> Finished:
    """Run a command to its end with `stdin` as its whole input.

    Args:
        deadline: On the loop's clock. A connection that misses it is closed: it is of no use to others.

    Raises:
        SessionNotOpenedError: The command was not sent.
        SessionLostError: It may have run.
        OutputTooLongError.
    """
    session = Session(output_bytes_max)
    try:
        async with asyncio.timeout_at(deadline):
            channel = await open_session(connection, command, session)
            with contextlib.suppress(BrokenPipeError):  # closed already; its end says why
                if stdin:
                    channel.write(stdin)
                channel.write_eof()
            return await session.end()
    except TimeoutError as failure:
        connection.abort()
        if session.channel is None:
            raise SessionNotOpenedError("it opened no session in time") from failure
        raise SessionLostError("no answer in time") from failure
    finally:
        session.abort()
