"""Single values as people read them: moments, digests, and texts that came over the network.

1. Texts are without control characters: a node's output must not be able to move the cursor or rename the
   window.
"""

import time
from typing import Any


def clean(value: Any) -> str:
    """Return `value` as one line of text without control characters."""
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else " " if c in "\n\t\r" else "\ufffd" for c in text)


def ago(at: float | None) -> str:
    """Return how long ago a moment was, in one unit."""
    if not at:
        return ""
    seconds = max(0.0, time.time() - at)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def clock(at: float | None) -> str:
    """Return a moment in local time."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) if at else ""
    except (OverflowError, ValueError, OSError):
        return clean(at)


def short(digest: str | None) -> str:
    """Return the first digits of a digest, as people say it."""
    return (digest or "").removeprefix("sha256:")[:12]
