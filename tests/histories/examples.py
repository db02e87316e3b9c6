"""Histories for the tests of the judges: written by hand, or made by a store that works."""

import random
from collections.abc import Iterable
from dataclasses import replace

from tests.histories.operations import Kind, Operation, Outcome


def read(
    value: str | None, start: int, end: int, outcome: Outcome = Outcome.DONE, key: str = "x"
) -> Operation:
    return Operation(kind=Kind.READ, key=key, value=value, start_ns=start, end_ns=end, outcome=outcome)


def write(value: str, start: int, end: int, outcome: Outcome = Outcome.DONE, key: str = "x") -> Operation:
    return Operation(kind=Kind.WRITE, key=key, value=value, start_ns=start, end_ns=end, outcome=outcome)


def swap(
    expected: str | None, value: str, start: int, end: int, outcome: Outcome = Outcome.DONE, key: str = "x"
) -> Operation:
    return Operation(
        kind=Kind.SWAP,
        key=key,
        value=value,
        expected=expected,
        start_ns=start,
        end_ns=end,
        outcome=outcome,
    )


def random_history(
    rng: random.Random,
    *,
    count: int,
    clients: int,
    keys: int = 1,
    values: int | None = None,
    unknown: float = 0.0,
    slow: float = 0.0,
) -> list[Operation]:
    """Return what clients of a store that works would record.

    Every operation has a point within its interval at which it takes effect; an unknown one may have it
    long after, or not at all.

    Args:
        values: How many different values there are; all written values are distinct when it is not given.
        unknown, slow: The share of operations without an answer, and of those that take ten times as long.
    """
    free_at = [rng.random() * 20 for _ in range(clients)]
    points: list[tuple[float, int, Operation, bool]] = []
    for number in range(count):
        client = min(range(clients), key=free_at.__getitem__)
        start = free_at[client] + rng.random()
        end = free_at[client] = start + rng.random() * 20 * (10 if rng.random() < slow else 1)
        is_unknown = rng.random() < unknown
        value = str(number if values is None else rng.randrange(values))
        operation = Operation(
            kind=rng.choice([Kind.READ, Kind.READ, Kind.WRITE, Kind.SWAP]),
            key=f"k{rng.randrange(keys)}",
            value=value,
            start_ns=int(start * 1000),
            end_ns=int(end * 1000) + 1,
            outcome=Outcome.UNKNOWN if is_unknown else Outcome.DONE,
        )
        point = start + rng.random() * (end - start) * (30 if is_unknown else 1)
        points.append((point, number, operation, not is_unknown or rng.random() < 0.6))
    return list(_taken(rng, points, values))


def _taken(
    rng: random.Random, points: list[tuple[float, int, Operation, bool]], values: int | None
) -> Iterable[Operation]:
    """Let every operation take effect at its point; yield what its client was told."""
    state: dict[str, str | None] = {}
    for _, number, one, takes_effect in sorted(points):
        held = state.get(one.key)
        told = one
        if one.kind is Kind.READ:
            told = replace(one, value=held)
        elif one.kind is Kind.SWAP:
            other = str(rng.randrange(number + 1 if values is None else values))
            told = replace(one, expected=held if rng.random() < 0.7 else other)
            if told.expected != held and one.outcome is Outcome.DONE:
                told = replace(told, outcome=Outcome.DIFFERED)
        if takes_effect and (one.kind is Kind.WRITE or (one.kind is Kind.SWAP and told.expected == held)):
            state[one.key] = one.value
        yield told


def spoilt(rng: random.Random, history: list[Operation]) -> list[Operation]:
    """Return `history` with one answer changed, which may or may not contradict the others."""
    answered = [
        number
        for number, one in enumerate(history)
        if one.kind is not Kind.WRITE and one.outcome in (Outcome.DONE, Outcome.DIFFERED)
    ]
    if not answered:
        return history
    number = rng.choice(answered)
    one = history[number]
    if one.kind is Kind.READ:
        changed = replace(one, value=rng.choice([None, "0", "1", "2"]))
    else:
        other = Outcome.DIFFERED if one.outcome is Outcome.DONE else Outcome.DONE
        changed = replace(one, outcome=other)
    return [*history[:number], changed, *history[number + 1 :]]
