"""What can be wrong with a bundle, and where it is written."""

from collections.abc import Iterable
from dataclasses import dataclass

PROBLEMS_MAX = 100
"""The most problems that one answer lists; the rest is counted."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing to correct; they sort by position.

    Attributes:
        file: Path inside the bundle.
        line: From 1; 1 where the file as a whole is meant.
        column: From 1, in characters.
        message: One sentence without the position.
        hint: What to do about it; may be empty.
    """

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text


class BundleInvalid(Exception):
    """The bundle was refused and nothing was stored; `problems` has all of them, sorted, none twice."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        found = sorted(set(problems))
        self.problems = tuple(found[:PROBLEMS_MAX])
        self.omitted = len(found) - len(self.problems)
        lines = [str(problem) for problem in self.problems]
        if self.omitted:
            lines.append(f"... and {self.omitted} more")
        super().__init__("\n".join(lines))


class RenderError(Exception):
    """A step cannot be compiled for this node; nothing was sent to it.

    Attributes:
        file: The template or component.yaml that asks for what is not there.
        line: From 1.
    """

    def __init__(self, file: str, line: int, message: str) -> None:
        super().__init__(f"{file}:{line}: {message}")
        self.file = file
        self.line = line
        self.message = message
