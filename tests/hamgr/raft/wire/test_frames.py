"""Frames: any split of the stream gives the same messages; bad bytes give `FrameError` and nothing else."""

import pickle
import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamgr.raft.protocol.messages import ENTRY_BYTES_MAX
from hamgr.raft.wire import frames
from hamgr.raft.wire.frames import FRAME_BYTES_MAX, Decoder, FrameError

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=40)
    | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


@given(messages=st.lists(PLAIN, max_size=6), cuts=st.lists(st.integers(0, 2_000), max_size=12))
def test_any_split_of_the_stream_gives_the_same_messages(messages, cuts) -> None:
    stream = b"".join(frames.encode(message) for message in messages)
    edges = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    decoder = Decoder()
    found = [
        message
        for begin, end in zip(edges, [*edges[1:], len(stream)], strict=True)
        for message in decoder.feed(stream[begin:end])
    ]
    assert found == messages
    assert decoder.held_bytes == 0


@given(junk=st.binary(max_size=200), cut=st.integers(0, 200))
def test_garbage_gives_messages_or_a_frame_error_and_nothing_else(junk, cut) -> None:
    for stream in (junk, frame(junk)):
        decoder = Decoder()
        try:
            decoder.feed(stream[:cut])
            decoder.feed(stream[cut:])
        except FrameError:
            continue
        assert decoder.held_bytes <= len(stream)


@given(message=PLAIN, data=st.data())
def test_a_flipped_byte_gives_messages_or_a_frame_error_and_nothing_else(message, data) -> None:
    stream = bytearray(frames.encode(message))
    stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        Decoder().feed(bytes(stream))
    except FrameError:
        return


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        pickle.dumps({"type": "request_vote"}),
        msgpack.packb({"a": 1}) + b"\x00",
        b"\xd4\x05x",  # an extension of one byte
        b"\xc7\x00\x05",  # and of none
        b"\xd6\xff\x00\x00\x00\x00",  # a date
        b"\x81\x01\x02",  # a number as key
        b"\x81\x91\x01\x02",  # an array as key
        b"\xa1\xff",  # a text that is not UTF-8
        b"\xdd\xff\xff\xff\xff",  # four thousand million items
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 2_000 + b"\xc0",  # deeper than anything
        msgpack.packb(["x"] * 4_097),
        msgpack.packb({str(key): 0 for key in range(65)}),
        msgpack.packb("x" * 4_097),
    ],
    ids=lambda body: body[:4].hex() or "empty",
)
def test_a_frame_that_holds_no_plain_value_is_refused(body) -> None:
    with pytest.raises(FrameError):
        Decoder().feed(frame(body))


@pytest.mark.parametrize("length", [0, FRAME_BYTES_MAX + 1, (1 << 32) - 1])
def test_a_length_that_no_frame_has_is_refused_by_its_header_alone(length) -> None:
    header = length.to_bytes(4, "big")
    decoder = Decoder()
    assert decoder.feed(header[:3]) == []
    with pytest.raises(FrameError, match=str(length)):
        decoder.feed(header[3:])


def test_a_lower_limit_holds_until_it_is_raised() -> None:
    message = b"x" * 1_000
    with pytest.raises(FrameError, match="100 are the most"):
        Decoder(100).feed(frames.encode(message))
    decoder = Decoder(100)
    decoder.frame_bytes_max = FRAME_BYTES_MAX
    assert decoder.feed(frames.encode(message)) == [message]


def test_nested_headers_cannot_claim_more_than_they_are_allowed() -> None:
    """Every level of 1,000 claims the most items that there may be."""
    body = (b"\xdc\x10\x00" * 1_000).ljust(5_000, b"\xc0")
    tracemalloc.start()
    try:
        with pytest.raises(FrameError):
            Decoder().feed(frame(body))
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_the_largest_entry_fits_and_anything_larger_is_not_sent() -> None:
    message = {
        "type": "append_entries",
        "term": 1 << 50,
        "commit_index": 1 << 50,
        "prevLogIdx": 1 << 50,
        "prevLogTerm": 1 << 50,
        "entries": [[b"x" * ENTRY_BYTES_MAX, 1 << 50, 1 << 50], *[[b"y" * 63, 1 << 50, 1 << 50]] * 4_095],
        "sent_at": 1.0,
    }
    assert Decoder().feed(frames.encode(message)) == [message]
    with pytest.raises(FrameError, match="larger"):
        frames.encode(b"x" * FRAME_BYTES_MAX)
