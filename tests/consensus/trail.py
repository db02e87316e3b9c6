"""The last things that happened, for people who have to understand a broken law.

Noted as they are, put into words only when somebody asks: a run notes hundreds of thousands of them.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

NOTES_MAX = 3_000
TOLD_MAX = 40
FIELDS_TOLD = (
    "term",
    "prevLogIdx",
    "prevLogTerm",
    "commit_index",
    "next_node_idx",
    "success",
    "reset",
    "last_log_index",
    "last_log_term",
    "granted",
    "round",
    "transfer",
    "offset",
    "index",
    "taken",
)


class Trail:
    """A bounded memory of events; `tell` gets each of them at once, in words."""

    def __init__(self, now: Callable[[], float], tell: Callable[[str], None] | None = None) -> None:
        self._now = now
        self._tell = tell
        self._notes: deque[tuple[float, str, str, tuple[Any, ...]]] = deque(maxlen=NOTES_MAX)

    def note(self, who: str, what: str, *details: Any) -> None:
        note = (self._now(), who, what, details)
        self._notes.append(note)
        if self._tell is not None:
            self._tell(_worded(*note))

    def last(self, *who: str, count: int = TOLD_MAX) -> list[str]:
        """Return the last events that involve `who` (everybody if nobody is named), oldest first."""
        wanted = [
            note
            for note in self._notes
            if not who
            or any(name in note[1] for name in who)
            or any(isinstance(detail, str) and detail in who for detail in note[3])
        ]
        return [_worded(*note) for note in wanted[-count:]]


def _worded(when: float, who: str, what: str, details: tuple[Any, ...]) -> str:
    return f"{when:10.4f}  {who:<3} {what} " + " ".join(map(_detail, details))


def _detail(detail: Any) -> str:
    if isinstance(detail, dict):  # a message
        fields = [f"{name}={detail[name]}" for name in FIELDS_TOLD if name in detail]
        if detail.get("entries"):
            entries = detail["entries"]
            fields.append(f"entries {entries[0][1]}..{entries[-1][1]}")
        return f"{detail['type']}({', '.join(fields)})"
    return f"{detail:.3f}" if isinstance(detail, float) else str(detail)
