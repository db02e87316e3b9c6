"""The entries of the log by which hamgr itself is upgraded; the rules are in `cluster.upgrades`."""

from dataclasses import dataclass
from typing import TypeAlias

from statemachine.stamped import Stamped
from statemachine.upgrading import UpgradePhase, Wheel


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginUpgrade(Stamped):
    """Have replicas take a new release, one at a time; or go on with the same one after it was stopped.

    Attributes:
        version: Of hamgr, after it.
        wheels: What is installed; their bytes are on a quorum of replicas already.
        replicas: Who takes it.
        done: Those of them that run it already.
        force: Also where a restart leaves no majority.
    """

    version: str
    wheels: tuple[Wheel, ...]
    replicas: tuple[str, ...]
    done: tuple[str, ...] = ()
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StopUpgrade(Stamped):
    """Give nobody a turn any more; a replica that has its turn ends it.

    Attributes:
        given_up: A replica that has its turn and is waited for no longer; what became of it is not known.
    """

    upgrade: str
    reason: str = ""
    given_up: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUpgradeTurn(Stamped):
    """Have one replica take the new release now; refused while another one does."""

    upgrade: str
    replica: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportUpgrade(Stamped):
    """Tell how far a replica is that has its turn; one that was rolled back or failed stops the upgrade."""

    upgrade: str
    replica: str
    phase: UpgradePhase
    sentence: str = ""


UpgradeCommand: TypeAlias = BeginUpgrade | StopUpgrade | GiveUpgradeTurn | ReportUpgrade
