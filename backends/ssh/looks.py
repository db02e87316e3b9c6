"""A look at a node: a script that changes nothing, on a session of its own, bounded in output and time.

1. The script travels on standard input inside of braces, so that a shell that got only a part of it runs
   none of it, and with an empty standard input of its own.
2. What the login prints first is not the script's: its output begins behind a mark that nobody could know.
3. Output is read to its end, so that its last line is known, and kept only in part. Beyond `READ_BYTES_MAX`
   the session is closed; the script then fails to write, or timeout(1) ends it.
"""

import asyncio
import contextlib
import math
import secrets

import asyncssh

from backends.ports import LOOK_TAIL_BYTES, CommandFailed, Host, Look, Refused, TimedOut, Unreachable
from backends.runner.answers import NOISE_BYTES_MAX
from backends.ssh.calls import Calls
from backends.ssh.connections import Connections, Lane
from backends.ssh.sessions import Receiver, SessionLostError, SessionNotOpenedError, open_session

READ_BYTES_MAX = 8 * 1024 * 1024
"""The most that is read of one look, kept or not."""
KILL_GRACE_S = 1
"""How much later than we the node gives up."""
COMMAND = (
    'exec sh -c \'root=${HAMGR_ROOT:-}; cd "${root:-/}" || exit 74; umask 022; printf "%s\\n" "$2"; bound=;'
    ' if command -v timeout >/dev/null 2>&1; then bound="timeout -s KILL $1"; fi;'
    ' exec env -i HAMGR_ROOT="$root" HAMGR_STATE="${root%/}/var/lib/hamgr" LC_ALL=C.UTF-8 HOME="${HOME:-/}"'
    ' PATH="${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}" $bound sh -s 2>&1\' look'
)
"""Fixed text; the seconds and the mark follow as plain words. The environment is that of a step."""
_MARK_BYTES = 16


class _Output:
    """The start and the end of an output; what is between them is counted and dropped."""

    def __init__(self, bytes_max: int) -> None:
        self._head_bytes_max = bytes_max - LOOK_TAIL_BYTES
        self._head = bytearray()
        self._tail = bytearray()
        self.bytes = 0

    @property
    def truncated(self) -> bool:
        return self.bytes > self._head_bytes_max + LOOK_TAIL_BYTES

    def add(self, data: bytes) -> None:
        self.bytes += len(data)
        room = max(0, self._head_bytes_max - len(self._head))
        self._head += data[:room]
        self._tail += data[room:]
        del self._tail[:-LOOK_TAIL_BYTES]

    def text(self) -> bytes:
        return bytes(self._head + self._tail)


class _Session(Receiver):
    """Receives from one look."""

    def __init__(self, mark: bytes, output_bytes_max: int) -> None:
        super().__init__()
        self.over = asyncio.Event()
        self.output = _Output(output_bytes_max)
        self.marked = False
        self.too_long = False
        self.exit_status: int | None = None
        self._mark = mark
        self._noise = bytearray()

    def output_received(self, data: bytes) -> None:
        if not self.marked:
            self._noise += data
            before, mark, data = bytes(self._noise).partition(self._mark)
            self.marked = bool(mark)
            if not self.marked:
                self._stop_if(len(before) > NOISE_BYTES_MAX)
                return
        self.output.add(data)
        self._stop_if(self.output.bytes > READ_BYTES_MAX)

    def _stop_if(self, too_long: bool) -> None:  # noqa: FBT001, RUF100 (read as a sentence where it is called)
        if too_long:
            self.too_long = True
            self.abort()
            self.over.set()

    def exit_status_received(self, status: int) -> None:
        self.exit_status = status

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncssh's signature; the status tells)
        self.ended = True
        self.over.set()


def enclosed(script: bytes) -> bytes:
    """Return `script` so that a shell runs all of it or nothing, with nothing to read."""
    return b"{\n%b\n} </dev/null\n" % script


async def look(
    calls: Calls,
    connections: Connections,
    host: Host,
    script: bytes,
    *,
    timeout_s: float,
    output_bytes_max: int,
) -> Look:
    """Do what `NodeExecutor.look` promises, for a script that is not too long."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    course = calls.course(host, deadline=deadline, again="look again")
    while True:
        try:
            async with connections.lease(host, Lane.LOOK, deadline=course.open_by) as connection:
                session = await _looked(connection, host, script, deadline, timeout_s, output_bytes_max)
                return _seen(host, session)
        except (SessionLostError, SessionNotOpenedError, Unreachable, Refused) as failure:
            await course.pause(failure)


async def _looked(
    connection: asyncssh.SSHClientConnection,
    host: Host,
    script: bytes,
    deadline: float,
    timeout_s: float,
    output_bytes_max: int,
) -> _Session:
    """Send the script and return its session when it is over.

    Raises:
        SessionNotOpenedError, SessionLostError, TimedOut.
    """
    mark = secrets.token_hex(_MARK_BYTES)
    session = _Session(mark.encode() + b"\n", output_bytes_max)
    left_s = deadline - asyncio.get_running_loop().time()
    command = f"{COMMAND} {math.ceil(max(left_s, 0.0)) + KILL_GRACE_S} {mark}"
    try:
        async with asyncio.timeout_at(deadline):
            channel = await open_session(connection, command, session)
            with contextlib.suppress(BrokenPipeError):  # closed already; its end says why
                channel.write(enclosed(script))
                channel.write_eof()
            await session.over.wait()
    except TimeoutError as failure:
        if session.channel is None:
            connection.abort()
            raise SessionNotOpenedError("it opened no session in time") from failure
        raise TimedOut(host.name, f"had not looked in {timeout_s:g} s") from failure
    finally:
        session.abort()
    if session.exit_status is None and not session.too_long:
        raise SessionLostError("the connection was lost")
    return session


def _seen(host: Host, session: _Session) -> Look:
    if not session.marked:
        raise CommandFailed(
            host.name, "did not run the script; is its login shell a POSIX sh, and what do its scripts print?"
        )
    output = session.output
    # What was cut off may have sent a status in the same moment; it is not one that the script chose.
    code = None if session.too_long else session.exit_status
    return Look(exit_code=code, output=output.text(), truncated=output.truncated or session.too_long)
