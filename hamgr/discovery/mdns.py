"""Asks the networks of this machine who can be reached over SSH there: DNS-SD over multicast DNS.

1. What is heard is only where to look: anybody may say anything (RFC 6762, section 21). Who a machine is,
   discovery asks it, by its host key.
2. Bounded: a browse ends after the seconds that were asked for, and what comes after `FOUND_MAX` services is
   dropped. Who announces itself says its address, too; at most `ASKED_MAX` who did not are asked for it, so
   that a flood of names makes no flood of questions.
3. python-zeroconf is an optional extra (`pip install 'hamgr[mdns]'`); only this file imports it.
"""

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from zeroconf import InterfaceChoice, IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

SSH = "_ssh._tcp.local."
FOUND_MAX = 1_000
ASKED_MAX = 100
ANSWER_TIMEOUT_S = 3.0
"""For the address of a service whose name was heard."""


class CannotBrowse(Exception):
    """This machine cannot ask; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """What one machine says of itself."""

    name: str
    address: str
    port: int


async def browse(seconds: float, *, interfaces: Sequence[str] = ()) -> list[Neighbour]:
    """Return who announced SSH within `seconds`, by address, each address and port once.

    Args:
        interfaces: Own addresses to ask from; all of them when none is named.

    Raises:
        CannotBrowse: There is no network to ask, or no permission.
    """
    heard: dict[str, None] = {}

    def note(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        del zeroconf, service_type
        if state_change is not ServiceStateChange.Removed and len(heard) < FOUND_MAX:
            heard[name] = None

    network = _network(interfaces)
    try:
        browser = AsyncServiceBrowser(network.zeroconf, SSH, handlers=[note])
        await asyncio.sleep(seconds)
        await browser.async_cancel()
        infos = [AsyncServiceInfo(SSH, name) for name in heard]
        silent = [info for info in infos if not info.load_from_cache(network.zeroconf)]
        timeout_ms = ANSWER_TIMEOUT_S * 1e3
        await asyncio.gather(*(one.async_request(network.zeroconf, timeout_ms) for one in silent[:ASKED_MAX]))
        return neighbours_of(infos)
    finally:
        await network.async_close()


def _network(interfaces: Sequence[str]) -> AsyncZeroconf:
    if interfaces:
        return AsyncZeroconf(interfaces=list(interfaces), ip_version=IPVersion.V4Only)
    try:
        return AsyncZeroconf(interfaces=InterfaceChoice.All, ip_version=IPVersion.All)
    except OSError:  # where IPv6 is switched off
        pass
    try:
        return AsyncZeroconf(interfaces=InterfaceChoice.All, ip_version=IPVersion.V4Only)
    except OSError as error:
        raise CannotBrowse(f"multicast DNS cannot be used here: {error.strerror or error}") from error


def neighbours_of(infos: Sequence[AsyncServiceInfo]) -> list[Neighbour]:
    """Return where services are; those that name no address that others can dial are left out."""
    found: dict[tuple[str, int], Neighbour] = {}
    for info in infos:
        address = _dialable(info.parsed_scoped_addresses())
        if address and info.port:
            name = info.name.removesuffix(f".{SSH}")
            found.setdefault((address, info.port), Neighbour(name=name, address=address, port=info.port))
    return [found[place] for place in sorted(found)]


def _dialable(texts: Sequence[str]) -> str:
    """Return the address that any replica can dial, IPv4 first; empty when there is none.

    A loopback address would be another machine on each replica.
    """
    addresses = [ipaddress.ip_address(text) for text in texts if "%" not in text]
    good = [
        one
        for one in addresses
        if not (
            one.is_loopback or one.is_link_local or one.is_multicast or one.is_unspecified or one.is_reserved
        )
    ]
    return min(good, key=lambda one: (one.version, one.packed)).compressed if good else ""
