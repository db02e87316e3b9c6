"""Which version of hamgr may follow which: replicas of both run together while an upgrade lasts.

1. One minor version at a time: a version reads the formats of the one before it, and of none earlier.
2. Never back: files may be of a later format already (docs/storage.md).
"""

import re

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


def refusal(before: str, after: str) -> str:
    """Return why `after` may not follow `before`; empty when it may."""
    old, new = _parts(before), _parts(after)
    if old is None or new is None:
        return f"{after if new is None else before} is no version of the form 1.2.3"
    if new < old:
        return f"{before} runs, and {after} is older: files of the later one may not be read any more"
    same_or_next = new[0] == old[0] and new[1] <= old[1] + 1
    next_major = new[0] == old[0] + 1 and new[1] == 0
    if not same_or_next and not next_major:
        step = f"{old[0]}.{old[1] + 1}"
        return f"{before} runs, and {after} is more than one minor version later; go to {step} first"
    return ""


def _parts(text: str) -> tuple[int, int, int] | None:
    found = _VERSION.match(text)
    return None if found is None else (int(found[1]), int(found[2]), int(found[3] or 0))
