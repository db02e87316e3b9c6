"""Which misfortunes befall a cluster and when: a seed's, fixed before the first process runs.

A misfortune names its victim by part (the leader, a follower, all), since who leads is known only then.
"""

import enum
import random
from collections.abc import Sequence
from dataclasses import dataclass

CALM_S = (0.5, 2.0)
"""Between two misfortunes, so that there is something to lose."""
BOTH_PROBABILITY = 0.3
"""How often a second misfortune comes while the first one lasts."""


class Part(enum.StrEnum):
    LEADER = "the leader"
    FOLLOWER = "a follower"
    ALL = "all replicas"


class Kind(enum.StrEnum):
    KILL = "kill"
    FREEZE = "freeze"
    ISOLATE = "isolate"
    DEAFEN = "deafen"
    SILENCE = "silence"
    BLOCK = "block one way"
    """Between one replica and one other only; with the third, both can talk."""
    DEMOTE = "demote"
    """Its vote is taken, and given back: the members change while all else goes on."""
    CLOCK = "clock"
    """It is set by seconds, hours or years, and back again."""


PARTS: dict[Kind, Sequence[Part]] = {
    Kind.KILL: (Part.LEADER, Part.LEADER, Part.FOLLOWER, Part.ALL),
    Kind.FREEZE: (Part.LEADER, Part.LEADER, Part.FOLLOWER, Part.ALL),
    Kind.ISOLATE: (Part.LEADER, Part.LEADER, Part.FOLLOWER, Part.ALL),
    Kind.DEAFEN: (Part.LEADER, Part.FOLLOWER),
    Kind.SILENCE: (Part.LEADER, Part.FOLLOWER),
    Kind.BLOCK: (Part.LEADER, Part.FOLLOWER),
    Kind.DEMOTE: (Part.LEADER, Part.FOLLOWER),
    Kind.CLOCK: (Part.LEADER, Part.FOLLOWER, Part.ALL),
}
LASTS_S: dict[Kind, tuple[float, float]] = {
    Kind.KILL: (0.0, 2.0),
    Kind.FREEZE: (0.3, 3.0),
    Kind.ISOLATE: (0.3, 4.0),
    Kind.DEAFEN: (0.5, 4.0),
    Kind.SILENCE: (0.5, 4.0),
    Kind.BLOCK: (0.5, 4.0),
    Kind.DEMOTE: (0.2, 2.0),
    Kind.CLOCK: (0.1, 3.0),
}
CUTS = (Kind.ISOLATE, Kind.DEAFEN, Kind.SILENCE, Kind.BLOCK)
LONG_CUT_S = 9.0
"""Longer than the API waits for anything, so that clients hear what it says of requests that it gives up."""
LONG_CUT_PROBABILITY = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfortune:
    """One fault: it begins, lasts, and is undone."""

    kind: Kind
    part: Part
    begins_s: float
    lasts_s: float

    @property
    def ends_s(self) -> float:
        return self.begins_s + self.lasts_s

    def __str__(self) -> str:
        return f"{self.begins_s:6.2f} s to {self.ends_s:6.2f} s  {self.kind} {self.part}"


def schedule(seed: int, *, seconds: float, kinds: Sequence[Kind] = tuple(Kind)) -> list[Misfortune]:
    """Return the misfortunes of `seed` that begin and end within `seconds`, in the order of their begins.

    At most two last at once, and never two cuts: cuts are undone together.
    """
    rng = random.Random(f"schedule {seed}")
    found: list[Misfortune] = []
    at_s = rng.uniform(*CALM_S)
    while True:
        first = _misfortune(rng, kinds, at_s)
        if first.ends_s > seconds:
            return found
        found.append(first)
        others = [kind for kind in kinds if kind is not first.kind and not {kind, first.kind} <= {*CUTS}]
        at_s = first.ends_s
        if others and rng.random() < BOTH_PROBABILITY:
            second = _misfortune(rng, others, rng.uniform(first.begins_s, first.ends_s))
            if second.ends_s <= seconds:
                found.append(second)
                at_s = max(at_s, second.ends_s)
        at_s += rng.uniform(*CALM_S)


def _misfortune(rng: random.Random, kinds: Sequence[Kind], at_s: float) -> Misfortune:
    kind = rng.choice(kinds)
    lasts_s = rng.uniform(*LASTS_S[kind])
    if kind in CUTS and rng.random() < LONG_CUT_PROBABILITY:
        lasts_s = LONG_CUT_S
    return Misfortune(kind=kind, part=rng.choice(PARTS[kind]), begins_s=at_s, lasts_s=lasts_s)
