"""What a run really exercised, so that nobody believes an idle simulation."""

from collections import Counter
from dataclasses import dataclass, field

EVERYTHING = (
    "process killed",
    "power lost",
    "power lost everywhere",
    "death in the middle of a write",
    "frozen",
    "disk slow",
    "disk full",
    "disk broken",
    "stopped by its disk",
    "cluster split",
    "leader cut off",
    "one way blocked",
    "link stalled",
    "late witness",
    "bad weather",
    "came back to a healthy leader",
    "leader elected",
    "snapshot taken",
    "snapshot installed",
    "snapshot sent in pieces",
    "request applied again",
    "write acknowledged",
    "write given up",
    "read",
    "read refused",
    "learner added",
    "learner promoted",
    "member removed",
    "change refused",
    "snapshot wanted",
    "stopped in order",
    "leadership transferred",
    "command unknown to one",
    "away for long",
    "declines",
    "autopilot: promote",
    "autopilot: let go",
    "autopilot refused",
    "led on without a majority",
)
"""What must come about in a few hundred worlds."""


@dataclass(slots=True)
class Figures:
    """Counts of one run, or of many."""

    counts: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    virtual_s: float = 0.0
    progress_s_max: float = 0.0
    """The longest time from the end of all faults to an acknowledged write."""
    converged_s_max: float = 0.0
    """And to all replicas alike."""

    def count(self, name: str, number: int = 1) -> None:
        self.counts[name] += number

    def add(self, other: "Figures") -> None:
        self.counts.update(other.counts)
        self.runs += other.runs
        self.virtual_s += other.virtual_s
        self.progress_s_max = max(self.progress_s_max, other.progress_s_max)
        self.converged_s_max = max(self.converged_s_max, other.converged_s_max)

    def missing(self) -> list[str]:
        """Return what never came about."""
        return [name for name in EVERYTHING if not self.counts[name]]

    def line(self) -> str:
        """Return everything in one line."""
        counted = ", ".join(f"{name} {number}" for name, number in sorted(self.counts.items()))
        return (
            f"{self.runs} worlds, {self.virtual_s / 60:.1f} virtual minutes; {counted}; "
            f"after the faults, a write within {self.progress_s_max:.2f} s "
            f"and all alike within {self.converged_s_max:.2f} s"
        )
