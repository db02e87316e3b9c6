"""Machines that announce SSH by multicast DNS: real services and a real browse, on the loopback interface."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence

from zeroconf import DNSOutgoing, DNSPointer, IPVersion, Zeroconf, const
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from hamgr.discovery import mdns
from hamgr.discovery.mdns import Neighbour

HERE = "127.0.0.1"
OURS = f"hamgr-test-{os.getpid()}"
"""Begins the names of this process: those of others on the machine are heard too."""


@contextlib.asynccontextmanager
async def announced(*services: AsyncServiceInfo) -> AsyncIterator[None]:
    """Be machines that announce services, on this machine only."""
    network = AsyncZeroconf(interfaces=[HERE], ip_version=IPVersion.V4Only)
    try:
        registered = await asyncio.gather(*(network.async_register_service(one) for one in services))
        await asyncio.gather(*registered)
        yield
    finally:
        await network.async_unregister_all_services()
        await network.async_close()


def service(name: str, addresses: Sequence[str], port: int = 22, kind: str = mdns.SSH) -> AsyncServiceInfo:
    packed = [
        socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text) for text in addresses
    ]
    return AsyncServiceInfo(kind, f"{name}.{kind}", addresses=packed, port=port, server=f"{name}.local.")


async def heard(names: set[str]) -> list[Neighbour]:
    """Browse for ever longer, until all that must be heard were; the machine may run other announcers."""
    found: list[Neighbour] = []
    for seconds in (1, 3, 9, 27):
        found = await mdns.browse(seconds, interfaces=[HERE])
        if names <= {one.name for one in found}:
            break
    return [one for one in found if one.name.startswith(f"{OURS}-")]


async def test_who_announces_ssh_is_found_with_address_and_port():
    async with announced(
        service(f"{OURS}-a", ["192.0.2.7"], 2222),
        service(f"{OURS}-b", ["192.0.2.9"]),
        service(f"{OURS}-c", ["192.0.2.8"], kind="_http._tcp.local."),
    ):
        assert await heard({f"{OURS}-a", f"{OURS}-b"}) == [
            Neighbour(name=f"{OURS}-a", address="192.0.2.7", port=2222),
            Neighbour(name=f"{OURS}-b", address="192.0.2.9", port=22),
        ]


def test_an_address_is_one_that_all_replicas_can_dial():
    (both,) = mdns.neighbours_of([service("a", ["fe80::1", "2001:db8::7", "192.0.2.7"])])
    assert both.address == "192.0.2.7"
    (six,) = mdns.neighbours_of([service("a", ["fe80::1", "2001:db8::7"])])
    assert six.address == "2001:db8::7"


def test_what_names_no_such_address_or_no_port_is_left_out():
    assert not mdns.neighbours_of(
        [
            service("a", ["fe80::1"]),
            service("b", ["169.254.1.1"]),
            service("c", ["224.0.0.251"]),
            service("d", ["0.0.0.0"]),
            service("e", []),
            service("g", ["127.0.0.1"]),
            service("h", ["::1"]),
            service("i", ["::ffff:127.0.0.1"]),
            service("j", ["255.255.255.255"]),
            service("f", ["192.0.2.7"], port=0),
        ]
    )


def test_one_place_under_two_names_is_looked_at_once():
    (one,) = mdns.neighbours_of([service("b", ["192.0.2.7"]), service("a", ["192.0.2.7"])])
    assert one.name == "b"


async def test_a_flood_of_names_is_cut_off(monkeypatch):
    monkeypatch.setattr(mdns, "FOUND_MAX", 2)
    machines = [service(f"hamgr-flood-{os.getpid()}-{n}", [f"192.0.2.{n}"]) for n in range(1, 6)]
    async with announced(*machines):
        assert len(await mdns.browse(1, interfaces=[HERE])) <= 2


async def test_forged_names_without_addresses_are_not_all_asked_for(monkeypatch):
    asked: list[str] = []

    class Counting(AsyncServiceInfo):
        async def async_request(self, zc: Zeroconf, timeout: float, *_more: object) -> bool:
            asked.append(self.name)
            return False

    monkeypatch.setattr(mdns, "AsyncServiceInfo", Counting)
    monkeypatch.setattr(mdns, "ASKED_MAX", 7)
    forger = AsyncZeroconf(interfaces=[HERE], ip_version=IPVersion.V4Only)
    try:
        for seconds in (1, 3, 9, 27):
            asked.clear()
            browse = asyncio.create_task(mdns.browse(seconds, interfaces=[HERE]))
            while not browse.done():
                forger.zeroconf.async_send(forged(300))
                await asyncio.wait([browse], timeout=0.1)
            found = await browse
            if len(asked) >= 7:
                break
    finally:
        await forger.async_close()
    assert len(asked) == 7
    assert not [one for one in found if one.name.startswith("hamgr-forged-")]


def forged(count: int) -> DNSOutgoing:
    """Return answers that nobody asked for: names, and nothing about them."""
    said = DNSOutgoing(const._FLAGS_QR_RESPONSE | const._FLAGS_AA)
    for number in range(count):
        name = f"hamgr-forged-{number}.{mdns.SSH}"
        said.add_answer_at_time(DNSPointer(mdns.SSH, const._TYPE_PTR, const._CLASS_IN, 120, name), 0)
    return said
