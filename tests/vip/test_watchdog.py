"""The real watchdog on a real interface, in a network namespace of the test's own."""

import ipaddress
import os
import time
from collections.abc import Iterator

import pytest

from hamgr.vip import addresses
from hamgr.vip.leash import Leash
from tests.lab.kit.processes import in_network_namespace, tool

pytestmark = pytest.mark.lab

VIP = ipaddress.ip_interface("10.9.0.5/24")
VIP6 = ipaddress.ip_interface("fd09::5/64")
LONG_S = 60.0


@pytest.fixture
def namespace() -> Iterator[str]:
    """A namespace with an interface eth0 that has an address, and this thread in it."""
    name = f"hamgr-vip-{os.getpid()}"
    tool("ip", "netns", "add", name)
    try:
        tool("ip", "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "other")
        tool("ip", "-n", name, "addr", "add", "10.9.0.1/24", "dev", "eth0")
        tool("ip", "-n", name, "link", "set", "eth0", "up")
        with in_network_namespace(name):
            yield name
    finally:
        tool("ip", "netns", "del", name)


@pytest.fixture
def leash(namespace: str) -> Iterator[Leash]:
    leash = Leash()
    leash.start()
    yield leash
    leash.close()


def here(namespace: str) -> list[str]:
    shown = tool("ip", "-n", namespace, "-o", "addr", "show", "dev", "eth0").split()
    return [word for word in shown if word.startswith((f"{VIP.ip}/", f"{VIP6.ip}/"))]


def messages(*wanted: addresses.Address) -> tuple[list[bytes], list[bytes]]:
    link = addresses.link("eth0")
    return addresses.take_and_drop(wanted, link, own=addresses.own_addresses(link))


def test_an_address_comes_and_goes_on_order(namespace: str, leash: Leash) -> None:
    assert leash.take(time.monotonic() + LONG_S, *messages(VIP, VIP6)) == 0
    assert here(namespace) == ["10.9.0.5/32", "fd09::5/64"]  # the network of the first is there already
    assert leash.renew(time.monotonic() + LONG_S)
    leash.drop()
    assert here(namespace) == []


def test_the_address_is_gone_when_the_daemon_is(namespace: str, leash: Leash) -> None:
    leash.take(time.monotonic() + LONG_S, *messages(VIP, VIP6))
    leash.close()  # waits for the watchdog's end, and for nothing else
    assert here(namespace) == []


def test_a_lease_that_was_over_before_it_came_takes_nothing(namespace: str, leash: Leash) -> None:
    assert leash.take(time.monotonic() - 0.001, *messages(VIP)) is None
    assert here(namespace) == []


def test_the_end_of_the_lease_is_the_end_of_the_address(namespace: str, leash: Leash) -> None:
    until = time.monotonic() + 0.5
    leash.take(until, *messages(VIP, VIP6))
    while leash.renew(until):
        assert time.monotonic() < until + 30
        time.sleep(0.01)
    assert time.monotonic() >= until
    assert here(namespace) == []


def test_an_address_is_kept_for_longer_than_the_kernels_own_count(namespace: str, leash: Leash) -> None:
    leash.take(time.monotonic() + LONG_S, *messages(VIP, VIP6))
    time.sleep(2.5)
    assert len(here(namespace)) == 2


def test_what_the_kernel_refuses_is_said_and_leaves_nothing(namespace: str, leash: Leash) -> None:
    adding, removing = messages(VIP, VIP6)
    tool("ip", "-n", namespace, "link", "del", "eth0")
    assert leash.take(time.monotonic() + LONG_S, adding, removing) not in (0, None)


def test_removing_the_address_takes_no_other_with_it(namespace: str, leash: Leash) -> None:
    leash.take(time.monotonic() + LONG_S, *messages(VIP))
    tool("ip", "-n", namespace, "addr", "add", "10.9.0.2/24", "dev", "eth0")
    leash.drop()
    shown = tool("ip", "-n", namespace, "-o", "addr", "show", "dev", "eth0")
    assert "10.9.0.1/24" in shown
    assert "10.9.0.2/24" in shown
