"""Clients and judges together: they acquit a server that works, and convict one with any of its bugs."""

import asyncio
import random

import pytest

from tests.histories import client, laws
from tests.histories.client import LOST, UNSENT, Recorder, Target, clients
from tests.histories.faulty_api import Bug, FaultyApi, serving
from tests.histories.linearizability import Verdict, judge
from tests.histories.operations import History, Outcome

KEYS = ("a", "b", "c")
OPERATIONS = 700
"""However busy the machine is: a bug that shows in a twentieth of the swaps is in some of so many."""
HISTORIES_MAX = 5
"""A busy machine has more happen at once, which excuses more."""
TIMEOUT_S = 60.0
CONVICTED_BY = {
    Bug.STALE_READ: {"judge", "real time"},
    Bug.LOST_WRITE: {"judge"},
    Bug.TWICE: {"one place"},
    Bug.FALSE_NOT_COMMITTED: {"judge"},
    Bug.IF_MATCH_IGNORED: {"judge"},
    Bug.NEVER_CHANGED: {"judge"},
    Bug.UNLABELLED: {"labelled"},
    Bug.TOO_YOUNG: {"labelled"},
    Bug.TORN: {"one place"},
    Bug.INTERNAL: {"surprise"},
}
"""Who must see a bug; others may see it too."""


@pytest.fixture(autouse=True)
def hasty_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAUSE_S_MAX", 0.002)


async def recorded(bug: Bug, *, seed: int = 1) -> History:
    api = FaultyApi(keys=KEYS, bug=bug, rng=random.Random(seed))
    made = {key: number for number, key in enumerate(KEYS, 1)}
    history = History(made=made, operations=[], stale=[], surprises=[])
    async with serving(api) as targets:
        recorder = Recorder(targets=targets, paths={key: f"/{key}" for key in KEYS}, history=history)
        async with clients(recorder, 8, random.Random(seed)):
            async with asyncio.timeout(TIMEOUT_S):
                while len(history.operations) < OPERATIONS:
                    await asyncio.sleep(0.05)
    return history


def convicted_by(history: History) -> set[str]:
    found = {sentence.partition(":")[0] for sentence in laws.complaints(history)}
    return found | {"judge" for f in judge(history.operations) if f.verdict is not Verdict.LINEARIZABLE}


async def test_a_server_that_works_is_acquitted_however_shaky_its_connections_are() -> None:
    history = await recorded(Bug.NONE)
    assert convicted_by(history) == set(), laws.complaints(history)
    outcomes = {operation.outcome for operation in history.operations}
    assert outcomes >= {Outcome.DONE, Outcome.DIFFERED, Outcome.UNKNOWN}, "too few for a verdict"
    assert any(operation.attempts > 1 for operation in history.operations)
    assert history.stale


@pytest.mark.parametrize("bug", CONVICTED_BY)
async def test_a_server_with_a_bug_is_convicted(bug: Bug) -> None:
    found: set[str] = set()
    for seed in range(1, 1 + HISTORIES_MAX):
        found |= convicted_by(await recorded(bug, seed=seed))
        if found >= CONVICTED_BY[bug]:
            return
    pytest.fail(f"{HISTORIES_MAX} histories convict it by {found} only")


async def test_nobody_listens_proves_that_nothing_happened_and_a_cut_connection_proves_nothing() -> None:
    async with serving(FaultyApi(keys=KEYS, bug=Bug.NONE, rng=random.Random(1), shaky=False)) as targets:
        closed = Target("closed", "http://127.0.0.1:1", targets[0].session)
        reply = await closed.ask("GET", "/a", headers={}, body=None, timeout_s=1.0)
        assert reply.code == UNSENT
        slow = await targets[0].ask("GET", "/a", headers={}, body=None, timeout_s=1e-9)
        assert slow.code == LOST


async def test_a_change_that_was_sent_twice_is_one_operation_from_the_first_attempt_to_the_answer() -> None:
    api = FaultyApi(keys=KEYS, bug=Bug.NONE, rng=random.Random(1), shaky=False)
    made = {key: number for number, key in enumerate(KEYS, 1)}
    history = History(made=made, operations=[], stale=[], surprises=[])
    async with serving(api) as targets:
        closed = Target("closed", "http://127.0.0.1:1", targets[0].session)
        recorder = Recorder(targets=[closed, closed, *targets], paths={"a": "/a"}, history=history)
        for number in range(20):
            await recorder.change("c", "a", str(number), random.Random(number))
    assert len(history.operations) == 20
    assert len({operation.index for operation in history.operations if operation.index}) == sum(
        operation.outcome is Outcome.DONE for operation in history.operations
    )
    assert {o.outcome for o in history.operations} <= {Outcome.DONE, Outcome.NEVER}
    assert any(o.attempts > 1 and o.outcome is Outcome.DONE for o in history.operations)
    assert convicted_by(history) == set()
