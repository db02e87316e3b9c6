"""One session that is kept on a connection and serves one call of the runner after the other.

A session for each call costs the node's sshd a process, a login shell and a new `sh`, and both sides some ten
packets: for a short step that is more than anything else that is left to save.

1. On the node a loop of `sh` reads one line for each call, a mark and the runner's words, and obeys it in a
   subshell. Only `run` may read on, and it takes exactly the bytes of its script. The part of the runner that
   `run` needs is read once, when the loop begins; a runner that is gone since then is missed at each call.
2. The answer ends with the call's own mark, which nobody could know before it was sent, and the exit status.
3. Any status but 0 ends the loop once it was answered: bytes that a refused call left unread are never
   taken for an order.
4. A session that was left in the middle of a call is closed, and never used again.
5. There is one at most for a connection; while it is busy, a call gets a session of its own. So what is open
   never exceeds what the lanes of `connections` allow.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import asyncssh

from backends.runner import answers, script
from backends.ssh.sessions import (
    Finished,
    OutputTooLongError,
    Receiver,
    SessionLostError,
    SessionNotOpenedError,
    execute,
    open_session,
)

LOOP_COMMAND = (
    'exec sh -c \'found() { [ -f "$0" ] || exit 127; }; found; set -- define; . "$0";'
    ' other() ( found; . "$0" ); run() ( found; verb_run "$@" ); while read -r mark words; do'
    " case $words in run\\ *) run ${words#run } ;; *) other $words </dev/null ;; esac; status=$?;"
    ' printf "%s %s\\n" "$mark" $status; [ $status -eq 0 ] || exit; done\''
    f' "{script.REMOTE_PATH}"'
)
_ORDER = re.compile(r"[A-Za-z0-9_.-]+( [A-Za-z0-9_.-]+)*\Z")
_STATUS = re.compile(rb" ([0-9]{1,3})\n\Z")
_MARK_BYTES = 16
_STATUS_BYTES_MAX = 5
"""A space, up to three digits, the end of the line."""


@dataclass(slots=True, eq=False)
class _Call:
    """One call and what came for it so far.

    Attributes:
        mark: Ends its answer.
        status: The runner's exit status behind the mark; without the mark, that of the login's command.
    """

    mark: bytes
    output_bytes_max: int
    over: asyncio.Future[None]
    output: bytearray = field(default_factory=bytearray)
    marked: bool = False
    too_long: bool = False
    status: int | None = None

    def take(self, data: bytes) -> bool:
        """Take a part of the output; say whether the answer ends with it."""
        self.output += data
        end = len(self.mark) + _STATUS_BYTES_MAX
        self.too_long = len(self.output) > self.output_bytes_max + end
        place = self.output.rfind(self.mark, max(0, len(self.output) - end)) if data.endswith(b"\n") else -1
        status = _STATUS.match(self.output, place + len(self.mark)) if place >= 0 else None
        if status is not None:
            self.status = int(status[1])
            del self.output[place:]
            self.marked = True
        return self.marked


class KeptSession(Receiver):
    """The loop on one node; serves one call at a time."""

    def __init__(self, on_end: "Callable[[KeptSession], None]") -> None:
        super().__init__()
        self.busy = False
        self._on_end = on_end
        self._calls = 0
        self._noise = bytearray()
        self._status: int | None = None
        self._call: _Call | None = None

    def output_received(self, data: bytes) -> None:
        call = self._call
        if call is None and not self._calls and len(self._noise) <= answers.NOISE_BYTES_MAX:
            self._noise += data  # a login that talks first
        elif call is None or call.marked:
            self.abort()  # it speaks unasked
        else:
            answered = call.take(data)
            if call.too_long:
                self.abort()
            elif answered:
                self._tell()

    def exit_status_received(self, status: int) -> None:
        self._status = status

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncssh's signature; the status tells)
        self.ended = True
        self._on_end(self)
        self._tell()

    def _tell(self) -> None:
        if self._call is not None and not self._call.over.done():
            self._call.over.set_result(None)

    async def call(self, words: list[str], stdin: bytes, *, output_bytes_max: int) -> Finished:
        """Have the runner obey `words`, with `stdin` as its script; any status but 0 ends the session.

        Raises:
            SessionNotOpenedError: It had ended before; nothing was sent.
            SessionLostError, OutputTooLongError.
        """
        order = " ".join(words)
        if not _ORDER.match(order):
            raise ValueError(f"not plain words: {order!r}")
        first, self._calls = self._calls == 0, self._calls + 1
        if self.ended and not first:
            raise SessionNotOpenedError("the kept session had ended")
        mark = secrets.token_hex(_MARK_BYTES).encode()
        call = _Call(mark, output_bytes_max, asyncio.get_running_loop().create_future())
        call.output += self._noise
        self._noise.clear()
        self._stderr.clear()
        self._call = call
        if not self.ended and self.channel is not None:
            with contextlib.suppress(BrokenPipeError):  # closed already; its end follows
                self.channel.write(b"%b %b\n%b" % (mark, order.encode(), stdin))
            await call.over
        if call.too_long:
            raise OutputTooLongError
        # The first call may meet a login that runs no loop, whose status and words say why.
        status = call.status if call.marked or not first else self._status
        if status is None:
            raise SessionLostError("the session was lost")
        return Finished(exit_status=status, stdout=bytes(call.output), stderr=bytes(self._stderr))


class KeptSessions:
    """The kept sessions of all connections."""

    def __init__(self) -> None:
        self._sessions: dict[asyncssh.SSHClientConnection, KeptSession] = {}

    async def call(
        self,
        connection: asyncssh.SSHClientConnection,
        words: list[str],
        stdin: bytes,
        *,
        deadline: float,
        output_bytes_max: int,
    ) -> Finished:
        """Call the runner, on the connection's kept session if that is free; see `sessions.execute`."""
        session = self._sessions.get(connection)
        if session is not None and session.busy:
            command = script.command_line(words)
            return await execute(
                connection, command, stdin, deadline=deadline, output_bytes_max=output_bytes_max
            )
        opened = session is not None
        if session is None:
            session = self._sessions[connection] = KeptSession(lambda ended: self._forget(connection, ended))
        session.busy = True
        answered = False
        try:
            async with asyncio.timeout_at(deadline):
                if not opened:
                    await open_session(connection, LOOP_COMMAND, session)
                    opened = True
                finished = await session.call(words, stdin, output_bytes_max=output_bytes_max)
            answered = finished.exit_status == 0
        except TimeoutError as failure:
            connection.abort()
            if not opened:
                raise SessionNotOpenedError("it opened no session in time") from failure
            raise SessionLostError("no answer in time") from failure
        finally:
            session.busy = False
            if not answered:
                self._forget(connection, session)
                session.abort()
        return finished

    def _forget(self, connection: asyncssh.SSHClientConnection, session: KeptSession) -> None:
        if self._sessions.get(connection) is session:
            del self._sessions[connection]
