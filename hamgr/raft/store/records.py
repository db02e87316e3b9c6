"""The bytes of a journal: a header, then records.

1. The header is made with the file and never changes: magic, format version, the identity of the journal
   (random, kept by compaction), its generation (raised by compaction), CRC32C.
2. A record is a head and a payload. The head ends with its own CRC32C, so that a damaged length is never
   believed, and holds that of the payload.
3. Both checksums begin with that of the header and of the record's offset: bytes of another file, or of
   another place in this one, are no record.
4. An entry is appended by ENTRY and taken back by CUT, never changed in place. BARRIER ends a batch, and
   says how it stands after it: commit index, term, vote. Its last byte is never zero.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from crc32c import crc32c

LogEntry: TypeAlias = tuple[bytes, int, int]
"""Command, index, term; as the library keeps it."""

MAGIC = b"HAMGRJNL"
FORMAT = 1
IDENTITY_BYTES = 16
BARRIER_MARK = b"\xb1BARRIER"
"""Found again where the records before it cannot be read."""
_END = b"\xb1"

_HEADER = struct.Struct(f"<8sI{IDENTITY_BYTES}sQ")
_CRC = struct.Struct("<I")
_OFFSET = struct.Struct("<Q")
_HEAD = struct.Struct("<IIBQQ")
_SEQUENCE = struct.Struct("<QB")
HEADER_BYTES = _HEADER.size + _CRC.size
HEAD_BYTES = _HEAD.size + _CRC.size


class Kind(IntEnum):
    """What a record does."""

    ENTRY = 1
    CUT = 2
    BARRIER = 3


_KINDS = frozenset(Kind)


class NotAHeader(ValueError):
    """The bytes are not the header of a journal of this version; the message is half a sentence."""


class NotARecord(ValueError):
    """There is no whole record at the offset.

    Attributes:
        start, end: The bytes that are wrong; `end` may lie beyond the end of the file.
    """

    def __init__(self, start: int, end: int) -> None:
        super().__init__(f"no record at byte {start}")
        self.start = start
        self.end = end


@dataclass(frozen=True, slots=True)
class Header:
    """Which journal it is, and how often it was compacted."""

    identity: bytes
    generation: int

    def encode(self) -> bytes:
        fields = _HEADER.pack(MAGIC, FORMAT, self.identity, self.generation)
        return fields + _CRC.pack(crc32c(fields))


@dataclass(frozen=True, slots=True)
class Record:
    """A record and where the next one begins."""

    kind: Kind
    index: int
    term: int
    payload: bytes
    end: int


@dataclass(frozen=True, slots=True)
class Barrier:
    """How the journal stands: `vote` is for `term`, None when there was none."""

    sequence: int = 0
    commit: int = 1
    term: int = 0
    vote: str | None = None


def decode_header(data: bytes) -> Header:
    """Return the header at the beginning of `data`, or raise `NotAHeader`."""
    if not data.startswith(MAGIC) or len(data) < HEADER_BYTES:
        raise NotAHeader("it does not begin as a journal does")
    _magic, version, identity, generation = _HEADER.unpack_from(data)
    if crc32c(data[: _HEADER.size]) != _CRC.unpack_from(data, _HEADER.size)[0]:
        raise NotAHeader("the checksum of its header does not match")
    if version != FORMAT:
        raise NotAHeader(f"its format is {version}, and this version of hamgr reads {FORMAT} only")
    return Header(identity, generation)


class Codec:
    """Writes and reads the records of one file."""

    def __init__(self, header: Header) -> None:
        # Without its checksum: the CRC of bytes and their CRC is the same whatever the bytes are.
        self._seed = crc32c(header.encode()[: _HEADER.size])

    def encode(self, offset: int, kind: Kind, index: int, term: int, payload: bytes = b"") -> bytes:
        """Return the record that can stand at `offset` only."""
        seed = crc32c(_OFFSET.pack(offset), self._seed)
        head = _HEAD.pack(len(payload), crc32c(payload, seed), kind, index, term)
        return head + _CRC.pack(crc32c(head, seed)) + payload

    def encode_barrier(self, offset: int, barrier: Barrier) -> bytes:
        vote = b"" if barrier.vote is None else barrier.vote.encode()
        payload = BARRIER_MARK + _SEQUENCE.pack(barrier.sequence, barrier.vote is not None) + vote + _END
        return self.encode(offset, Kind.BARRIER, barrier.commit, barrier.term, payload)

    def decode(self, data: bytes, offset: int) -> Record:
        """Return the record at `offset`, or raise `NotARecord`."""
        start = offset + HEAD_BYTES
        if start > len(data):
            raise NotARecord(offset, start)
        seed = crc32c(_OFFSET.pack(offset), self._seed)
        size, payload_crc, kind, index, term = _HEAD.unpack_from(data, offset)
        if crc32c(data[offset : start - _CRC.size], seed) != _CRC.unpack_from(data, start - _CRC.size)[0]:
            raise NotARecord(offset, start)
        payload = data[start : start + size]
        if len(payload) < size or crc32c(payload, seed) != payload_crc:
            raise NotARecord(start, start + size)
        if kind not in _KINDS:
            raise NotARecord(offset, start)
        return Record(Kind(kind), index, term, payload, start + size)


def barrier_of(record: Record) -> Barrier:
    """Return what a record of the kind BARRIER says."""
    body = record.payload[len(BARRIER_MARK) : -len(_END)]
    sequence, voted = _SEQUENCE.unpack_from(body)
    vote = body[_SEQUENCE.size :].decode() if voted else None
    return Barrier(sequence, record.index, record.term, vote)
