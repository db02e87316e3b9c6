"""Ends what runs on practice nodes: every process that carries a node's root in its environment."""

import contextlib
import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

_TRIES_MAX = 200
_PAUSE_S = 0.01


def processes_of(roots: Collection[Path]) -> list[int]:
    """Return the processes whose environment names one of `roots` as HAMGR_ROOT, this one excepted."""
    marks = {b"HAMGR_ROOT=" + os.fsencode(root) for root in roots}
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:  # gone, or somebody else's
            continue
        if not marks.isdisjoint(environment.split(b"\0")):
            found.append(int(entry.name))
    return found


def stop_processes(*roots: Path) -> None:
    """Kill every process of the nodes (services, steps and their children) and wait until all are gone.

    Raises:
        TimeoutError: Something was started again and again.
    """
    for _ in range(_TRIES_MAX):
        pids = processes_of(roots)
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE_S)
    raise TimeoutError(f"processes of {', '.join(map(str, roots))} are still there")
