"""What must hold of a history beside linearizability, since answers name places in the log.

1. **one place**: a value has one index and an index one value, whoever answered. A command that took effect
   twice has two.
2. **real time**: an answer's state is at least as new as that of every answer which ended before its
   request began, whichever register and replica it was about.
3. **nothing newer**: a read that names the state it saw shows the newest value of its register up to there.
4. **labelled**: who asked for what the replica has is told so, and how old it may be; everything that was
   acknowledged longer ago than that is in it.

Each law is a function from a history to complaints; none means that it holds.
"""

import bisect
from collections import defaultdict
from collections.abc import Callable, Iterator

from tests.histories.operations import ABSENT, History, Kind, Operation, Outcome, StaleRead

AGE_GRAIN_S = 0.001
"""An age is told in whole milliseconds."""
COMPLAINTS_MAX = 20


def complaints(history: History) -> list[str]:
    """Return what is wrong, at most `COMPLAINTS_MAX` of each law."""
    found = [f"surprise: {surprise}" for surprise in history.surprises[:COMPLAINTS_MAX]]
    for name, law in LAWS.items():
        broken = list(law(history))
        found += [f"{name}: {sentence}" for sentence in broken[:COMPLAINTS_MAX]]
    return found


def _one_place(history: History) -> Iterator[str]:
    index_of: dict[tuple[str, str | None], int] = {(key, None): at for key, at in history.made.items()}
    holder_of: dict[int, tuple[str, str | None]] = {at: (key, None) for key, at in history.made.items() if at}
    for one in _told(history):
        if one.index is None or one.value == ABSENT:
            continue
        place: tuple[str, str | None] = (one.key, one.value)
        if (index := index_of.setdefault(place, one.index)) != one.index:
            yield f"{one.key}={one.value} is at {index} and at {one.index}, said {one.replica}: {one}"
        elif one.index and (holder := holder_of.setdefault(one.index, place)) != place:
            yield f"index {one.index} has {holder} and {place}, said {one.replica}: {one}"


def _real_time(history: History) -> Iterator[str]:
    """A change has an index of its own, so it must be after, where a read may be at the same."""
    points = [(one, _point(one)) for one in _answered(history)]
    ended = sorted((one.end_ns, point) for one, point in points if point is not None)
    newest = _running_max([point for _, point in ended])
    ends_ns = [end_ns for end_ns, _ in ended]
    for one, point in points:
        before = bisect.bisect_left(ends_ns, one.start_ns)
        if point is None or not before:
            continue
        if point < newest[before - 1] or (one.kind is not Kind.READ and point == newest[before - 1]):
            yield f"at {point}, though {newest[before - 1]} was answered before it began: {one}"


def _nothing_newer(history: History) -> Iterator[str]:
    changes = _changes_by_key(history)
    for one in _told(history):
        if one.seen_index is None:
            continue
        if one.index is not None and one.index > one.seen_index:
            yield f"shows index {one.index} of a state at {one.seen_index}: {one}"
        places = changes[one.key]
        last = bisect.bisect_right(places, one.seen_index)
        shown = one.index or 0
        if last and places[last - 1] > shown:
            yield f"shows index {shown}, though {places[last - 1]} is not after {one.seen_index}: {one}"


def _labelled(history: History) -> Iterator[str]:
    acknowledged = sorted(
        (one.end_ns, one.index) for one in _answered(history) if one.kind is not Kind.READ and one.index
    )
    newest = _running_max([index for _, index in acknowledged])
    ends_ns = [end_ns for end_ns, _ in acknowledged]
    for read in history.stale:
        if read.label != "stale" or read.seen_index is None:
            yield f"a stale read that is not labelled as one: {read}"
        elif read.age_s is not None:
            since_ns = read.start_ns - int((read.age_s + AGE_GRAIN_S) * 1e9)
            before = bisect.bisect_left(ends_ns, since_ns)
            if before and newest[before - 1] > read.seen_index:
                yield f"is older than its age says, {newest[before - 1]} is missing: {read}"


LAWS: dict[str, Callable[[History], Iterator[str]]] = {
    "one place": _one_place,
    "real time": _real_time,
    "nothing newer": _nothing_newer,
    "labelled": _labelled,
}


def _answered(history: History) -> list[Operation]:
    return [one for one in history.operations if one.outcome is Outcome.DONE]


def _told(history: History) -> list[Operation | StaleRead]:
    """Return every answer that shows a register's value."""
    return [*_answered(history), *history.stale]


def _point(one: Operation) -> int | None:
    """Return the index of the state that an answer is proof of."""
    return one.seen_index if one.kind is Kind.READ else one.index


def _changes_by_key(history: History) -> dict[str, list[int]]:
    """Return the indexes of everything that is known to have changed a register, rising."""
    found: dict[str, set[int]] = defaultdict(set)
    for key, made in history.made.items():
        found[key].add(made)
    for one in _told(history):
        if one.index:
            found[one.key].add(one.index)
    return defaultdict(list, {key: sorted(indexes) for key, indexes in found.items()})


def _running_max(numbers: list[int]) -> list[int]:
    newest: list[int] = []
    for number in numbers:
        newest.append(max(number, newest[-1]) if newest else number)
    return newest
