"""Records of stored logs: whole or refused, whatever became of their bytes."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hamgr.logs import records
from hamgr.logs.pieces import KEPT_BYTES_MAX, Kept, shorten
from tests.hamgr.logs.kit import attempt, record


@settings(deadline=None)
@given(head=st.binary(max_size=300), tail=st.binary(max_size=300), gap=st.integers(0, 10**9))
def test_what_is_encoded_is_decoded(head: bytes, tail: bytes, gap: int) -> None:
    whole = Kept(attempt=attempt(7), head=head, tail=tail, size=len(head) + len(tail) + gap, note="n\u00f6")
    assert records.decode(records.encode(whole)) == whole


def test_no_changed_bit_and_no_cut_is_taken_for_a_record() -> None:
    whole = record(attempt(), b"some output, long enough to be deflated " * 3)
    for place, bit in itertools.product(range(len(whole)), range(8)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        with pytest.raises(records.NotARecord):
            records.decode(bytes(damaged))
    for length in range(len(whole)):
        with pytest.raises(records.NotARecord):
            records.decode(whole[:length])
    with pytest.raises(records.NotARecord):
        records.decode(whole + b"x")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_and_nothing_else(data: bytes) -> None:
    with pytest.raises(records.NotARecord):
        records.decode(data)


def test_records_that_follow_each_other_are_told_apart_up_to_where_they_end() -> None:
    one, two = record(attempt(1)), record(attempt(2), b"x" * 5000)
    assert list(records.split(one + two)) == [one, two]
    found = records.split(one + two[:-1])
    assert next(found) == one
    with pytest.raises(records.NotARecord):
        next(found)


def test_more_than_a_record_may_hold_is_neither_written_nor_unpacked() -> None:
    with pytest.raises(ValueError, match="more than a record"):
        record(attempt(), bytes(KEPT_BYTES_MAX + 1))
    assert records.decode(record(attempt(), bytes(KEPT_BYTES_MAX))).size == KEPT_BYTES_MAX


def test_of_a_flood_the_head_and_the_tail_are_kept_and_every_offset_is_right() -> None:
    output = b"".join(b"%07d\n" % number for number in range(10_000))
    short = shorten(attempt(), output, bytes_max=16_001)
    assert (len(short.head), len(short.tail), short.size) == (8000, 8001, 80_000)
    for offset in (0, 1, 7999, 8000, 40_000, 71_999, 72_000, 79_999, 80_000, 90_000):
        place = offset
        for part in short.parts(offset, bytes_max=1000):
            assert part.offset == place
            assert len(part.data) <= 1000
            assert part.data == output[place : place + len(part.data)]
            assert bool(part.data) != bool(part.skipped_bytes)
            place += len(part.data) + part.skipped_bytes
        assert place == max(offset, 80_000)


def test_an_output_that_fits_is_kept_whole() -> None:
    assert shorten(attempt(), b"x" * 100, bytes_max=100) == Kept(attempt=attempt(), head=b"x" * 100, size=100)
    parts = list(shorten(attempt(), b"x" * 100, bytes_max=100).parts(30, bytes_max=50))
    assert [(part.offset, len(part.data)) for part in parts] == [(30, 50), (80, 20)]
