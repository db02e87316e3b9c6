"""The daemon's end of the watchdog: starts it, tells it the lease, hears what it did."""

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hamgr.vip import watchdog

ANSWER_S_MAX = 2.0


class WatchdogGone(Exception):
    """The watchdog ended or does not answer; the address is on the interface for `VALID_S` at most."""


class Leash:
    """One watchdog, from `start` to `close`; on one thread."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The watchdog's, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def memory_bytes(self) -> int | None:
        """What of the watchdog is in memory."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, ValueError):
            return None
        return pages * os.sysconf("SC_PAGE_SIZE")

    def start(self) -> None:
        """Start the watchdog, in the place of one that is gone.

        Raises:
            OSError: It cannot be started.
        """
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(ANSWER_S_MAX)
        path = str(Path(watchdog.__file__))
        argv = [sys.executable, "-I", "-S", path, str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env={}, start_new_session=True
            )
        self._socket = ours

    def take(self, until: float, adding: Sequence[bytes], removing: Sequence[bytes]) -> int | None:
        """Have the addresses added; returns 0, an errno, or None when the lease was over already.

        Args:
            until: When the lease is over, by our monotonic clock.

        Raises:
            WatchdogGone: Nothing is known.
        """
        messages = b"".join(struct.pack("=H", len(each)) + each for each in (*adding, *removing))
        self._send(b"T" + _lease(until) + messages)
        answer = self._answer(b"tex")
        if answer[:1] == b"e":
            return int(struct.unpack_from("=i", answer, 1)[0])
        return 0 if answer == b"t" else None

    def renew(self, until: float) -> bool:
        """Tell a later end of the lease; False when it was over and the address is gone.

        Raises:
            WatchdogGone: Nothing is known.
        """
        self._send(b"R" + _lease(until))
        connection = self._connection()
        if not select.select([connection], [], [], 0)[0]:
            return True
        self._answer(b"x")
        return False

    def drop(self) -> None:
        """Have the addresses removed; they are when this returns.

        Raises:
            WatchdogGone: Nothing is known.
        """
        self._send(b"D")
        self._answer(b"d")

    def close(self) -> None:
        """Let the watchdog remove what it holds, and end."""
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()
        process, self._process = self._process, None
        if process is not None:
            try:
                process.wait(ANSWER_S_MAX)
            except subprocess.TimeoutExpired:  # it stands still; the kernel removes the address
                process.send_signal(signal.SIGKILL)
                process.wait()

    def _connection(self) -> socket.socket:
        if self._socket is None:
            raise WatchdogGone("the watchdog was not started")
        return self._socket

    def _send(self, message: bytes) -> None:
        try:
            self._connection().send(message)
        except OSError as error:
            raise WatchdogGone(f"the watchdog takes no messages: {error}") from error

    def _answer(self, kinds: bytes) -> bytes:
        """Return the next answer of one of `kinds`; older news (an end of the lease) are passed over."""
        try:
            while answer := self._connection().recv(watchdog.DATAGRAM_BYTES_MAX):
                if answer[:1] in [kinds[i : i + 1] for i in range(len(kinds))]:
                    return answer
        except OSError as error:
            raise WatchdogGone(f"the watchdog does not answer: {error}") from error
        raise WatchdogGone("the watchdog has ended")


def _lease(until: float) -> bytes:
    """Return the end of the lease on the watchdog's clock, which goes on while the machine sleeps."""
    return watchdog.LEASE.pack(until - time.monotonic() + watchdog.now())
