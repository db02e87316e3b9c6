"""`Recent` against what it stands for: a tuple of the newest items."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine import codec
from statemachine.recent import CHUNK_LENGTH, Recent

STEPS = st.lists(
    st.tuples(st.integers(0, 2 * CHUNK_LENGTH), st.integers(0, 3 * CHUNK_LENGTH)), min_size=1, max_size=12
)


@given(start=st.integers(0, 3 * CHUNK_LENGTH), steps=STEPS)
def test_it_holds_what_a_tuple_would(start: int, steps: list[tuple[int, int]]) -> None:
    model = tuple(range(start))
    recent = Recent(model)
    number = start
    versions = [(recent, model)]
    for more, length in steps:
        items = list(range(number, number + more))
        number += more
        recent, model = recent.followed_by(items), (*model, *items)
        versions.append((recent, model))
        recent, model = recent.newest(length), model[max(0, len(model) - length) :]
        versions.append((recent, model))
    for kept, expected in versions:
        assert tuple(kept) == expected
        assert len(kept) == len(expected)
        assert bool(kept) == bool(expected)
        assert kept == expected
        assert kept == Recent(expected)
        assert hash(kept) == hash(expected)
        assert [kept[i] for i in range(-len(expected), len(expected))] == [*expected, *expected]
        assert kept[1:-1] == expected[1:-1]


def test_a_place_that_is_not_there_is_an_index_error() -> None:
    recent = Recent(range(100)).newest(70)
    for place in (70, -71):
        with pytest.raises(IndexError):
            recent[place]
    with pytest.raises(IndexError):
        Recent()[0]


def test_it_is_no_other_than_a_sequence_with_the_same_items() -> None:
    assert Recent((1, 2)) != Recent((1, 3))
    assert Recent((1, 2)) != (1,)
    assert Recent((1, 2)) != [1, 2]


def test_it_goes_on_the_wire_as_a_list() -> None:
    assert codec.plain(Recent(("a", "b"))) == ["a", "b"]
