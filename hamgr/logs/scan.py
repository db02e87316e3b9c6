"""Finds the whole records in a file of stored logs, whatever a crash or a bad disk made of the rest.

1. What cannot be read is passed over: the next bytes that are the head of a record are looked for.
2. A record with a damaged body does not count: nobody may take an attempt for stored that is not.
3. After the last whole record nothing counts: a crash left it, and it was never promised.
"""

import os
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from hamgr.logs import records
from hamgr.logs.pieces import Attempt

_WINDOW_BYTES = 64 * 1024


class Place(NamedTuple):
    """Where a record is in its file."""

    offset: int
    size: int


@dataclass(slots=True)
class Found:
    """What a file has.

    Attributes:
        end_bytes: The end of the last whole record.
        damaged: How many times something unreadable lay between records.
    """

    places: dict[Attempt, Place] = field(default_factory=dict)
    end_bytes: int = 0
    damaged: int = 0


def scan(file: BinaryIO) -> Found:
    """Return where the whole records of `file` are; of two of one attempt, the later one."""
    found = Found()
    size = os.fstat(file.fileno()).st_size
    place = 0
    broken = False
    while place < size:
        record = _record_at(file, place, size)
        if record is None:
            broken = True
            place = _next_magic(file, place + 1, size)
            continue
        attempt, length = record
        found.damaged += broken
        broken = attempt is None
        if attempt is not None:
            found.places[attempt] = Place(place, length)
            found.end_bytes = place + length
        place += length
    return found


def _record_at(file: BinaryIO, place: int, size: int) -> tuple[Attempt | None, int] | None:
    """Return whose record is at `place` and its length; None for whose where its body is damaged."""
    try:
        head = records.read_head(read_exactly(file, Place(place, records.HEAD_BYTES)))
        meta = read_exactly(file, Place(place + records.HEAD_BYTES, head.meta_bytes))
        attempt = records.read_attempt(head, meta)
    except records.NotARecord:
        return None
    if place + head.record_bytes > size:
        return None
    whole = head.fits(read_exactly(file, Place(place, head.record_bytes)))
    return (attempt if whole else None), head.record_bytes


def _next_magic(file: BinaryIO, place: int, size: int) -> int:
    """Return where a record may begin next, or the end of the file."""
    overlap = len(records.MAGIC) - 1
    while place < size:
        window = read_exactly(file, Place(place, _WINDOW_BYTES))
        at = window.find(records.MAGIC)
        if at >= 0:
            return place + at
        place += max(len(window) - overlap, 1)
    return size


def read_exactly(file: BinaryIO, place: Place) -> bytes:
    """Return the bytes at `place`, fewer where the file ends before."""
    return os.pread(file.fileno(), place.size, place.offset)
