"""The check that every received message passes before anybody acts."""

import contextlib

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hamgr.raft.protocol.messages import (
    DIGEST_BYTES,
    ENTRIES_MAX,
    ENTRY_BYTES_MAX,
    KINDS,
    NUMBER_MAX,
    PIECE_BYTES_MAX,
    BadMessage,
    check,
)

NUMBER = st.integers(0, NUMBER_MAX - 1)
TIME = st.floats(allow_nan=False, allow_infinity=False)
ENTRY = st.binary(min_size=1, max_size=40)
GOOD = {
    "_number": NUMBER,
    "_number_or_none": st.none() | NUMBER,
    "_time": TIME,
    "_flag": st.booleans(),
    "_entry": ENTRY,
    "_command": st.binary(max_size=40),
    "_piece": st.binary(max_size=40),
    "_digest": st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES),
    "_entries": st.lists(st.tuples(ENTRY, NUMBER, NUMBER).map(list), max_size=3),
}
TOO_LARGE = {
    "_number": NUMBER_MAX,
    "_number_or_none": NUMBER_MAX,
    "_time": float("inf"),
    "_flag": 2,
    "_entry": bytes(ENTRY_BYTES_MAX + 1),
    "_command": bytes(ENTRY_BYTES_MAX),
    "_piece": bytes(PIECE_BYTES_MAX + 1),
    "_digest": bytes(DIGEST_BYTES + 1),
    "_entries": [[b"x", 1, 1]] * (ENTRIES_MAX + 1),
}
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=4,
)


def form(holds):
    return holds.__name__


def strategy(kind):
    return st.fixed_dictionaries(
        {"type": st.just(kind)} | {name: GOOD[form(holds)] for name, holds in KINDS[kind].items()}
    )


FIELDS = [(kind, name) for kind, fields in KINDS.items() for name in fields]
one_of_each = pytest.mark.parametrize("kind", KINDS)
each_field = pytest.mark.parametrize(("kind", "name"), FIELDS)


@one_of_each
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_good_message_passes_as_it_is_also_through_the_wire(kind, data):
    message = data.draw(strategy(kind))
    assert check(message) is message
    assert check(msgpack.unpackb(msgpack.packb(message))) == message


@each_field
@settings(max_examples=1, deadline=None)
@given(data=st.data())
def test_a_message_that_lacks_a_field_is_refused(kind, name, data):
    message = data.draw(strategy(kind))
    del message[name]
    with pytest.raises(BadMessage, match=kind):
        check(message)
    with pytest.raises(BadMessage, match=f"{kind}: {name}"):
        check({**message, "another": 1})


@one_of_each
@settings(max_examples=1, deadline=None)
@given(data=st.data())
def test_a_message_with_a_field_too_many_is_refused(kind, data):
    with pytest.raises(BadMessage, match=kind):
        check({**data.draw(strategy(kind)), "another": 1})


@each_field
@settings(max_examples=5, deadline=None)
@given(data=st.data(), wrong=JUNK)
def test_a_field_of_another_form_is_refused_and_none_other_is_missed(kind, name, data, wrong):
    message = data.draw(strategy(kind))
    holds = KINDS[kind][name]
    for value in (wrong, TOO_LARGE[form(holds)], object()):
        if holds(value):
            continue
        with pytest.raises(BadMessage, match=f"{kind}: {name} is missing or malformed"):
            check({**message, name: value})
    assert not holds(TOO_LARGE[form(holds)])


@pytest.mark.parametrize("value", [True, 1.0, -1, "1", b"1", None, NUMBER_MAX])
def test_a_number_is_a_whole_one_within_its_bounds(value):
    with pytest.raises(BadMessage, match="term"):
        check({"type": "later_term", "term": value})


@pytest.mark.parametrize("value", [1, True, None, "1", float("inf"), float("-inf"), float("nan")])
def test_a_time_is_a_finite_float(value):
    with pytest.raises(BadMessage, match="sent_at"):
        check({"type": "heartbeat", "term": 1, "sent_at": value})


@pytest.mark.parametrize(
    "entries",
    [
        None,
        {},
        ([b"x", 1, 1],),
        [(b"x", 1, 1)],
        [[b"x", 1]],
        [[b"x", 1, 1, 1]],
        [["x", 1, 1]],
        [[b"", 1, 1]],
        [[bytes(ENTRY_BYTES_MAX + 1), 1, 1]],
        [[b"x", -1, 1]],
        [[b"x", 1, NUMBER_MAX]],
        [[bytearray(b"x"), 1, 1]],
        [[b"x", 1, 1], None],
    ],
)
def test_entries_that_no_log_holds_are_refused(entries):
    message = {"term": 1, "commit_index": 1, "prevLogIdx": 1, "prevLogTerm": 1, "sent_at": 1.0}
    with pytest.raises(BadMessage, match="entries"):
        check({"type": "append_entries", **message, "entries": entries})


def test_a_message_of_a_later_version_is_passed_over():
    assert check({"type": "of a later version", "whatever": object()}) is None


@settings(max_examples=200, deadline=None)
@given(JUNK | st.dictionaries(st.sampled_from(["type", "term", "entries"]) | st.text(max_size=3), JUNK))
def test_junk_raises_nothing_else(junk):
    with contextlib.suppress(BadMessage):
        assert check(junk) is None or type(junk) is dict


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.dictionaries(st.sampled_from([name for _, name in FIELDS]), JUNK))
def test_junk_with_a_known_type_raises_nothing_else(kind, fields):
    with contextlib.suppress(BadMessage):
        check({**fields, "type": kind})
