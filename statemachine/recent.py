"""An immutable sequence of the newest of many things, to which more are added all the time.

1. It never changes; adding returns another one, and the two share almost everything.
2. Adding and dropping cost about `CHUNK_LENGTH` steps, however long the sequence is; a tuple is copied whole.
3. It equals the tuple with the same items, and slices are tuples.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TypeVar, overload

T = TypeVar("T")

CHUNK_LENGTH = 64


class Recent(Sequence[T]):
    """The sequence, in chunks; of the first, `_dropped` items do not count any more."""

    __slots__ = ("_chunks", "_dropped", "_length")

    def __init__(self, items: Iterable[T] = ()) -> None:
        every = tuple(items)
        self._chunks: tuple[tuple[T, ...], ...] = tuple(
            every[start : start + CHUNK_LENGTH] for start in range(0, len(every), CHUNK_LENGTH)
        )
        self._dropped = 0
        self._length = len(every)

    def followed_by(self, items: Sequence[T]) -> "Recent[T]":
        """Return these items, and `items` after them."""
        chunks, more = self._chunks, len(items)
        last = chunks[-1] if chunks else ()
        if last and len(last) + more <= CHUNK_LENGTH:
            chunks, items = chunks[:-1], (*last, *items)
        return self._of((*chunks, tuple(items)) if items else chunks, self._dropped, self._length + more)

    def newest(self, length: int) -> "Recent[T]":
        """Return the last `length` items, or all if there are no more."""
        length = min(length, self._length)
        dropped = self._dropped + self._length - length
        first = 0
        while first < len(self._chunks) and dropped >= len(self._chunks[first]):
            dropped -= len(self._chunks[first])
            first += 1
        return self._of(self._chunks[first:] if first else self._chunks, dropped, length)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        return islice(chain.from_iterable(self._chunks), self._dropped, None)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[T, ...]: ...
    def __getitem__(self, place: int | slice) -> T | tuple[T, ...]:
        if isinstance(place, slice):
            return tuple(self)[place]
        if not -self._length <= place < self._length:
            raise IndexError(f"there are {self._length} items, and none at {place}")
        if place < 0:
            for chunk in reversed(self._chunks):
                if -place <= len(chunk):
                    return chunk[place]
                place += len(chunk)
        place += self._dropped
        for chunk in self._chunks:
            if place < len(chunk):
                return chunk[place]
            place -= len(chunk)
        raise AssertionError("the chunks hold what the length says")

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Recent | tuple) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Recent({tuple(self)!r})"

    def _of(self, chunks: tuple[tuple[T, ...], ...], dropped: int, length: int) -> "Recent[T]":
        made: Recent[T] = object.__new__(Recent)
        made._chunks, made._dropped, made._length = chunks, dropped, length
        return made
