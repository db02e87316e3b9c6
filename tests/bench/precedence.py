"""Puts replicas before the practice nodes that share their machine: in a fleet those are other machines.

Niceness alone does not do it where the kernel groups processes by session (sched(7), autogroup), for every
step has a session of its own; then it is the groups that have a niceness.
"""

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

NICE_FIRST = -15
SHARED_MEMORY = Path("/dev/shm")
SHARED_MEMORY_BYTES_MIN = 512 * 1024 * 1024


@contextlib.contextmanager
def precedence(pids: Collection[int]) -> Iterator[bool]:
    """Let processes, which are in sessions of their own, go first; say whether that was allowed."""
    before = {pid: os.getpriority(os.PRIO_PROCESS, pid) for pid in pids}
    try:
        for pid in pids:
            _set(pid, NICE_FIRST)
        allowed = True
    except OSError:
        allowed = False
    try:
        yield allowed
    finally:
        for pid, niceness in before.items():
            with contextlib.suppress(OSError):  # it has ended
                _set(pid, niceness)


def _set(pid: int, niceness: int) -> None:
    os.setpriority(os.PRIO_PROCESS, pid, niceness)
    with contextlib.suppress(FileNotFoundError):  # a kernel without autogroups
        Path(f"/proc/{pid}/autogroup").write_text(str(niceness))


def elsewhere(otherwise: Path) -> Path:
    """Return a folder's parent that is not on the replicas' disk, if there is one with room."""
    with contextlib.suppress(OSError):
        room = os.statvfs(SHARED_MEMORY)
        if room.f_bavail * room.f_frsize >= SHARED_MEMORY_BYTES_MIN and os.access(SHARED_MEMORY, os.W_OK):
            return SHARED_MEMORY
    return otherwise
