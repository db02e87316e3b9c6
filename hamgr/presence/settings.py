"""How often, how patiently and how hard nodes are probed."""

from pydantic import BaseModel, ConfigDict, Field


class PresenceSection(BaseModel):
    """The section `presence` of the daemon's configuration; the same on all replicas."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    """Without it, a node's presence is only what jobs and discovery have met."""
    interval_s: float = Field(default=2.5, ge=1.0, le=300.0)
    """Between two probes of a node that answers; below 1 s, sshd's own penalties would begin."""
    timeout_s: float = Field(default=1.25, ge=0.1, le=30.0)
    """How long a probe waits for the node's SSH greeting."""
    probes_at_once: int = Field(default=128, ge=1, le=1_024)
    """Connections that a replica has open for probes."""
    probes_per_s_max: int = Field(default=300, ge=1, le=10_000)
    """Probes that a replica begins; larger fleets are asked less often rather than faster."""
