"""Processor time of processes and of the whole machine, from proc(5)."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def of_processes(pids: Iterable[int]) -> float:
    """Return the seconds that running processes have used, their ended children included."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS_PER_S


def of_machine() -> float:
    """Return the seconds that all processors have been busy since the start."""
    user, nice, system, _idle, _wait, irq, soft, *_ = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + soft) / TICKS_PER_S


@dataclass(slots=True)
class Stopwatch:
    """Wall seconds, and busy seconds of the whole machine, since it was made."""

    wall_s: float = 0.0
    machine_s: float = 0.0

    def __post_init__(self) -> None:
        self.wall_s, self.machine_s = time.monotonic(), of_machine()

    def read(self) -> tuple[float, float]:
        return time.monotonic() - self.wall_s, of_machine() - self.machine_s
