"""Names of many nodes in few words: `web-[1-3,7], db`, as cluster shells write them."""

import re
from collections.abc import Iterable

_NUMBERED = re.compile(r"(.*?)([0-9]{1,15})([^0-9]*)\Z")


def fold(names: Iterable[str]) -> str:
    """Return the names, sorted, with runs of numbers as ranges; a leading zero keeps its width."""
    plain: list[str] = []
    found: list[tuple[str, str, str]] = []
    for name in set(names):
        match = _NUMBERED.match(name)
        if match is None:
            plain.append(name)
        else:
            found.append((match[1], match[2], match[3]))
    padded = {(head, tail, len(digits)) for head, digits, tail in found if digits.startswith("0")}
    numbered: dict[tuple[str, str, int], list[int]] = {}
    for head, digits, tail in found:
        width = len(digits) if (head, tail, len(digits)) in padded else 0
        numbered.setdefault((head, tail, width), []).append(int(digits))
    folded = [
        f"{head}{_ranges(sorted(numbers), width)}{tail}" for (head, tail, width), numbers in numbered.items()
    ]
    return ", ".join(sorted([*plain, *folded]))


def _ranges(numbers: list[int], width: int) -> str:
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    texts = [f"{a:0{width}}" if a == b else f"{a:0{width}}-{b:0{width}}" for a, b in runs]
    return texts[0] if len(numbers) == 1 else f"[{','.join(texts)}]"
