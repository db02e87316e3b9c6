"""A machine's pulse: one ICMP echo, which its kernel answers and which costs it next to nothing.

1. It shows that the machine is there, not that its SSH server is; `prober` says when that is enough.
2. Ping sockets are used where `net.ipv4.ping_group_range` lets us, raw ones where we have CAP_NET_RAW
   (RFC 792, RFC 4443, icmp(7)). Where we may use neither, nobody has a pulse, and SSH servers are greeted.
"""

import asyncio
import contextlib
import logging
import secrets
import socket
import struct

ECHO_4, ECHO_6 = 8, 128
REPLIES = frozenset({0, 129})
HEAD = struct.Struct("!BBHHH")
MARK_BYTES = 8
COUNT = struct.Struct("!Q")
READ_MAX = 256
"""Answers that are read at once, before others have their turn."""
PACKET_BYTES_MAX = 2_048

log = logging.getLogger(__name__)


class Pulses:
    """Asks for pulses; opens its sockets at the first one."""

    def __init__(self) -> None:
        self._mark = secrets.token_bytes(MARK_BYTES)  # a raw socket shows what others get, too
        self._count = 0
        self._waiting: dict[int, tuple[str, asyncio.Future[None]]] = {}
        self._sockets: dict[int, socket.socket | None] = {}

    async def felt(self, address: str, *, timeout_s: float) -> bool:
        """Say whether the machine at an IP address answers in time; False where we may not ask."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        opened = self._socket(family)
        if opened is None:
            return False
        self._count += 1
        count = self._count
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[count] = address, future
        try:
            opened.sendto(self._packet(family, count), (address, 0))
            async with asyncio.timeout(timeout_s):
                await future
        except (TimeoutError, OSError):
            return False
        finally:
            del self._waiting[count]
        return True

    def close(self) -> None:
        """Close the sockets; later pulses open new ones."""
        for opened in self._sockets.values():
            if opened is not None:
                asyncio.get_running_loop().remove_reader(opened)
                opened.close()
        self._sockets.clear()

    def _socket(self, family: int) -> socket.socket | None:
        if family not in self._sockets:
            opened = _opened(family)
            self._sockets[family] = opened
            if opened is not None:
                asyncio.get_running_loop().add_reader(opened, self._read, opened)
            else:
                log.info(
                    "this replica may not ping: nodes' SSH servers are greeted at every probe, which costs "
                    "the nodes more; widen net.ipv4.ping_group_range, or give hamgrd CAP_NET_RAW"
                )
        return self._sockets[family]

    def _packet(self, family: int, count: int) -> bytes:
        body = self._mark + COUNT.pack(count)
        if family == socket.AF_INET6:
            return HEAD.pack(ECHO_6, 0, 0, 0, count & 0xFFFF) + body  # the kernel adds the checksum
        packet = HEAD.pack(ECHO_4, 0, 0, 0, count & 0xFFFF) + body
        return packet[:2] + _checksum(packet) + packet[4:]

    def _read(self, opened: socket.socket) -> None:
        size = MARK_BYTES + COUNT.size
        with contextlib.suppress(OSError):
            for _ in range(READ_MAX):
                data, source = opened.recvfrom(PACKET_BYTES_MAX)
                if opened.type == socket.SOCK_RAW and opened.family == socket.AF_INET and data:
                    data = data[(data[0] & 0x0F) * 4 :]  # it shows the IP header too
                if len(data) != HEAD.size + size or data[0] not in REPLIES:
                    continue
                if data[HEAD.size : HEAD.size + MARK_BYTES] != self._mark:
                    continue
                address, future = self._waiting.get(COUNT.unpack(data[-COUNT.size :])[0], ("", None))
                if future is not None and not future.done() and source[0] == address:
                    future.set_result(None)


def _opened(family: int) -> socket.socket | None:
    protocol = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        with contextlib.suppress(OSError):
            opened = socket.socket(family, kind, protocol)
            opened.setblocking(False)
            return opened
    return None


def _checksum(data: bytes) -> bytes:
    """Return the checksum of RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
