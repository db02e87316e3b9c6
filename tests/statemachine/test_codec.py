"""The wire: what was once written is read for ever; what is not understood is refused with a reason."""

import dataclasses
from random import Random
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine import codec
from statemachine.codec import CodecError
from statemachine.commands import AddNode, Barrier, SetGlobals
from statemachine.model import State
from statemachine.words import RequestId
from tests.statemachine.chaos import start
from tests.statemachine.examples import GOLDEN, KINDS, decode, encode, filled, golden
from tests.statemachine.invariants import check_codec

BARRIER: dict[str, Any] = {"request_id": "r", "at": 1.0, "actor": "a"}


def packed(name: str, fields: Any, version: int = codec.FORMAT) -> bytes:
    return bytes(msgpack.packb([version, name, fields]))


def _contains(value: Any, known: Any) -> bool:
    """Return whether `value` says all that `known` says; maps may say more."""
    if isinstance(known, dict):
        return isinstance(value, dict) and all(
            key in value and _contains(value[key], item) for key, item in known.items()
        )
    if isinstance(known, list):
        return len(value) == len(known) and all(map(_contains, value, known))
    return bool(value == known) and type(value) is type(known)


@pytest.mark.parametrize("name", KINDS)
def test_what_was_once_written_is_read_for_ever(name: str) -> None:
    data = golden(name)
    value = decode(name, data)
    assert type(value) is KINDS[name]
    assert _contains(codec.plain(value), msgpack.unpackb(data, strict_map_key=False)[2]), (
        f"a wire name or a meaning of {name} has changed: old logs could not be read any more"
    )


@pytest.mark.parametrize("name", KINDS)
def test_every_field_that_golden_bytes_lack_has_a_default(name: str) -> None:
    fields = msgpack.unpackb(golden(name), strict_map_key=False)[2]
    for field in dataclasses.fields(KINDS[name]):
        optional = (field.default, field.default_factory) != (dataclasses.MISSING, dataclasses.MISSING)
        assert field.name in fields or optional, f"{name}.{field.name} would break older logs"


def test_there_are_golden_bytes_for_every_kind_and_for_none_that_is_gone() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(KINDS), (
        "python -m tests.statemachine.examples"
    )


@pytest.mark.parametrize("name", KINDS)
def test_a_message_with_every_field_filled_comes_back_equal_and_byte_for_byte(name: str) -> None:
    value = filled(KINDS[name])
    data = encode(value)
    assert decode(name, data) == value
    assert encode(decode(name, data)) == data


def test_a_state_with_a_history_comes_back_equal_and_byte_for_byte() -> None:
    check_codec(start())
    check_codec(State())


def test_states_that_differ_have_different_digests() -> None:
    state = start()
    assert codec.state_digest(state) == codec.state_digest(start())
    assert codec.state_digest(state) != codec.state_digest(dataclasses.replace(state, index=state.index + 1))
    turned = dict(reversed(state.nodes.items()))
    assert codec.state_digest(state) != codec.state_digest(dataclasses.replace(state, nodes=turned))


def test_an_older_writer_s_missing_field_takes_its_default() -> None:
    fields = {**BARRIER, "node": "n1", "endpoint": {"address": "x"}}
    command = codec.decode_command(packed("AddNode", fields))
    assert isinstance(command, AddNode)
    assert (command.endpoint.port, command.labels, command.role) == (22, {}, "")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (packed("Barrier", {**BARRIER, "later": 1}), "does not know: ['later']"),
        (packed("Barrier", {"request_id": "r"}), "lacks ['actor', 'at']"),
        (packed("Tomorrow", BARRIER), "does not know 'Tomorrow'"),
        (packed("State", {}), "does not know 'State'"),
        (packed("Barrier", BARRIER, version=codec.FORMAT + 1), "another version"),
        (packed("Barrier", {**BARRIER, "at": "now"}), "expected float"),
        (packed("Barrier", {**BARRIER, "at": True}), "expected float"),
        (packed("Barrier", {**BARRIER, "actor": b"a"}), "expected str"),
        (packed("Barrier", []), "does not know 'Barrier'"),
        (packed("SetGlobals", {**BARRIER, "variables": []}), "expected a map"),
        (packed("SetGlobals", {**BARRIER, "variables": {"a": b"x"}}), "cannot hold bytes"),
        (packed("SetGlobals", {**BARRIER, "variables": {"a": {1: 2}}}), "cannot hold dict"),
        (packed("ReportPresence", {**BARRIER, "node": "n", "presence": "gone"}), "not a Presence"),
        (packed("SubmitDiscovery", {**BARRIER, "endpoints": {}}), "expected a list"),
        (b"", "not msgpack"),
        (b"\xc1", "not msgpack"),
        (b"\x01", "not a message of hamgr"),
        (b"\x01\x02", "not msgpack"),
        (bytes(codec.COMMAND_BYTES_MAX + 1), "more than"),
    ],
)
def test_what_this_version_does_not_write_is_refused_with_a_reason(data: bytes, says: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec.decode_command(data)
    assert says in str(caught.value)


def test_whole_seconds_are_read_as_the_same_time() -> None:
    assert codec.decode_command(packed("Barrier", {**BARRIER, "at": 1})) == Barrier(
        request_id=RequestId("r"), at=1.0, actor="a"
    )


@pytest.mark.parametrize("depth", [codec.DEPTH_MAX + 2, 400, 5_000])
def test_a_value_that_nests_too_deep_is_refused(depth: int) -> None:
    head = bytes(msgpack.packb([codec.FORMAT, "SetGlobals", {**BARRIER, "variables": {"a": 0}}]))
    with pytest.raises(CodecError):
        codec.decode_command(head[:-1] + b"\x91" * depth + b"\x00")


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, "\ud800", object()])
def test_a_value_that_cannot_be_stored_is_refused_by_the_writer(value: Any) -> None:
    command = SetGlobals(request_id=RequestId("r"), at=1.0, actor="a", variables={"a": value})
    with pytest.raises(CodecError):
        codec.encode_command(command)


def test_two_thousand_damaged_messages_are_refused_or_read_and_nothing_else_is_raised() -> None:
    rng = Random()  # a failure prints the bytes themselves
    sources = [golden(name) for name in KINDS] + [codec.encode_state(start())]
    for _ in range(2_000):
        data = bytearray(rng.choice(sources))
        for _ in range(rng.randrange(1, 4)):
            place = rng.randrange(len(data))
            match rng.randrange(3):
                case 0:
                    data[place] = rng.randrange(256)
                case 1:
                    del data[place : place + rng.randrange(1, 9)]
                case _:
                    data[place:place] = rng.randbytes(rng.randrange(1, 5))
            data = data or bytearray(1)
        for read in (codec.decode_command, codec.decode_outcome, codec.decode_state):
            try:
                read(bytes(data))
            except CodecError:
                continue
            except Exception as error:
                raise AssertionError(f"{read.__name__}: {bytes(data).hex()}") from error


@given(data=st.binary(max_size=64))
def test_any_bytes_are_refused_or_read_and_nothing_else_is_raised(data: bytes) -> None:
    for read in (codec.decode_command, codec.decode_outcome, codec.decode_state):
        try:
            read(data)
        except CodecError:
            continue


@pytest.mark.parametrize("name", sorted(codec.COMMAND_NAMES))
def test_the_name_of_a_command_is_told_from_its_bytes(name: str) -> None:
    assert codec.command_name(packed(name, {})) == name


@pytest.mark.parametrize("data", [b"", b"\x93\x01", b"\x93\x02\xa3Foo\x80", b"\x80" * 9, b"\x93\x01\xda\x00"])
def test_bytes_that_are_no_command_of_this_format_have_no_name(data: bytes) -> None:
    assert codec.command_name(data) == ""


@pytest.mark.parametrize(
    ("data", "later"),
    [
        (packed("Foo", {}), True),
        (packed("Barrier", {**BARRIER, "later": 1}), True),
        (packed("Barrier", BARRIER, version=codec.FORMAT + 1), True),
        (packed("Barrier", BARRIER, version=0), False),
        (packed("Barrier", {}), False),
        (packed("Barrier", []), False),
        (b"\x80" * 100, False),
        (b"", False),
    ],
)
def test_what_a_later_version_may_understand_is_told_from_what_nobody_wrote(data: bytes, later: bool) -> None:
    with pytest.raises(CodecError) as refused:
        codec.decode_command(data)
    assert isinstance(refused.value, codec.LaterVersion) is later
