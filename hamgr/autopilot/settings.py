"""Whether and how fast voters are replaced without an operator."""

from pydantic import BaseModel, ConfigDict, Field

from hamgr.autopilot.rules import Pace

DEAD_QUORUMS_MIN = 3
"""`dead_s` must be so many times the timers' `quorum_lost_s`: by then, whoever lives has been heard."""
_PACE = Pace()


class AutopilotSection(BaseModel):
    """The section `autopilot` of the daemon's configuration; the same on all replicas."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    """Without it, voters are made and unmade by operators alone."""
    dead_s: float = Field(default=_PACE.dead_s, gt=0, le=3600.0)
    """A voter that was silent for so long and fails two probes then is made a standby."""
    stable_s: float = Field(default=_PACE.stable_s, gt=0, le=3600.0)
    """A standby must have been well for so long before it gets a vote."""

    def pace(self) -> Pace:
        """Return what the rules go by."""
        return Pace(dead_s=self.dead_s, stable_s=self.stable_s)
