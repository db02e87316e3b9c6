"""How hamgr itself is upgraded, one replica after the other; in the state, so that any leader goes on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from statemachine.words import Digest

WHEELS_MAX = 64
UPGRADED_MAX = 64
"""Replicas."""
VERSION_CHARS_MAX = 63


class UpgradePhase(StrEnum):
    """How far one replica is."""

    WAITING = "waiting"
    INSTALLING = "installing"
    """It has its turn, and makes the new release beside the one that runs."""
    RESTARTING = "restarting"
    SETTLING = "settling"
    """The new release answers; it has to do so for a while."""
    DONE = "done"
    ROLLED_BACK = "rolled-back"
    """The new release did not come up; the one before runs again."""
    FAILED = "failed"


AT_WORK = frozenset({UpgradePhase.INSTALLING, UpgradePhase.RESTARTING, UpgradePhase.SETTLING})
ENDED = frozenset({UpgradePhase.DONE, UpgradePhase.ROLLED_BACK, UpgradePhase.FAILED})


class UpgradeState(StrEnum):
    """What is to be done about an upgrade."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    """Nobody gets a turn any more; the same upgrade can be begun again, and goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One distribution of the new release; its bytes are a blob."""

    name: str
    version: str
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One replica's part.

    Attributes:
        sentence: What happened last, for people.
        at: When that was, in Unix seconds.
        tries: How often it has had its turn; names the order that it works on.
    """

    phase: UpgradePhase = UpgradePhase.WAITING
    sentence: str = ""
    at: float = 0.0
    tries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """The last upgrade of hamgr.

    Attributes:
        id: Of this one; reports about another one are refused.
        version: Of hamgr, after it.
        replicas: By name, in the order in which they were listed; the leader's turn is last, whoever leads.
        why: Why it was stopped.
        force: Go on although no majority may be left while a replica restarts.
        index: Of the last change.
    """

    id: str
    version: str
    wheels: tuple[Wheel, ...]
    replicas: Mapping[str, Turn] = field(default_factory=dict)
    state: UpgradeState = UpgradeState.RUNNING
    why: str = ""
    actor: str = ""
    at: float = 0.0
    force: bool = False
    index: int = 0

    @property
    def at_work(self) -> str:
        """The replica that has its turn; empty when none has."""
        return next((name for name, turn in self.replicas.items() if turn.phase in AT_WORK), "")
