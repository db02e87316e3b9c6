"""Ports of the loopback address for one process of the tests.

Each of pytest-xdist's processes has a range of its own, below the ports that the kernel gives to outgoing
connections and apart from those that `hamgr demo` picks, and goes through it in order: a port that was free a
moment ago is not taken by a neighbour, nor asked for twice, before it is used.
"""

import itertools
import os
import random
import socket
from contextlib import suppress

LOOPBACK = "127.0.0.1"
FIRST = 12_000
PER_PROCESS = 2_000
PROCESSES_MAX = 4
"""More processes than these share ranges."""


def _all() -> itertools.cycle:
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES_MAX
    first, begin = FIRST + number * PER_PROCESS, random.randrange(PER_PROCESS)
    return itertools.cycle(first + (begin + step) % PER_PROCESS for step in range(PER_PROCESS))


_ports = _all()


def free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago, none of them twice in a row."""
    found: list[int] = []
    for port in itertools.islice(_ports, PER_PROCESS):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} free ports in the range of this process on {LOOPBACK}")
