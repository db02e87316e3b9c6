"""The lab that tests share: made once for a session, repaired before each test."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.kit import Lab

HOSTS = 5
SLOTS_MAX = 16
"""Test runs that may go on at once on one machine, pytest-xdist's workers included."""
LOCKS = Path("/run")


def claim_slot(slot: int) -> int | None:
    """Return the descriptor that holds the slot while it is open; None when another run holds it.

    The lock goes with its process, however that ends: what is in a slot that can be claimed is stale.
    """
    descriptor = os.open(LOCKS / f"hamgr-lab-{slot}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextlib.contextmanager
def claimed_lab() -> Iterator[Lab]:
    """Clean up after killed runs, and give an empty lab that no other run has."""
    mine: tuple[int, int] | None = None
    for slot in range(SLOTS_MAX):
        if (descriptor := claim_slot(slot)) is None:
            continue
        lab_of(slot).down()
        if mine is None:
            mine = (slot, descriptor)
        else:
            os.close(descriptor)
    if mine is None:
        pytest.fail(f"all {SLOTS_MAX} labs are in use")
    slot, descriptor = mine
    lab = lab_of(slot)
    try:
        yield lab
    finally:
        lab.down()
        os.close(descriptor)


def lab_of(slot: int) -> Lab:
    return Lab(name=f"hamgr{slot}", network=f"10.77.{slot}")


@pytest.fixture(scope="session")
def lab_session() -> Iterator[Lab]:
    with claimed_lab() as lab:
        lab.up(HOSTS)
        yield lab


@pytest.fixture
def lab(lab_session: Lab) -> Iterator[Lab]:
    """Hosts n1 to n5, all on, joined and awake; disks are as earlier tests left them (`wipe` helps)."""
    lab_session.repair()
    yield lab_session
    lab_session.end_processes()


@pytest.fixture
def on_lab_network(lab: Lab) -> Iterator[Lab]:
    """The same, with the test itself on the lab's network: its sockets and processes reach the hosts."""
    with lab.in_hub():
        yield lab
