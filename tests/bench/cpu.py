"""Processor time of processes, of trees of them and of the whole machine, from proc(5)."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """One process: its parent, and the ticks that it and its ended children have used."""

    parent: int
    ticks: float


def usage(pid: int) -> Usage | None:
    """Return what a process has used; None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        precise_ns = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return None
    # `stat` rounds down to whole ticks, which is all that hundreds of short-lived servers have used;
    # `schedstat` does not, and knows of one thread only.
    own = max(float(fields[11]) + float(fields[12]), precise_ns * TICKS_PER_S / NS_PER_S)
    return Usage(parent=int(fields[1]), ticks=own + float(fields[13]) + float(fields[14]))


def of_processes(pids: Iterable[int]) -> float:
    """Return the seconds that running processes have used, their ended children included."""
    found = [usage(pid) for pid in pids]
    return sum(one.ticks for one in found if one) / TICKS_PER_S


def descendants(root: int) -> dict[int, Usage]:
    """Return all processes below `root`, but not itself."""
    everything = {
        int(path.name): one
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and (one := usage(int(path.name)))
    }
    below: dict[int, Usage] = {}
    found = {root}
    while found:
        found = {pid for pid, one in everything.items() if one.parent in found and pid not in below}
        below.update((pid, everything[pid]) for pid in found)
    return below


def of_tree(root: int) -> float:
    """Return the seconds of `root`, of all processes below it, and of those below it that have ended."""
    own = usage(root)
    ticks = sum(one.ticks for one in descendants(root).values())
    return (ticks + (own.ticks if own else 0)) / TICKS_PER_S


def of_machine() -> float:
    """Return the seconds that all processors have been busy since the start."""
    user, nice, system, _idle, _wait, irq, soft, *_ = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + soft) / TICKS_PER_S
