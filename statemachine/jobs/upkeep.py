"""What the leader owes beside the jobs: a pure function of the state, like `work.pending`.

1. It says when the clock decides something, and about what; the leader waits and tells the log.
2. There are few duties at any time, however many nodes are waiting: what falls due first stands for the rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from statemachine.model import State
from statemachine.rollouts import debts
from statemachine.words import NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class CordonDue:
    """The maintenance that ends first, at `at` in Unix seconds."""

    node: NodeName
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DebtsDue:
    """There are nodes that owe something and could pay it, as soon as they can be reached and may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleDue:
    """The schedule whose moment comes first, at `at` in Unix seconds."""

    name: str
    at: float


Duty: TypeAlias = CordonDue | DebtsDue | ScheduleDue


def duties(state: State) -> tuple[Duty, ...]:
    """Return what is to be seen to, now or later; each of them at most once of its type."""
    return tuple(_duties(state))


def _duties(state: State) -> Iterator[Duty]:
    cordon = min(
        (
            (node.maintenance.until, name)
            for name, node in state.nodes.items()
            if node.maintenance is not None and node.maintenance.until is not None
        ),
        default=None,
    )
    if cordon is not None:
        yield CordonDue(at=cordon[0], node=cordon[1])
    if any(node.debt is not None and debts.collectable(state, node) for node in state.nodes.values()):
        yield DebtsDue()
    first = min(
        ((one.next_at, name) for name, one in state.schedules.items() if one.next_at and not one.paused),
        default=None,
    )
    if first is not None:
        yield ScheduleDue(at=first[0], name=first[1])
