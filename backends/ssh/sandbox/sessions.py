"""One command of a login on a practice node: a real process in a session of its own.

1. As with sshd, a lost connection does not touch the process; it only loses its pipes.
2. The exit status is sent when the process has ended and its output has been read to the end.
3. Neither side is ever ahead of the other by more than a pipe and a small buffer.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from pathlib import Path

import asyncssh

from backends.ssh.sandbox.nodes import environment

_READ_BYTES = 64 * 1024
_STDIN_BYTES_HIGH = 256 * 1024


class Command(asyncssh.SSHServerSession[bytes]):
    """A session that runs one command under /bin/sh."""

    def __init__(self, root: Path, running: "set[Command]") -> None:
        self._root = root
        self._running = running
        self._loop = asyncio.get_running_loop()
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._command = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._stdin = -1
        self._pending = bytearray()
        self._eof = False
        self._outputs: dict[int, asyncssh.DataType] = {}
        self._exit_status: int | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def exec_requested(self, command: str) -> bool:
        self._command = command
        return True

    def session_started(self) -> None:
        try:
            self._start()
        except OSError as failure:
            self._exit_status = 126
            if self._channel is not None:
                self._channel.write(f"{failure}\n".encode(), asyncssh.EXTENDED_DATA_STDERR)
            self._end_when_drained()

    def _start(self) -> None:
        theirs_in, self._stdin = os.pipe()
        ours_out, theirs_out = os.pipe()
        ours_err, theirs_err = os.pipe()
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", self._command],
                stdin=theirs_in,
                stdout=theirs_out,
                stderr=theirs_err,
                cwd=self._root,
                env=environment(self._root),
                start_new_session=True,
            )
        finally:
            for descriptor in (theirs_in, theirs_out, theirs_err):
                os.close(descriptor)
        self._running.add(self)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._exited)
        self._outputs = {ours_out: None, ours_err: asyncssh.EXTENDED_DATA_STDERR}
        for descriptor in (self._stdin, ours_out, ours_err):
            os.set_blocking(descriptor, False)
        self.resume_writing()
        self._feed()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:  # noqa: ARG002 (asyncssh's signature)
        self._pending += data
        if len(self._pending) >= _STDIN_BYTES_HIGH and self._channel is not None:
            self._channel.pause_reading()
        self._feed()

    def eof_received(self) -> bool:
        self._eof = True
        self._feed()
        return True  # keep our side open: the answer is still to come

    def pause_writing(self) -> None:
        for descriptor in self._outputs:
            self._loop.remove_reader(descriptor)

    def resume_writing(self) -> None:
        for descriptor in self._outputs:
            self._loop.add_reader(descriptor, self._read, descriptor)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncssh's signature)
        self._channel = None
        self._close_stdin()
        for descriptor in tuple(self._outputs):
            self._close_output(descriptor)

    def kill(self) -> None:
        """End the process and what it started in its session."""
        if self._process is not None and self._exit_status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._exited()

    def _feed(self) -> None:
        if self._stdin < 0:
            return
        try:
            while self._pending:
                del self._pending[: os.write(self._stdin, self._pending)]
        except BlockingIOError:
            self._loop.add_writer(self._stdin, self._feed)
            return
        except BrokenPipeError:  # it does not read its input; no fault
            self._pending.clear()
            self._close_stdin()
            return
        self._loop.remove_writer(self._stdin)
        if self._eof:
            self._close_stdin()
        elif self._channel is not None:
            self._channel.resume_reading()

    def _read(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        if data and self._channel is not None:
            self._channel.write(data, self._outputs[descriptor])
            return
        self._close_output(descriptor)
        self._end_when_drained()

    def _exited(self) -> None:
        if self._pidfd < 0 or self._process is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        code = self._process.wait()
        self._exit_status = code if code >= 0 else 128 - code
        self._running.discard(self)
        self._close_stdin()
        self._end_when_drained()

    def _end_when_drained(self) -> None:
        if self._exit_status is not None and not self._outputs and self._channel is not None:
            self._channel.exit(self._exit_status)

    def _close_stdin(self) -> None:
        if self._stdin >= 0:
            self._loop.remove_writer(self._stdin)
            os.close(self._stdin)
            self._stdin = -1

    def _close_output(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        os.close(descriptor)
        del self._outputs[descriptor]
