"""Gives each test run a lab that no other run has, and cleans up after those that were killed.

A slot is a lock file, and the lab of that number. The lock goes with its process, however that ends: a lab
whose slot can be claimed is stale.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tests.lab.kit.lab import Lab
from tests.lab.kit.processes import LabError

SLOTS_MAX = 16
"""Test runs that may go on at once on one machine, pytest-xdist's workers included."""
LOCKS = Path("/run")


def claim_slot(slot: int) -> int | None:
    """Return the descriptor that holds the slot while it is open; None when another run holds it."""
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
        raise LabError(f"all {SLOTS_MAX} labs are in use")
    slot, descriptor = mine
    lab = lab_of(slot)
    try:
        yield lab
    finally:
        lab.down()
        os.close(descriptor)


def lab_of(slot: int) -> Lab:
    return Lab(name=f"hamgr{slot}", network=f"10.77.{slot}")
