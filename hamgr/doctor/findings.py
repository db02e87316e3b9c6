"""A finding: what was looked at, how it is, and what to do."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        subject: What was looked at, in one or two words.
        says: How it is, in one sentence.
        way_out: What to do; empty where nothing is to be done.
    """

    subject: str
    level: Level
    says: str
    way_out: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def line(self) -> str:
        """Return it for people."""
        out = f"; {self.way_out}" if self.way_out else ""
        return f"{self.level.value:<4}  {self.subject:<12}  {self.says}{out}"


def ok(subject: str, says: str) -> Finding:
    return Finding(subject=subject, level=Level.OK, says=says)


def warn(subject: str, says: str, way_out: str) -> Finding:
    return Finding(subject=subject, level=Level.WARN, says=says, way_out=way_out)


def fail(subject: str, says: str, way_out: str) -> Finding:
    return Finding(subject=subject, level=Level.FAIL, says=says, way_out=way_out)


def worst(findings: list[Finding]) -> Level:
    """Return the worst level there is."""
    found = {finding.level for finding in findings}
    return next((level for level in (Level.FAIL, Level.WARN) if level in found), Level.OK)
