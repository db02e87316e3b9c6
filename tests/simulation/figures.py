"""What a run really exercised, so that nobody believes an idle simulation."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from hamgr.failpoints import BOUNDARIES
from statemachine.commands import ClaimTask, Command, PauseJob, PromoteJob, ResumeJob, RetryJob, RevertJob
from statemachine.model import State
from statemachine.outcomes import Accepted, Outcome
from statemachine.rollout import HoldKind, OnFailure

CRASH_BOUNDARIES = (
    *BOUNDARIES,
    *(f"{way} {verb}" for way in ("sent", "heard") for verb in ("probe", "fence", "run", "kill", "look")),
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
ROLLOUTS = (
    *(f"held: {kind}" for kind in HoldKind if kind is not HoldKind.REBORN),  # nothing is restored there
    *(f"stopped early: {then}" for then in OnFailure),
    *(f"asked: {name}" for name in ("PauseJob", "ResumeJob", "PromoteJob", "RetryJob", "RevertJob")),
    "reverted by itself",
    "claim refused, not yet",
)
"""What rollouts went through."""
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
        return [name for name in (*crashes, *isolations, *FAULTS, *ROLLOUTS, RARE) if not self.counts[name]]

    def line(self) -> str:
        """Return everything in one line."""
        at = sum(
            number for name, number in self.counts.items() if name.startswith(("crash at", "isolated at"))
        )
        ended = ", ".join(f"{name[4:]} {number}" for name, number in self._of("job "))
        results = ", ".join(f"{name[7:]} {number}" for name, number in self._of("result "))
        faults = ", ".join(f"{name} {self.counts[name]}" for name in (*FAULTS, *ROLLOUTS, RARE))
        return (
            f"{self.runs} worlds, {self.virtual_s / 3600:.1f} virtual hours, "
            f"{self.counts['entries']} log entries, {self.counts['launches']} launches; "
            f"jobs ended: {ended}; results: {results}; at boundaries {at}; {faults}; "
            f"settled within {self.settled_s_max:.0f} s"
        )

    def _of(self, prefix: str) -> list[tuple[str, int]]:
        return sorted((name, number) for name, number in self.counts.items() if name.startswith(prefix))


def happened(before: State, command: Command, after: State, outcome: Outcome) -> Iterator[str]:
    """Yield what an entry did to rollouts, by the names of `ROLLOUTS`."""
    if not isinstance(outcome, Accepted):
        if isinstance(command, ClaimTask):
            yield "claim refused, not yet"
        return
    if isinstance(command, PauseJob | ResumeJob | PromoteJob | RetryJob | RevertJob):
        yield f"asked: {type(command).__name__}"
    for job_id, job in after.jobs.items():
        old = before.jobs.get(job_id)
        if job is old:
            continue
        known = {hold.kind for hold in old.holds} if old else set()
        yield from (f"held: {hold.kind}" for hold in job.holds if hold.kind not in known)
        if job.failing and not (old and old.failing):
            yield f"stopped early: {job.rollout.on_failure}"
        if job.revert_of and old is None and not isinstance(command, RevertJob):
            yield "reverted by itself"
