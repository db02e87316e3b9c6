"""The network between replicas: a cut drops what it names, and never comes between replicas and clients."""

import itertools
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.histories.sites import API_PORT, Sites, claimed_sites

pytestmark = pytest.mark.lab

REPLICAS = ("r1", "r2", "r3")
PAIRS = set(itertools.permutations(REPLICAS, 2))
QUIET_S = 0.2
"""A datagram between two namespaces takes microseconds."""


@pytest.fixture(scope="module")
def sites() -> Iterator[Sites]:
    with claimed_sites(REPLICAS) as made:
        yield made


def passing(sites: Sites) -> set[tuple[str, str]]:
    """Return which replicas' datagrams reach which."""
    received: set[tuple[str, str]] = set()
    sockets = {}
    for name in REPLICAS:
        host, _, port = sites.raft(name).rpartition(":")
        with sites.inside(name):
            sockets[name] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sockets[name].bind((host, int(port)))
        sockets[name].settimeout(QUIET_S)
    for source, target in PAIRS:
        host, _, port = sites.raft(target).rpartition(":")
        sockets[source].sendto(source.encode(), (host, int(port)))
    for name, one in sockets.items():
        while True:
            try:
                received.add((one.recv(16).decode(), name))
            except TimeoutError:
                break
        one.close()
    return received


def test_without_cuts_everybody_reaches_everybody(sites: Sites) -> None:
    sites.heal()
    assert passing(sites) == PAIRS


def test_cuts_drop_the_directions_that_they_name_until_they_are_healed(sites: Sites) -> None:
    from_r1, to_r1 = {("r1", "r2"), ("r1", "r3")}, {("r2", "r1"), ("r3", "r1")}
    cuts: list[tuple[Callable[[], None], set[tuple[str, str]]]] = [
        (lambda: sites.isolate("r1"), from_r1 | to_r1),
        (sites.shatter, PAIRS),
        (lambda: sites.deafen("r1"), to_r1),
        (lambda: sites.silence("r1"), from_r1),
        (lambda: sites.block("r2", "r3"), {("r2", "r3")}),
    ]
    for cut, dropped in cuts:
        sites.heal()
        cut()
        assert passing(sites) == PAIRS - dropped
    sites.heal()
    assert passing(sites) == PAIRS


def test_clients_reach_a_replica_that_is_cut_off(sites: Sites) -> None:
    sites.shatter()
    with sites.inside("r2"), socket.create_server(("127.0.0.1", API_PORT)):
        socket.create_connection(("127.0.0.1", API_PORT), timeout=1.0).close()
    sites.heal()


def test_two_runs_have_networks_of_their_own(sites: Sites) -> None:
    with claimed_sites(REPLICAS) as others:
        assert {others.raft(name) for name in REPLICAS}.isdisjoint(sites.raft(name) for name in REPLICAS)
        others.shatter()
        assert passing(sites) == PAIRS
        assert passing(others) == set()
