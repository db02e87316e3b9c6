"""The memory of requests: a repeat is answered as the first time was, within a window that is bounded."""

from dataclasses import replace

import pytest

from statemachine import codec
from statemachine.commands import AddNode, Barrier, ForgetNode, SetGlobals, SubmitJob
from statemachine.machine import apply, apply_entry
from statemachine.model import Endpoint, State
from statemachine.outcomes import Accepted, Reason, Rejected
from statemachine.requests import (
    GENERATION_SIZE,
    GENERATIONS_MAX,
    OFFENDERS_KEPT_MAX,
    REQUESTS_KEPT_MIN,
)
from statemachine.words import JobKind, NodeName, RequestId
from tests.statemachine.fleet import AT, Fleet, unchanged


def add(request: str = "r", node: str = "n1", at: float = AT) -> AddNode:
    return AddNode(
        request_id=RequestId(request), at=at, actor="ann", node=NodeName(node), endpoint=Endpoint(address="x")
    )


def test_a_repeat_is_answered_as_the_first_time_was_and_nothing_happens() -> None:
    state, first = apply(State(), add())
    again, second = apply(state, add(at=AT + 99))
    assert isinstance(first, Accepted)
    assert second == first
    assert unchanged(state, again)
    assert again.index == state.index + 1


def test_a_repeat_of_a_refused_request_is_refused_again_though_it_would_be_possible_now() -> None:
    forget = ForgetNode(request_id=RequestId("f"), at=AT, actor="ann", node=NodeName("n1"))
    state, first = apply(State(), forget)
    assert isinstance(first, Rejected)
    state, _ = apply(state, add())
    again, second = apply(state, forget)
    assert second == first
    assert unchanged(state, again)
    assert "n1" in again.nodes


@pytest.mark.parametrize("other", [add(node="n2"), replace(add(), actor="bob")])
def test_an_id_that_is_used_for_something_else_is_refused(other: AddNode) -> None:
    state, _ = apply(State(), add())
    after, outcome = apply(state, other)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.REQUEST_REUSED
    assert outcome.offenders == ("r",)
    assert after.requests == state.requests
    assert unchanged(state, after)


@pytest.mark.parametrize("request_id", ["", " ", "a b", "x" * 65, "r\n", "-r"])
def test_what_cannot_be_a_request_id_is_refused_and_not_remembered(request_id: str) -> None:
    after, outcome = apply(State(), add(request_id))
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.INVALID
    assert after == State(index=1)


def test_a_barrier_is_not_remembered_and_counts_in_the_log() -> None:
    barrier = Barrier(request_id=RequestId("b"), at=AT, actor="r")
    state, first = apply(State(), barrier)
    state, second = apply(state, barrier)
    assert (first, second) == (Accepted(index=1), Accepted(index=2))
    assert state == State(index=2)


def test_a_barrier_that_bears_the_id_of_a_command_is_answered_for_itself() -> None:
    state, _ = apply(State(), add("a"))
    entry = codec.encode_command(Barrier(request_id=RequestId("a"), at=AT, actor="r"))
    _, outcome, bug = apply_entry(state, entry)
    assert bug is None
    assert outcome == Accepted(index=2)


def test_the_memory_is_bounded_and_keeps_the_promised_window() -> None:
    fleet = Fleet()
    count = GENERATION_SIZE * (GENERATIONS_MAX + 1)
    state = fleet.state
    sent = []
    for number in range(count):
        command = SetGlobals(request_id=RequestId(f"g-{number}"), at=AT, actor="ann", variables={})
        state, outcome = apply(state, command)
        sent.append((command, outcome))
    assert sum(map(len, state.requests)) <= GENERATION_SIZE * GENERATIONS_MAX
    for command, outcome in (sent[-1], sent[-REQUESTS_KEPT_MIN]):
        assert apply(state, command)[1] == outcome
    forgotten, _ = sent[0]
    assert apply(state, forgotten)[1] == Accepted(index=count + 1)


def test_bytes_that_are_no_command_are_answered_and_change_nothing_but_the_index() -> None:
    state, _ = apply(State(), add())
    after, _, bug = apply_entry(state, b"\xc1 nonsense")
    assert bug is not None
    assert after == replace(state, index=state.index + 1)


def test_a_refusal_with_thousands_of_offenders_is_remembered_with_the_first_of_them() -> None:
    names = tuple(NodeName(f"unknown-{i:04}") for i in range(3_000))
    ask = SubmitJob(request_id=RequestId("q"), at=1.0, actor="t", kind=JobKind.VERIFY, nodes=names)
    state, first = apply(State(), ask)
    state, second = apply(state, ask)
    assert isinstance(first, Rejected)
    assert isinstance(second, Rejected)
    assert first.offenders == names
    assert second.reason is first.reason
    assert second.offenders == names[:OFFENDERS_KEPT_MAX]
    assert len(codec.encode_state(state)) < 8_192
