"""Keeps the values of secret variables out of what a preview shows.

1. A text is rendered a second time with every secret replaced by `***`: so a secret stays hidden however a
   template has changed it (quoted, joined, encoded).
2. Where the two texts do not fit line by line, nothing of it can be shown, and nothing is.
3. Plain values of secrets are replaced wherever else they stand, if they are long enough not to be in
   every other word.
"""

from collections.abc import Iterable, Iterator, Mapping

from statemachine.words import Value

HIDDEN = "***"
VALUE_CHARS_MIN = 4


def hidden(variables: Mapping[str, Value], names: Iterable[str]) -> dict[str, Value]:
    """Return the variables with `***` for the values of those in `names` (paths with dots)."""
    found: Value = dict(variables)
    for name in names:
        found = _replaced(found, _path(variables, name))
    return found if isinstance(found, dict) else {}


def values(variables: Mapping[str, Value], names: Iterable[str]) -> list[str]:
    """Return every line of every secret that is long enough to be looked for, the longest first."""
    found: set[str] = set()
    for name in names:
        value: Value = dict(variables)
        for part in _path(variables, name):
            value = value.get(part) if isinstance(value, dict) else None
        for text in _texts(value):
            found.update(line for line in text.splitlines() if len(line) >= VALUE_CHARS_MIN)
    return sorted(found, key=lambda text: (-len(text), text))


def conceal(text: str, rendered_hidden: str | None, secrets: Iterable[str]) -> str | None:
    """Return `text` without secrets, with as many lines; None when that cannot be done.

    Args:
        rendered_hidden: The same text, rendered with `hidden` variables; None when that failed.
    """
    if rendered_hidden is None:
        return None
    lines, others = text.split("\n"), rendered_hidden.split("\n")
    if len(lines) != len(others):
        return None
    shown = []
    for line, other in zip(lines, others, strict=True):
        kept = line if line == other else other
        for secret in secrets:
            kept = kept.replace(secret, HIDDEN)
        shown.append(kept)
    return "\n".join(shown)


def _path(variables: Mapping[str, Value], name: str) -> tuple[str, ...]:
    return (name,) if name in variables else tuple(name.split("."))


def _replaced(value: Value, path: tuple[str, ...]) -> Value:
    """Return `value` with all that is at and below `path` hidden."""
    if path:
        if not isinstance(value, dict) or path[0] not in value:
            return value
        return {**value, path[0]: _replaced(value[path[0]], path[1:])}
    if isinstance(value, dict):
        return {key: _replaced(below, ()) for key, below in value.items()}
    if isinstance(value, list):
        return [_replaced(below, ()) for below in value]
    return value if value is None or isinstance(value, bool) else HIDDEN


def _texts(value: Value) -> Iterator[str]:
    if isinstance(value, dict | list):
        for below in value.values() if isinstance(value, dict) else value:
            yield from _texts(below)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
