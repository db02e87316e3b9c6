"""What a run really exercised, so that nobody believes an idle simulation."""

from collections import Counter
from dataclasses import dataclass, field

from hamgr.failpoints import BOUNDARIES

CRASH_BOUNDARIES = (
    *BOUNDARIES,
    *(f"{way} {verb}" for way in ("sent", "heard") for verb in ("probe", "fence", "run", "kill")),
    "running",
)
"""Where a leader is crashed or cut off: the product's failpoints, and the way to the nodes and back."""
FAULTS = (
    "leader crashed",
    "follower crashed",
    "leader isolated",
    "leader deposed",
    "ex-leader refused by a node",
    "node down",
    "node gone for ever",
    "node rebooted",
    "node rebooted in mid-step",
    "host key changed",
    "node moved",
    "link cut",
    "clock jumped",
    "node call refused",
    "node call answer_lost",
    "node call slow",
    "node call late",
    "log refused",
    "log dropped",
    "log late",
    "log answer lost",
)
RARE = "node busy with an older attempt"
"""Comes about where orders are late, or where a node was given up with a step at work."""


@dataclass(slots=True)
class Figures:
    """Counts of one run, or of many."""

    counts: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    virtual_s: float = 0.0
    settled_s_max: float = 0.0
    """The longest time that jobs took to end after the last fault."""

    def add(self, other: "Figures") -> None:
        self.counts.update(other.counts)
        self.runs += other.runs
        self.virtual_s += other.virtual_s
        self.settled_s_max = max(self.settled_s_max, other.settled_s_max)

    def missing(self) -> list[str]:
        """Return the boundaries and faults that never came about."""
        crashes = [f"crash at {boundary}" for boundary in CRASH_BOUNDARIES]
        isolations = [f"isolated at {boundary}" for boundary in CRASH_BOUNDARIES]
        return [name for name in (*crashes, *isolations, *FAULTS, RARE) if not self.counts[name]]

    def line(self) -> str:
        """Return everything in one line."""
        at = sum(
            number for name, number in self.counts.items() if name.startswith(("crash at", "isolated at"))
        )
        ended = ", ".join(f"{name[4:]} {number}" for name, number in self._of("job "))
        results = ", ".join(f"{name[7:]} {number}" for name, number in self._of("result "))
        faults = ", ".join(f"{name} {self.counts[name]}" for name in (*FAULTS, RARE))
        return (
            f"{self.runs} worlds, {self.virtual_s / 3600:.1f} virtual hours, "
            f"{self.counts['entries']} log entries, {self.counts['launches']} launches; "
            f"jobs ended: {ended}; results: {results}; at boundaries {at}; {faults}; "
            f"settled within {self.settled_s_max:.0f} s"
        )

    def _of(self, prefix: str) -> list[tuple[str, int]]:
        return sorted((name, number) for name, number in self.counts.items() if name.startswith(prefix))
