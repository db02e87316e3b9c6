"""Where and how often a replica makes backups."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class BackupSection(BaseModel):
    """The section `backup` of the daemon's configuration; a replica without it makes none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: Path
    """Best on another machine's disk. Several replicas may share it."""
    key_file: Path = Path("/etc/hamgr/backup.key")
    """What `hamgrd init` printed; the same on all replicas."""
    every_s: float = Field(default=86_400.0, ge=60.0, le=31 * 86_400.0)
    keep_last: int = Field(default=7, ge=1, le=10_000)
    keep_days: float = Field(default=30.0, ge=0.0, le=36_500.0)
    """A backup is thrown away when it is older than that and not among the newest `keep_last`."""
    command: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Run with the path of each new, verified backup as its last argument: to copy it elsewhere, say."""
    command_timeout_s: float = Field(default=600.0, gt=0, le=86_400.0)
