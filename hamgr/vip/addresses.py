"""Netlink messages for the interface's addresses, and looks at it; the only importer of pyroute2.

The messages are made here, and sent by the watchdog. An address for which the interface has a network of
its own already is added alone (/32, /128), so that taking it away never takes others or a route with it.
"""

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_DELADDR, RTM_NEWADDR
from pyroute2.netlink.rtnl.ifaddrmsg import IFA_F_NODAD, ifaddrmsg

from hamgr.vip.packets import IP
from hamgr.vip.settings import Address
from hamgr.vip.watchdog import VALID_S

CAP_NET_ADMIN, CAP_NET_RAW = 12, 13
ETHERNET = 1
"""ARPHRD_ETHER."""
IN_USE_STATES = 0x02 | 0x04 | 0x08 | 0x10 | 0x80
"""REACHABLE, STALE, DELAY, PROBE, PERMANENT: the neighbour's link-layer address is known (rtnetlink(7))."""


class CannotHold(Exception):
    """This replica cannot hold the address; one sentence with the way out."""


@dataclass(frozen=True, slots=True)
class Link:
    """The interface as it is now."""

    name: str
    index: int
    mac: bytes


def missing_privileges() -> list[str]:
    """Return the names of the capabilities that this process lacks."""
    lines = Path("/proc/self/status").read_text().splitlines()
    effective = int(next(line for line in lines if line.startswith("CapEff:")).split()[1], 16)
    wanted = {CAP_NET_ADMIN: "CAP_NET_ADMIN", CAP_NET_RAW: "CAP_NET_RAW"}
    return [name for number, name in wanted.items() if not effective >> number & 1]


def link(name: str) -> Link:
    """Return the interface.

    Raises:
        CannotHold: There is none of this name, or it is no Ethernet.
    """
    with IPRoute() as netlink:
        for each in netlink.get_links():
            if each.get_attr("IFLA_IFNAME") != name:
                continue
            if each["ifi_type"] != ETHERNET:
                raise CannotHold(f"{name} is no Ethernet, so neighbours cannot be told of the address")
            mac = bytes.fromhex(str(each.get_attr("IFLA_ADDRESS")).replace(":", ""))
            return Link(name, int(each["index"]), mac)
    raise CannotHold(f"there is no interface {name}; set vip.interface to one that `ip link` shows")


def take_and_drop(
    addresses: Iterable[Address], found: Link, *, own: Iterable[Address]
) -> tuple[list[bytes], list[bytes]]:
    """Return the messages that add `addresses`, and those that remove them.

    Args:
        own: What the interface has by itself.
    """
    own = list(own)
    adding, removing = [], []
    for address in addresses:
        beside = any(other.ip != address.ip and address.ip in other.network for other in own)
        prefix = address.max_prefixlen if beside else address.network.prefixlen
        adding.append(_message(address.ip, prefix, found.index, add=True))
        removing.append(_message(address.ip, prefix, found.index, add=False))
    return adding, removing


def own_addresses(found: Link) -> list[Address]:
    """Return what the interface has now."""
    with IPRoute() as netlink:
        return [
            ipaddress.ip_interface(f"{each.get_attr('IFA_ADDRESS')}/{each['prefixlen']}")
            for each in netlink.get_addr(index=found.index)
        ]


def neighbours(addresses: Iterable[IP]) -> dict[str, IP]:
    """Return the link-layer addresses that the kernel knows for `addresses`."""
    wanted = {str(address): address for address in addresses}
    with IPRoute() as netlink:
        return {
            str(each.get_attr("NDA_LLADDR")): wanted[each.get_attr("NDA_DST")]
            for each in netlink.get_neighbours()
            if each.get_attr("NDA_DST") in wanted
            and each["state"] & IN_USE_STATES
            and each.get_attr("NDA_LLADDR")
        }


def _message(ip: IP, prefix: int, index: int, *, add: bool) -> bytes:
    """Return one RTM_NEWADDR or RTM_DELADDR.

    Without our own probe IPv6 would wait a second for its own (NODAD). It is deprecated from the start, so
    that nothing that the host itself opens comes from it.
    """
    message: Any = ifaddrmsg()
    ipv4 = isinstance(ip, ipaddress.IPv4Address)
    message["family"] = socket.AF_INET if ipv4 else socket.AF_INET6
    message["prefixlen"], message["index"], message["scope"] = prefix, index, 0
    attributes: list[tuple[str, Any]] = [("IFA_ADDRESS", str(ip)), ("IFA_LOCAL", str(ip))]
    if add:
        life = {"ifa_preferred": VALID_S if ipv4 else 0, "ifa_valid": VALID_S}
        attributes += [("IFA_FLAGS", 0 if ipv4 else IFA_F_NODAD), ("IFA_CACHEINFO", life)]
    message["attrs"] = attributes
    message["header"]["type"] = RTM_NEWADDR if add else RTM_DELADDR
    changes = NLM_F_CREATE | NLM_F_REPLACE if add else 0
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | changes
    message["header"]["sequence_number"] = 1
    message.encode()
    return bytes(message.data)
