"""Sends probes and announcements on one interface, and hears who claims an address there."""

import contextlib
import socket
import struct
from collections.abc import Iterable, Iterator

from hamgr.vip import packets
from hamgr.vip.addresses import Link
from hamgr.vip.packets import IP, Claim

FRAME_BYTES_MAX = 2048
FRAMES_PER_LOOK_MAX = 256
ICMP6_FILTER = 1


class Ether:
    """Raw sockets on one interface; open from construction to `close`.

    Raises:
        OSError: On construction: no privileges, no such interface.
    """

    def __init__(self, link: Link, ips: Iterable[IP]) -> None:
        self._link, self._ips = link, tuple(ips)
        with contextlib.ExitStack() as stack:
            self._arp = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
            self._arp.bind((link.name, packets.ETHERTYPE_ARP))
            self._arp.setblocking(False)
            self._icmpv6: socket.socket | None = None
            if any(ip.version == 6 for ip in self._ips):
                self._icmpv6 = stack.enter_context(
                    socket.socket(socket.AF_INET6, socket.SOCK_RAW, packets.ICMPV6)
                )
                self._icmpv6.setsockopt(packets.ICMPV6, ICMP6_FILTER, _only(packets.ADVERTISEMENT))
                self._icmpv6.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.name.encode())
                self._icmpv6.setblocking(False)
            self._open = stack.pop_all()

    def close(self) -> None:
        self._open.close()

    def ask(self) -> None:
        """Ask whether anybody has our addresses.

        Raises:
            OSError: The interface is down or gone.
        """
        for ip in self._ips:
            self._arp.send(packets.probe(ip, self._link.mac))

    def announce(self) -> None:
        """Tell everybody that we have them.

        Raises:
            OSError: The interface is down or gone.
        """
        for ip in self._ips:
            self._arp.send(packets.announcement(ip, self._link.mac))

    def claims(self) -> Iterator[Claim]:
        """Yield what others claimed about our addresses since the last call."""
        own = packets.text_of(self._link.mac)
        for claim in self._heard():
            if claim.ip in self._ips and claim.mac != own:
                yield claim

    def _heard(self) -> Iterator[Claim]:
        for frame in _waiting(self._arp):
            if (claim := packets.arp_claim(frame)) is not None:
                yield claim
        if self._icmpv6 is not None:
            for message in _waiting(self._icmpv6):
                if (claim := packets.advertised_claim(message)) is not None:
                    yield claim


def _waiting(one: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(BlockingIOError):
        for _ in range(FRAMES_PER_LOOK_MAX):
            yield one.recv(FRAME_BYTES_MAX)


def _only(kind: int) -> bytes:
    """Return the filter that passes one type of ICMPv6 message (RFC 3542, 3.2: a set bit blocks)."""
    words = [0xFFFFFFFF] * 8
    words[kind >> 5] &= ~(1 << (kind & 31))
    return struct.pack("=8I", *words)
