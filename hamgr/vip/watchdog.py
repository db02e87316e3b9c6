"""A process of its own that has the address on the interface only while somebody renews the lease.

Started by path with `python -I -S`: it imports little, so that it is small and cannot fail for others'
reasons. It gets netlink messages ready to be sent, and knows nothing else of addresses.

1. It alone adds the address, and only while the lease is valid by the clock, read just before.
2. When the lease is over, when it is told to, or when the other end of its socket is gone (the daemon was
   killed), it removes the address. When all stood still, it does so as the first thing that it does.
   The clock goes on while a machine sleeps (CLOCK_BOOTTIME).
3. Should it be killed or stand still itself, the kernel removes the address: each `REFRESH_S` it is added
   again with a life of `VALID_S`, which the kernel counts down in whole seconds, and looks at each second.
4. It ends with its socket, and with no signal that can be ignored: systemd signals all of a unit at once.

Messages to it: `T` lease count (size message)*: add; the second half of the messages removes. `R` lease:
renew. `D`: remove. From it: `t` taken, `d` dropped, `x` the lease was over, `e` errno: an add failed.
"""

import contextlib
import os
import select
import signal
import socket
import struct
import sys
import time

VALID_S = 1
REFRESH_S = 0.3
DATAGRAM_BYTES_MAX = 8192
LOCK_CURRENT_ON_FAULT = 1 | 4
PRIORITY_LOWEST = 1
NLMSG_ERROR, EADDRNOTAVAIL, ENODEV = 2, 99, 19
LEASE = struct.Struct("=d")


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def stay_ready() -> None:
    """Be in memory and first in line, as far as this process is allowed to be."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY_LOWEST))
    with contextlib.suppress(OSError, AttributeError):
        import ctypes  # noqa: PLC0415 - systems without it have a watchdog all the same

        ctypes.CDLL(None).mlockall(LOCK_CURRENT_ON_FAULT)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


class Watchdog:
    """The lease, the messages, and the two sockets."""

    def __init__(self, daemon: socket.socket) -> None:
        self._daemon = daemon
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._netlink.bind((0, 0))
        self._adding: list[bytes] = []
        self._removing: list[bytes] = []
        self._lease = 0.0
        self._refresh_at = 0.0
        self.held = False

    def run(self) -> None:
        """Serve until the other end is gone; the address is gone then, too."""
        try:
            while True:
                due = min(self._lease, self._refresh_at)
                ready = select.select([self._daemon], [], [], max(0.0, due - now()) if self.held else None)[0]
                self._look()
                if ready:
                    message = self._daemon.recv(DATAGRAM_BYTES_MAX)
                    if not message:
                        return
                    self._obey(message)
        finally:
            self._remove()

    def _look(self) -> None:
        """Remove what is over, add again what is not."""
        if self.held and now() >= self._lease:
            self._remove()
            self._say(b"x")
        elif self.held and now() >= self._refresh_at:
            self._add()

    def _obey(self, message: bytes) -> None:
        kind = message[:1]
        if kind == b"D":
            self._remove()
            self._say(b"d")
            return
        (lease,) = LEASE.unpack_from(message, 1)
        if kind == b"R":
            if self.held:
                self._lease = max(self._lease, lease)
        elif kind == b"T":
            self._remove()
            self._lease = lease
            messages, at = [], 1 + LEASE.size
            while at < len(message):
                (size,) = struct.unpack_from("=H", message, at)
                messages.append(message[at + 2 : at + 2 + size])
                at += 2 + size
            half = len(messages) // 2
            self._adding, self._removing = messages[:half], messages[half:]
            if now() >= lease:
                self._say(b"x")
            elif (error := self._add()) != 0:
                self._remove()
                self._say(b"e" + struct.pack("=i", error))
            else:
                self._say(b"t")

    def _add(self) -> int:
        """Add all, or say why not; errno or 0."""
        self._refresh_at = now() + REFRESH_S
        self.held = True
        errors = [self._ask(message) for message in self._adding]
        return next((error for error in errors if error), 0)

    def _remove(self) -> None:
        self.held = False
        for message in self._removing:
            self._ask(message)

    def _ask(self, message: bytes) -> int:
        """Send one netlink message that asks for an acknowledgement; return its errno, 0 for success."""
        self._netlink.send(message)
        while True:
            answer = self._netlink.recv(DATAGRAM_BYTES_MAX)
            _size, kind, _flags, _number, _port, error = struct.unpack_from("=IHHIIi", answer)
            if kind == NLMSG_ERROR:
                return -int(error)

    def _say(self, what: bytes) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more, which `run` is about to see
            self._daemon.send(what, socket.MSG_DONTWAIT)


def main() -> None:
    stay_ready()
    Watchdog(socket.socket(fileno=int(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
