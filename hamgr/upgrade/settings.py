"""The configuration's section `upgrade`: who restarts this replica, and how long a new release may take."""

from pydantic import BaseModel, ConfigDict, Field

INSTALL_S_MAX = 300.0
"""For making the new release, of this machine's disk and processor."""


class UpgradeSection(BaseModel):
    """How this replica takes a new release of hamgr."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    restart: tuple[str, ...] = ()
    """The command that restarts this replica, where it is not systemd that does; argument by argument."""
    healthy_deadline_s: float = Field(default=120.0, gt=0, le=3600)
    """How long the new release may take until it answers and keeps up; then the one before is put back."""
    stable_s: float = Field(default=10.0, ge=0, le=600)
    """For so long it must have been healthy without a break before the next replica has its turn."""
    reserve_bytes: int = Field(default=256 * 1024 * 1024, ge=0)
    """Kept free on the disk of the releases."""

    @property
    def turn_s_max(self) -> float:
        """The longest that a turn takes, with the way back; then the leader stops waiting."""
        return INSTALL_S_MAX + 3 * (self.healthy_deadline_s + self.stable_s)
