"""The hello: what a replica says of itself, and who is not believed."""

import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.wire import hello
from hamgr.raft.wire.hello import Acquaintances, BadHello, Hello

ID = ReplicaId("6f1d2c1e-0d7b-4a53-9a43-2f5f0c1a7e55")
HELLO = Hello(
    cluster="test",
    replica=ID,
    folder=b"f" * 16,
    starts=3,
    nonce=b"n" * 16,
    version="1.0",
    commands=frozenset({"AddNode", "EditNode"}),
)
FIELDS = HELLO.encode()


def test_a_hello_comes_back_as_it_was() -> None:
    assert hello.decode(HELLO.encode()) == HELLO


def test_a_field_of_a_later_version_is_passed_over() -> None:
    assert hello.decode(FIELDS | {"zone": "north"}) == HELLO


@pytest.mark.parametrize("name", sorted(FIELDS))
@given(value=st.none() | st.booleans() | st.integers() | st.binary(max_size=20) | st.text(max_size=20))
def test_a_field_of_another_form_is_refused_or_taken_as_it_is(name, value) -> None:
    try:
        decoded = hello.decode(FIELDS | {name: value})
    except BadHello:
        return
    assert decoded.encode() == FIELDS | {name: value}


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_hello_without_one_of_its_fields_is_refused(name) -> None:
    with pytest.raises(BadHello):
        hello.decode({key: value for key, value in FIELDS.items() if key != name})


@pytest.mark.parametrize("message", [None, 7, b"", [], {}, {"type": "request_vote"}])
def test_anything_else_is_no_hello(message) -> None:
    with pytest.raises(BadHello):
        hello.decode(message)


def test_another_protocol_is_told_which_one_we_speak() -> None:
    with pytest.raises(BadHello, match="protocol 2, we speak 1"):
        hello.decode(FIELDS | {"protocol": 2})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cluster": "other"}, "cluster 'other'"),
        ({"replica": ReplicaId(str(uuid.uuid4()))}, "certificate"),
        ({"folder": b"g" * 16, "starts": 9, "nonce": b"m" * 16}, "another data folder"),
        ({"starts": 2, "nonce": b"m" * 16}, "copied or set back"),
        ({"starts": 2}, "copied or set back"),
        ({"nonce": b"m" * 16}, "copied or set back"),
    ],
)
def test_who_is_not_as_it_was_is_refused_and_nothing_is_noted(change, says) -> None:
    known = Acquaintances("test")
    known.meet(HELLO, ID)
    with pytest.raises(BadHello, match=says):
        known.meet(replace(HELLO, **change), ID)
    assert known.hellos == {ID: HELLO}


def test_the_same_run_and_a_later_one_are_welcome() -> None:
    known = Acquaintances("test")
    known.meet(HELLO, ID)
    known.meet(HELLO, ID)
    later = replace(HELLO, starts=4, nonce=b"m" * 16)
    known.meet(later, ID)
    assert known.hellos == {ID: later}
    with pytest.raises(BadHello):
        known.meet(HELLO, ID)


def test_who_was_removed_may_come_back_as_somebody_new() -> None:
    known = Acquaintances("test")
    known.meet(HELLO, ID)
    known.forget_others_than([ID])
    assert known.hellos == {ID: HELLO}
    known.forget_others_than([])
    anew = replace(HELLO, folder=b"g" * 16, starts=1)
    known.meet(anew, ID)
    assert known.hellos == {ID: anew}
