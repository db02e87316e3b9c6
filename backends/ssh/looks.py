"""Looks at nodes: scripts outside of any attempt, bounded in output and time, on a session that is kept.

A session for each look costs the node's sshd a process and a login shell, and both sides some ten packets; so
one stays open on a connection and serves one look after the other.

1. On the node a shell reads orders from its standard input. Each is whole or nothing: the script travels in a
   here-document, inside of braces, so that a shell that got only a part of it runs none of it. It is run by a
   shell of its own, with an empty standard input, and leaves nothing behind in the one that reads on.
2. What the login prints first is not the script's: its output stands between two marks that nobody could
   know before. Of what a process that was left in the background prints later, nothing else keeps it apart.
3. Output is read to its end, so that its last line is known, and kept only in part. Beyond `READ_BYTES_MAX`
   the session is closed; the script then fails to write, or timeout(1) ends it.
4. A session that was left in the middle of a look, or that speaks unasked, is closed and never used again.
5. What may be run once only has a session of its own, so that one that takes long holds up no other look.
"""

import asyncio
import contextlib
import math
import re
import secrets
from collections.abc import Callable
from typing import TypeAlias

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
    'exec sh -c \'root=${HAMGR_ROOT:-}; cd "${root:-/}" || exit 74; umask 022;'
    ' exec env -i HAMGR_ROOT="$root" HAMGR_STATE="${root%/}/var/lib/hamgr" LC_ALL=C.UTF-8 HOME="${HOME:-/}"'
    ' PATH="${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}" sh -s\' look'
)
"""Fixed text. The environment is that of a step."""
FIRST_ORDER = b"""\
bound() { shift; "$@"; }
if command -v timeout >/dev/null 2>&1; then bound() { timeout -s KILL "$@"; }; fi
"""
_ORDER = b"printf '%%s\\n' %(mark)b; bound %(seconds)d sh -s <<'%(mark)b' 2>&1\n%(script)b%(mark)b\n"
_ORDER_END = b"printf '\\n%%s %%s\\n' %(mark)b $?\n"
_MARK_BYTES = 16
_STATUS = re.compile(rb"[0-9]{1,3}\n")
_END_BYTES_MAX = 2 * _MARK_BYTES + len("\n 255\n")


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


_Place: TypeAlias = tuple[asyncssh.SSHClientConnection, Lane]
"""Where a session is; it is the only one there, and serves one look at a time."""


class _Look:
    """One look and what came for it so far.

    Attributes:
        begun: Its first mark has come: the script was there, whole or not.
        exit_code: Behind its second mark.
    """

    def __init__(self, output_bytes_max: int) -> None:
        self.mark = secrets.token_hex(_MARK_BYTES).encode()
        self.over = asyncio.Event()
        self.output = _Output(output_bytes_max)
        self.begun = False
        self.too_long = False
        self.exit_code: int | None = None
        self._end = b"\n%b " % self.mark
        self._held = b""

    def order(self, script: bytes, timeout_s: float) -> bytes:
        """Return what has the node look; `timeout_s` is what is left."""
        seconds = math.ceil(max(timeout_s, 0.0)) + KILL_GRACE_S
        return (_ORDER + _ORDER_END) % {
            b"mark": self.mark,
            b"seconds": seconds,
            b"script": enclosed(script),
        }

    def take(self, data: bytes) -> None:
        """Take a part of what came; the end of it is held back until it is known not to be the last mark."""
        data = self._held + data
        if not self.begun:
            noise, mark, after = data.partition(self.mark + b"\n")
            self.begun = bool(mark)
            if not self.begun:
                self._held = data
                self.too_long = len(noise) > NOISE_BYTES_MAX
                return
            data = after
        output, mark, status = data.rpartition(self._end)
        if mark and _STATUS.fullmatch(status):
            self.exit_code = int(status)
            self.output.add(output)
            self.over.set()
            return
        kept = max(0, len(data) - _END_BYTES_MAX)
        self.output.add(data[:kept])
        self._held = data[kept:]
        self.too_long = self.output.bytes > READ_BYTES_MAX

    def lost(self) -> None:
        """Nothing more will come."""
        if self.begun and self.too_long:
            self.output.add(self._held)
        self.over.set()


class _Session(Receiver):
    """The shell on one node that reads orders; serves one look at a time."""

    def __init__(self, on_end: "Callable[[_Session], None]") -> None:
        super().__init__()
        self.look: _Look | None = None
        self.used = False
        self.status: int | None = None
        """Of what the login ran, which should not end."""
        self.spoilt = False
        """It is about to end, and serves nobody any more."""
        self._on_end = on_end
        self._noise = bytearray()

    def output_received(self, data: bytes) -> None:
        if self.look is not None and not self.look.over.is_set():
            self.look.take(data)
            if self.look.too_long:
                self.abort()
                self.look.lost()
        elif self.used or len(self._noise) > NOISE_BYTES_MAX:
            self.abort()  # it speaks unasked
            self.spoilt = True
            self._on_end(self)
        else:
            self._noise += data  # a login that talks first

    def exit_status_received(self, status: int) -> None:
        self.status = status

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncssh's signature; the end tells)
        self.ended = True
        self._on_end(self)
        if self.look is not None:
            self.look.lost()

    def begin(self, look: _Look, script: bytes, timeout_s: float) -> None:
        """Send an order; `look.over` tells its end."""
        first = b"" if self.used else FIRST_ORDER
        self.look, self.used = look, True
        look.take(bytes(self._noise))
        self._noise.clear()
        if self.ended or self.channel is None:
            look.lost()
            return
        with contextlib.suppress(BrokenPipeError):  # closed already; its end follows
            self.channel.write(first + look.order(script, timeout_s))


def enclosed(script: bytes) -> bytes:
    """Return `script` so that a shell runs all of it or nothing, with nothing to read."""
    return b"{\n%b\n} </dev/null\n" % script


class Looks:
    """Looks at nodes, over kept sessions."""

    def __init__(self, calls: Calls, connections: Connections) -> None:
        self._calls = calls
        self._connections = connections
        self._rest: dict[_Place, list[_Session]] = {}
        """Sessions without a look; a lane's places bound how many there are."""

    async def look(
        self, host: Host, script: bytes, *, timeout_s: float, output_bytes_max: int, once: bool
    ) -> Look:
        """Do what `NodeExecutor.look` promises, for a script that is not too long."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        course = self._calls.course(host, deadline=deadline, again="look again")
        lane = Lane.EXEC if once else Lane.LOOK
        while True:
            try:
                async with self._connections.lease(host, lane, deadline=course.open_by) as connection:
                    session = await self._session((connection, lane), deadline)
                    look = _Look(output_bytes_max)
                    await self._ask((connection, lane), session, look, script, deadline)
            except TimeoutError as failure:
                raise TimedOut(host.name, f"had not looked in {timeout_s:g} s") from failure
            except SessionLostError as failure:
                if once:
                    raise TimedOut(host.name, f"did not answer ({failure}); it may have run") from failure
                await course.pause(failure)
            except (SessionNotOpenedError, Unreachable, Refused) as failure:
                await course.pause(failure)
            else:
                return _seen(host, look)

    async def _session(self, place: _Place, deadline: float) -> _Session:
        """Take a session that rests, or open one.

        Raises:
            SessionNotOpenedError: Nothing was sent.
        """
        if self._rest.get(place):
            session = self._rest[place].pop()
            self._drop_empty(place)
            return session
        session = _Session(lambda ended: self._forget(place, ended))
        try:
            async with asyncio.timeout_at(deadline):
                await open_session(place[0], COMMAND, session)
        except TimeoutError as failure:
            place[0].abort()
            raise SessionNotOpenedError("it opened no session in time") from failure
        except SessionLostError as failure:
            raise SessionNotOpenedError(str(failure)) from failure
        return session

    async def _ask(
        self,
        place: _Place,
        session: _Session,
        look: _Look,
        script: bytes,
        deadline: float,
    ) -> None:
        """Have a session look.

        Raises:
            TimeoutError: It looked too long.
            SessionLostError: It may have looked.
        """
        first = not session.used
        try:
            session.begin(look, script, deadline - asyncio.get_running_loop().time())
            async with asyncio.timeout_at(deadline):
                await look.over.wait()
        finally:
            session.look = None
            if look.exit_code is None:
                session.abort()
            elif not session.ended and not session.spoilt:
                self._rest.setdefault(place, []).append(session)
        ran_nothing = first and not look.begun and session.status is not None
        if look.exit_code is None and not look.too_long and not ran_nothing:
            raise SessionLostError("the connection was lost")

    def _forget(self, place: _Place, session: _Session) -> None:
        """Let a session that has ended be taken by nobody."""
        if session in self._rest.get(place, ()):
            self._rest[place].remove(session)
            self._drop_empty(place)

    def _drop_empty(self, place: _Place) -> None:
        if not self._rest[place]:
            del self._rest[place]


def _seen(host: Host, look: _Look) -> Look:
    if not look.begun:
        raise CommandFailed(
            host.name, "did not run the script; is its login shell a POSIX sh, and what do its scripts print?"
        )
    return Look(
        exit_code=look.exit_code,
        output=look.output.text(),
        truncated=look.output.truncated or look.too_long,
    )
