"""The frames by which neighbours learn, and are asked, who has an address; bytes in, bytes out.

1. An ARP probe asks with the sender address 0.0.0.0, so that nobody's cache changes (RFC 5227, 2.1.1); an
   announcement is a request with sender and target address alike (2.3).
2. An IPv6 probe is a neighbour solicitation from the unspecified address to the target's solicited-node
   group (RFC 4862, 5.4.2), so that who has it answers to all nodes. An announcement is an unsolicited
   neighbour advertisement to all nodes, with the override flag (RFC 4861, 7.2.6).
3. Hop limits are 255: whoever gets it knows that no router passed it on (RFC 4861, 7.1).
"""

import ipaddress
import struct
from dataclasses import dataclass

BROADCAST = b"\xff" * 6
ETHERTYPE_ARP, ETHERTYPE_IPV6 = 0x0806, 0x86DD
ICMPV6 = 58
SOLICITATION, ADVERTISEMENT = 135, 136
TARGET_LINK_ADDRESS = 2
HOP_LIMIT = 255
OVERRIDE = 0x20000000
ALL_NODES = ipaddress.IPv6Address("ff02::1")
NOWHERE = ipaddress.IPv6Address("::")
IP = ipaddress.IPv4Address | ipaddress.IPv6Address
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_REQUEST = 1


@dataclass(frozen=True, slots=True)
class Claim:
    """A neighbour says that `mac` has `ip`."""

    ip: IP
    mac: str


def text_of(mac: bytes) -> str:
    """Return a link-layer address as people write it."""
    return mac.hex(":")


def probe(ip: IP, mac: bytes) -> bytes:
    """Return the frame that asks whether anybody has `ip`, sent from the interface that has `mac`."""
    if isinstance(ip, ipaddress.IPv4Address):
        return _arp(mac, sender_ip=b"\0\0\0\0", target_ip=ip.packed)
    return _icmpv6(
        mac,
        source=NOWHERE,
        target=solicited_node(ip),
        body=struct.pack("!BBHI", SOLICITATION, 0, 0, 0) + ip.packed,
    )


def announcement(ip: IP, mac: bytes) -> bytes:
    """Return the frame that tells everybody that `mac` has `ip` from now on."""
    if isinstance(ip, ipaddress.IPv4Address):
        return _arp(mac, sender_ip=ip.packed, target_ip=ip.packed)
    body = struct.pack("!BBHI", ADVERTISEMENT, 0, 0, OVERRIDE) + ip.packed
    return _icmpv6(
        mac, source=ip, target=ALL_NODES, body=body + struct.pack("!BB6s", TARGET_LINK_ADDRESS, 1, mac)
    )


def arp_claim(frame: bytes) -> Claim | None:
    """Return what an Ethernet frame's ARP packet claims about its sender; None when it claims nothing."""
    if len(frame) < 14 + _ARP.size or frame[12:14] != struct.pack("!H", ETHERTYPE_ARP):
        return None
    hardware, protocol, size, length, _operation, mac, ip, _, _ = _ARP.unpack_from(frame, 14)
    if (hardware, protocol, size, length) != (1, 0x0800, 6, 4) or ip == b"\0\0\0\0":
        return None
    return Claim(ipaddress.IPv4Address(ip), text_of(mac))


def advertised_claim(message: bytes) -> Claim | None:
    """Return what an ICMPv6 message advertises; None when it is no neighbour advertisement."""
    if len(message) < 24 or message[0] != ADVERTISEMENT:
        return None
    mac, options = "", message[24:]
    while len(options) >= 8 and options[1]:
        if options[0] == TARGET_LINK_ADDRESS:
            mac = text_of(options[2:8])
        options = options[8 * options[1] :]
    return Claim(ipaddress.IPv6Address(message[8:24]), mac)


def solicited_node(ip: ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    """Return the group that whoever has `ip` listens to (RFC 4291, 2.7.1)."""
    return ipaddress.IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + ip.packed[13:])


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _arp(mac: bytes, *, sender_ip: bytes, target_ip: bytes) -> bytes:
    head = BROADCAST + mac + struct.pack("!H", ETHERTYPE_ARP)
    return head + _ARP.pack(1, 0x0800, 6, 4, _REQUEST, mac, sender_ip, bytes(6), target_ip)


def _icmpv6(
    mac: bytes, *, source: ipaddress.IPv6Address, target: ipaddress.IPv6Address, body: bytes
) -> bytes:
    pseudo = source.packed + target.packed + struct.pack("!IxxxB", len(body), ICMPV6)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    ethernet = b"\x33\x33" + target.packed[12:] + mac + struct.pack("!H", ETHERTYPE_IPV6)  # RFC 2464, 7
    head = struct.pack("!IHBB", 6 << 28, len(body), ICMPV6, HOP_LIMIT)
    return ethernet + head + source.packed + target.packed + body
