"""What the judge remembers of one node: who missed it how often, and who heard it."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

RECENT = 10
"""So many last rounds tell whether a node is flaky."""


@dataclass(slots=True)
class Record:
    """One node.

    Attributes:
        place: Which machine this tells of, and where it was.
        asked_at: When it was asked last.
        next_at: No probe is due before.
        misses: Probes without an answer since anybody heard it, by vantage.
        why: What the newest of them met.
        silent_since: When the first of them was asked for.
        goods: Rounds in a row in which somebody heard it.
        blind: Vantages that missed it while another heard it, and until when they count as that.
        recent: The last rounds, one bit each, 1 for a miss; the newest is the lowest.
        rounds: How many rounds there were, up to `RECENT`.
        asked: How many rounds there ever were.
        gone: When it was called unreachable, the newest last.
        confirmed: It is back, and has shown that it is the machine that we know.
        denied_until: It is not asked before that who it is: somebody else answered at its address.
    """

    place: str = ""
    asked_at: float = 0.0
    next_at: float = 0.0
    misses: dict[str, int] = field(default_factory=dict)
    why: str = ""
    silent_since: float | None = None
    goods: int = 0
    blind: dict[str, float] = field(default_factory=dict)
    recent: int = 0
    rounds: int = 0
    asked: int = 0
    gone: deque[float] = field(default_factory=lambda: deque(maxlen=8))
    confirmed: bool = False
    denied_until: float = 0.0

    @property
    def lost(self) -> int:
        """How many of the last rounds missed it."""
        return self.recent.bit_count()

    def round(self, now: float, heard: Sequence[str], missed: Mapping[str, str], *, blind_s: float) -> None:
        """Take the answers of one round: who heard the node, and why the others did not."""
        self.recent = (self.recent << 1 | (not heard)) & (1 << RECENT) - 1
        self.rounds = min(self.rounds + 1, RECENT)
        self.asked += 1
        if heard:
            for vantage in (*self.misses, *missed):
                self.blind[vantage] = now + blind_s
            for vantage in heard:
                self.blind.pop(vantage, None)
            self.misses.clear()
            self.silent_since, self.why = None, ""
            self.goods += 1
            return
        self.goods, self.confirmed = 0, False
        if self.silent_since is None:
            self.silent_since = now
        for vantage, why in missed.items():
            self.misses[vantage] = self.misses.get(vantage, 0) + 1
            self.why = why
