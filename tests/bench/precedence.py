"""Puts replicas before the practice nodes that share their machine: in a fleet those are other machines.

By real-time scheduling (sched(7)), because niceness does not do it: where the kernel groups processes by
session, each of the many steps is a group of its own, and a replica that wakes up waits for some of them.
Among themselves the replicas take turns of `TURN_MS`, as ordinary processes would: by default it is 100 ms,
which three machines would not wait for each other either.
"""

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from tests.bench.cpu import NS_PER_S

TURN = Path("/proc/sys/kernel/sched_rr_timeslice_ms")
TURN_MS = 4
SHARED_MEMORY = Path("/dev/shm")
SHARED_MEMORY_BYTES_MIN = 512 * 1024 * 1024


@contextlib.contextmanager
def precedence(pids: Collection[int]) -> Iterator[bool]:
    """Let processes and what they start go before everything else; say whether that was allowed."""
    with contextlib.ExitStack() as stack:
        try:
            _set(pids, os.SCHED_RR, 1)
            stack.callback(_set, pids, os.SCHED_OTHER, 0)
            stack.callback(TURN.write_text, TURN.read_text())
            TURN.write_text(str(TURN_MS))
            allowed = True
        except OSError:  # who may not, or has a kernel without the setting
            allowed = False
        yield allowed


def _set(pids: Collection[int], policy: int, priority: int) -> None:
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            for thread in _threads(pid):  # on Linux each thread is scheduled by itself
                os.sched_setscheduler(int(thread.name), policy, os.sched_param(priority))


def _threads(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def waited_s(pid: int) -> float:
    """Return for how long the threads of a process could have run and had no processor."""
    waits_ns = [int((thread / "schedstat").read_text().split()[1]) for thread in _threads(pid)]
    return sum(waits_ns) / NS_PER_S


def elsewhere(otherwise: Path) -> Path:
    """Return a folder's parent that is not on the replicas' disk, if there is one with room."""
    with contextlib.suppress(OSError):
        room = os.statvfs(SHARED_MEMORY)
        if room.f_bavail * room.f_frsize >= SHARED_MEMORY_BYTES_MIN and os.access(SHARED_MEMORY, os.W_OK):
            return SHARED_MEMORY
    return otherwise
