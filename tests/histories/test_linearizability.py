"""The judge of histories, on histories whose verdict is known, and beside a judge that tries every order."""

import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.histories.examples import random_history, read, spoilt, swap, write
from tests.histories.linearizability import Verdict, judge
from tests.histories.operations import Kind, Operation, Outcome

DIFFERED, NEVER, UNKNOWN = Outcome.DIFFERED, Outcome.NEVER, Outcome.UNKNOWN
GOOD: dict[str, list[Operation]] = {
    "nothing happened": [],
    "a read of what was written": [write("a", 0, 1), read("a", 2, 3)],
    "a read of the old value during a write": [write("a", 0, 1), write("b", 2, 9), read("a", 4, 5)],
    "a read of the new value during a write": [write("a", 0, 1), write("b", 2, 9), read("b", 4, 5)],
    "a register that nobody wrote": [read(None, 0, 1)],
    "an unknown write that came late": [
        write("u", 0, 1, UNKNOWN),
        write("a", 2, 3),
        read("a", 4, 5),
        read("u", 90, 91),
    ],
    "an unknown write that never came": [write("u", 0, 1, UNKNOWN), write("a", 2, 3), read("a", 4, 5)],
    "an unknown swap that explains a read": [
        write("a", 0, 1),
        swap("a", "b", 2, 3, UNKNOWN),
        read("a", 4, 5),
        read("b", 6, 7),
    ],
    "an unknown chain of swaps": [
        swap(None, "a", 0, 1, UNKNOWN),
        swap("a", "b", 0, 1, UNKNOWN),
        read("b", 2, 3),
    ],
    "a swap that differed, by an unknown write": [
        write("a", 0, 1),
        write("u", 0, 1, UNKNOWN),
        swap("a", "b", 2, 3, DIFFERED),
    ],
    "a failed write that left no trace": [write("a", 0, 1), write("b", 2, 3, NEVER), read("a", 4, 5)],
    "a read without an answer": [write("a", 0, 1), read("zzz", 2, 3, UNKNOWN)],
    "intervals that touch are concurrent": [write("a", 0, 5), read(None, 5, 6)],
    "a lock that was released between": [
        swap(None, "p", 0, 5),
        swap("p", "free", 5, 6),
        swap("free", "q", 6, 9),
    ],
    "registers are independent": [write("a", 0, 1, key="x"), read(None, 2, 3, key="y")],
}
BAD: dict[str, list[Operation]] = {
    "a stale read": [write("a", 0, 1), write("b", 2, 3), read("a", 4, 5)],
    "a lost write": [write("a", 0, 1), write("b", 2, 3), read("a", 4, 5), read("a", 90, 91)],
    "a first write that was lost": [write("a", 0, 1), read(None, 2, 3)],
    "new, then old": [write("a", 0, 1), write("b", 2, 9), read("b", 3, 4), read("a", 5, 6)],
    "a value that nobody wrote": [write("a", 0, 1), read("ghost", 0, 5)],
    "a value from the future": [read("a", 0, 1), write("a", 2, 3)],
    "two swaps from one value": [write("a", 0, 1), swap("a", "b", 2, 8), swap("a", "c", 3, 9)],
    "two holders of a lock": [swap(None, "p", 0, 5), swap(None, "q", 6, 9)],
    "an unknown write that came and went": [
        write("u", 0, 1, UNKNOWN),
        write("a", 2, 3),
        read("u", 4, 5),
        read("a", 6, 7),
    ],
    "an unknown write before it was asked for": [read("u", 0, 1), write("u", 2, 3, UNKNOWN)],
    "an unknown write that came twice": [
        write("u", 0, 1, UNKNOWN),
        write("a", 2, 3),
        read("u", 4, 5),
        write("b", 6, 7),
        read("u", 8, 9),
    ],
    "a write that failed and took effect": [write("a", 0, 1), write("b", 2, 3, NEVER), read("b", 4, 5)],
    "a swap that differed from what was there": [write("a", 0, 1), swap("a", "b", 2, 3, DIFFERED)],
    "a swap that was told to differ and took effect": [
        write("a", 0, 1),
        swap("z", "b", 2, 3, DIFFERED),
        read("b", 4, 5),
    ],
    "reads that disagree about the order of two writes": [
        write("a", 0, 9),
        write("b", 0, 9),
        read("a", 10, 11),
        read("b", 12, 13),
        read("a", 14, 15),
    ],
}


def verdict(history: Sequence[Operation]) -> Verdict:
    found = {finding.verdict for finding in judge(history)}
    return Verdict.VIOLATED if Verdict.VIOLATED in found else max(found, default=Verdict.LINEARIZABLE)


@pytest.mark.parametrize("name", GOOD)
def test_a_history_that_some_order_explains_is_linearizable(name: str) -> None:
    assert all_orders(GOOD[name])
    assert verdict(GOOD[name]) is Verdict.LINEARIZABLE


@pytest.mark.parametrize("name", BAD)
def test_a_history_that_no_order_explains_is_not_linearizable(name: str) -> None:
    assert not all_orders(BAD[name])
    assert verdict(BAD[name]) is Verdict.VIOLATED


@pytest.mark.parametrize("seed", range(8))
def test_the_verdict_is_that_of_a_judge_who_tries_every_order(seed: int) -> None:
    rng = random.Random(seed)
    verdicts = []
    for _ in range(120):
        history = random_history(
            rng,
            count=rng.randrange(1, 8),
            clients=rng.randrange(1, 6),
            values=3,
            unknown=rng.choice([0, 0.2, 0.5]),
        )
        assert verdict(history) is Verdict.LINEARIZABLE, history
        for _ in range(2):
            history = spoilt(rng, history)
            expected = Verdict.LINEARIZABLE if all_orders(history) else Verdict.VIOLATED
            rng.shuffle(history)
            assert verdict(history) is expected, history
            verdicts.append(expected)
    assert 0.1 < verdicts.count(Verdict.VIOLATED) / len(verdicts) < 0.9


def test_a_history_of_thousands_is_judged_in_seconds_and_a_planted_stale_read_is_found() -> None:
    rng = random.Random(1)
    history = random_history(rng, count=5_000, clients=30, keys=10, unknown=0.05, slow=0.05)
    begun_s = time.process_time()
    assert verdict(history) is Verdict.LINEARIZABLE
    for _ in range(3):
        number, value = an_old_value(rng, history)
        planted = [*history]
        planted[number] = replace(history[number], value=value)
        assert verdict(planted) is Verdict.VIOLATED, planted[number]
        finding = next(f for f in judge(planted) if f.verdict is Verdict.VIOLATED)
        assert finding.stuck is not None
        assert finding.stuck.key == history[number].key
        assert str(finding.stuck) in str(finding)
    assert time.process_time() - begun_s < 20, "thousands of operations must be judged in seconds"


def an_old_value(rng: random.Random, history: list[Operation]) -> tuple[int, str]:
    """Return a read, and a value that was overwritten, for certain, before it began."""
    while True:
        number = rng.randrange(len(history) // 2, len(history))
        late = history[number]
        if late.kind is not Kind.READ or late.outcome is not Outcome.DONE:
            continue
        writes = [
            o for o in history if o.key == late.key and o.kind is Kind.WRITE and o.outcome is Outcome.DONE
        ]
        before = sorted((o for o in writes if o.end_ns < late.start_ns), key=lambda o: o.end_ns)
        for old in before:
            if any(o.start_ns > old.end_ns for o in before):
                return number, str(old.value)


def test_a_lost_write_among_thousands_is_found() -> None:
    rng = random.Random(2)
    history = random_history(rng, count=3_000, clients=10, keys=5, unknown=0.02)
    end_ns = max(one.end_ns for one in history) + 1_000
    last = write("acknowledged", end_ns, end_ns + 1, key="k0")
    held = next(o for o in judge_reads(history) if o.key == "k0")
    lost = [*history, last, replace(held, start_ns=end_ns + 2, end_ns=end_ns + 3)]
    assert (
        verdict([*history, last, read("acknowledged", end_ns + 2, end_ns + 3, key="k0")])
        is Verdict.LINEARIZABLE
    )
    assert verdict(lost) is Verdict.VIOLATED


def judge_reads(history: list[Operation]) -> list[Operation]:
    reads = [o for o in history if o.kind is Kind.READ and o.outcome is Outcome.DONE]
    return sorted(reads, key=lambda o: -o.end_ns)


def test_a_search_that_reaches_its_limit_is_no_success() -> None:
    history = [write(str(n), 0, 100) for n in range(12)] + [read(str(n), 200 + n, 200 + n) for n in (3, 4)]
    assert [finding.verdict for finding in judge(history, configurations_max=20)] == [Verdict.UNDECIDED]
    assert [finding.verdict for finding in judge(history)] == [Verdict.VIOLATED]


def test_a_swap_cannot_end_before_it_began_and_a_write_cannot_have_differed() -> None:
    with pytest.raises(ValueError, match="ends at 1, before 2"):
        write("a", 2, 1)
    with pytest.raises(ValueError, match="only a swap"):
        write("a", 0, 1, DIFFERED)


def all_orders(history: Sequence[Operation]) -> bool:
    """Say whether some subset of the unknown operations has an order with all others; tries every one."""
    must = [o for o in history if o.outcome in (Outcome.DONE, DIFFERED)]
    may = [o for o in history if o.outcome is UNKNOWN and o.kind is not Kind.READ]
    subsets = itertools.chain.from_iterable(itertools.combinations(may, n) for n in range(len(may) + 1))
    return any(_placed([*must, *extra], {}) for extra in subsets)


def _placed(rest: list[Operation], state: dict[str, str | None]) -> bool:
    if not rest:
        return True
    horizon = min((o.end_ns for o in rest if o.outcome is not UNKNOWN), default=None)
    return any(
        _placed([*rest[:number], *rest[number + 1 :]], _after(one, state))
        for number, one in enumerate(rest)
        if (horizon is None or one.start_ns <= horizon) and _allowed(one, state)
    )


def _allowed(one: Operation, state: dict[str, str | None]) -> bool:
    held = state.get(one.key)
    if one.kind is Kind.READ:
        return held == one.value
    if one.outcome is DIFFERED:
        return held != one.expected
    return one.kind is Kind.WRITE or held == one.expected


def _after(one: Operation, state: dict[str, str | None]) -> dict[str, str | None]:
    return state if one.kind is Kind.READ or one.outcome is DIFFERED else {**state, one.key: one.value}
