"""How the other one of two voters is switched off."""

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _absolute(command: tuple[str, ...]) -> tuple[str, ...]:
    if not PurePosixPath(command[0]).is_absolute():
        raise ValueError(f"{command[0]!r} is no absolute path; write the whole path of the command")
    return command


class FencingSection(BaseModel):
    """The section `fencing` of the daemon's configuration; each replica has its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_absolute)]
    """Is called with `status NAME ADDRESS` or `off NAME ADDRESS` after these arguments."""
    timeout_s: float = Field(default=60.0, gt=0, le=600.0)
    """After that it is killed, and has failed."""
    test_every_s: float = Field(default=86_400.0, ge=1.0, le=30 * 86_400.0)
    """How often `status` is tried on the other voter."""
