"""Says whether a history of registers is linearizable: whether one order of its operations explains it.

Wing & Gong's search with Lowe's just-in-time linearization ("Testing for linearizability", 2016): an
operation is put into the order only when an answer forces it.

1. Registers are independent, so each is searched alone (Herlihy & Wing 1990: linearizability is local).
2. Two operations whose intervals touch are concurrent.
3. An operation whose outcome is unknown may be put anywhere after its start, or left out; it is only put
   where something that is open at that moment would notice it.
4. A search that reaches its limit is `UNDECIDED`, which is never a success.
"""

import enum
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.histories.operations import Kind, Operation, Outcome

CONFIGURATIONS_MAX = 2_000_000
"""For one register; a history of thousands of operations needs some ten thousand."""
ALTERNATIVES_KEPT_MAX = 64
"""Of equal configurations; more are not compared, which costs time and nothing else."""
SHOWN_MAX = 12

Value = str | None
UNSEEN = "(a written value that nobody looks at)"
"""Stands for every value that no operation could notice: for the search they are all the same."""


class Verdict(enum.StrEnum):
    LINEARIZABLE = "linearizable"
    VIOLATED = "not linearizable"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found about one register.

    Attributes:
        configurations: How many were searched.
        stuck: The answer that no order explains, the furthest that any order came.
        states: What the register could have held just before.
        concurrent: What was open when `stuck` was answered.
    """

    key: str
    verdict: Verdict
    configurations: int
    stuck: Operation | None = None
    states: tuple[Value, ...] = ()
    concurrent: tuple[Operation, ...] = ()

    def __str__(self) -> str:
        rows = [f"register {self.key}: {self.verdict} ({self.configurations} configurations)"]
        if self.stuck:
            held = ", ".join(map(str, self.states[:SHOWN_MAX]))
            rows += [f"  no order explains  {self.stuck}", f"  it could have held {held}"]
            rows += [f"  meanwhile          {operation}" for operation in self.concurrent[:SHOWN_MAX]]
        return "\n".join(rows)


def judge(operations: Iterable[Operation], *, configurations_max: int = CONFIGURATIONS_MAX) -> list[Finding]:
    """Return a finding for each register, in the order of their names; each begins with the value None."""
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        by_key[operation.key].append(operation)
    return [_Search(key, by_key[key]).run(configurations_max) for key in sorted(by_key)]


@dataclass(frozen=True, slots=True)
class _Move:
    """An operation that can be put into the order: a bit of its own, and what it does."""

    bit: int
    kind: Kind
    differs: bool
    looks_for: Value
    value: Value

    @property
    def looks_only(self) -> bool:
        return self.kind is Kind.READ or self.differs

    def fits(self, state: Value) -> bool:
        if self.differs:
            return state != self.looks_for
        return self.kind is Kind.WRITE or state == self.looks_for


@dataclass(frozen=True, slots=True)
class _Turn:
    """One answer, in the order of answers, and what was open when it came."""

    operation: Operation
    bit: int
    looking: tuple[_Move, ...]
    changing: tuple[_Move, ...]
    unknown_count: int
    open: tuple[Operation, ...]


_Configuration = tuple[int, Value, int, int, int]
"""Turn, state, open changes that are done, open looks that are done, unknown operations that are used."""


class _Search:
    def __init__(self, key: str, operations: list[Operation]) -> None:
        self._key = key
        answered = [o for o in operations if o.outcome in (Outcome.DONE, Outcome.DIFFERED)]
        unknown = [o for o in operations if o.outcome is Outcome.UNKNOWN and o.kind is not Kind.READ]
        unknown.sort(key=lambda operation: operation.start_ns)
        self._watched = {o.value for o in answered if o.kind is Kind.READ}
        self._watched |= {o.expected for o in [*answered, *unknown] if o.kind is Kind.SWAP}
        self._unknown = [self._move(1 << number, operation) for number, operation in enumerate(unknown)]
        self._turns = list(self._take_turns(answered, [operation.start_ns for operation in unknown]))
        self._seen: dict[tuple[int, Value, int], list[tuple[int, int]]] = defaultdict(list)
        self._count = 0

    def _move(self, bit: int, operation: Operation) -> _Move:
        looks_for = operation.value if operation.kind is Kind.READ else operation.expected
        value = operation.value if operation.value in self._watched else UNSEEN
        return _Move(bit, operation.kind, operation.outcome is Outcome.DIFFERED, looks_for, value)

    def _take_turns(self, answered: list[Operation], unknown_starts_ns: list[int]) -> Iterator[_Turn]:
        """Yield the answers in order; bits are used again once their operation is over."""
        events = [(o.start_ns, 0, number) for number, o in enumerate(answered)]
        events += [(o.end_ns, 1, number) for number, o in enumerate(answered)]
        free: list[int] = []
        open_now: dict[int, _Move] = {}
        unknown_count = bits = 0
        for at_ns, ends, number in sorted(events):
            if not ends:
                if not free:
                    free, bits = [1 << bits], bits + 1
                open_now[number] = self._move(free.pop(), answered[number])
                continue
            while unknown_count < len(unknown_starts_ns) and unknown_starts_ns[unknown_count] <= at_ns:
                unknown_count += 1
            bit = open_now[number].bit
            moves = sorted(open_now.values(), key=lambda move: move.bit == bit)  # its own is tried first
            yield _Turn(
                operation=answered[number],
                bit=bit,
                looking=tuple(move for move in moves if move.looks_only),
                changing=tuple(move for move in moves if not move.looks_only),
                unknown_count=unknown_count,
                open=tuple(answered[other] for other in open_now if other != number),
            )
            free.append(open_now.pop(number).bit)

    def run(self, configurations_max: int) -> Finding:
        """Search depth first until an order explains every answer, or none can."""
        stack: list[_Configuration] = [(0, None, 0, 0, 0)]
        furthest, states = -1, set[Value]()
        while stack:
            turn_number, state, done, observed, used = stack.pop()
            if turn_number == len(self._turns):
                return self._finding(Verdict.LINEARIZABLE)
            turn = self._turns[turn_number]
            for move in turn.looking:  # who only looks changes nothing: everyone who can be content is
                if move.fits(state):
                    observed |= move.bit
            if (done | observed) & turn.bit:
                stack.append((turn_number + 1, state, done & ~turn.bit, observed & ~turn.bit, used))
                continue
            if self._is_known(turn_number, state, done, observed, used):
                continue
            self._count += 1
            if self._count > configurations_max:
                return self._finding(Verdict.UNDECIDED)
            if turn_number > furthest:
                furthest, states = turn_number, set()
            if turn_number == furthest:
                states.add(state)
            for number, value in self._useful_unknown(turn, state, done, observed, used):
                stack.append((turn_number, value, done, observed, used | 1 << number))
            stack += [
                (turn_number, move.value, done | move.bit, observed, used)
                for move in turn.changing
                if not done & move.bit and move.fits(state)
            ]
        return self._finding(Verdict.VIOLATED, self._turns[furthest], states)

    def _is_known(self, turn: int, state: Value, done: int, observed: int, used: int) -> bool:
        """Say whether a configuration was searched that had looked as much and used no more."""
        alternatives = self._seen[turn, state, done]
        if any(observed & ~seen == 0 and spent & ~used == 0 for seen, spent in alternatives):
            return True
        if len(alternatives) < ALTERNATIVES_KEPT_MAX:
            alternatives.append((observed, used))
        return False

    def _useful_unknown(
        self, turn: _Turn, state: Value, done: int, observed: int, used: int
    ) -> Iterator[tuple[int, Value]]:
        """Yield unknown operations that could happen now, with the value after them.

        One that is overwritten before anybody looks may as well not have happened. Of equal ones the
        oldest is as good as any.
        """
        begun = self._unknown[: turn.unknown_count]
        if all(used & move.bit for move in begun):
            return
        discontent = [move for move in turn.looking if not observed & move.bit]
        anything = any(move.differs for move in discontent)
        wanted = {move.looks_for for move in discontent}
        wanted |= {m.looks_for for m in turn.changing if m.kind is Kind.SWAP and not done & m.bit}
        wanted |= {m.looks_for for m in begun if m.kind is Kind.SWAP and not used & m.bit}
        offered: set[tuple[Kind, Value, Value]] = set()
        for number, move in enumerate(begun):
            what = (move.kind, move.looks_for, move.value)
            if used & move.bit or what in offered or not move.fits(state) or move.value == state:
                continue
            if anything or move.value in wanted:
                offered.add(what)
                yield number, move.value

    def _finding(self, verdict: Verdict, turn: _Turn | None = None, states: Iterable[Value] = ()) -> Finding:
        return Finding(
            key=self._key,
            verdict=verdict,
            configurations=self._count,
            stuck=turn.operation if turn else None,
            states=tuple(sorted(states, key=str)),
            concurrent=turn.open if turn else (),
        )
