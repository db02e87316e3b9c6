"""The bytes of a stored log: one record for each attempt, each complete in itself.

1. A record is a head, a meta part (JSON: whose output, how long it was) and a body (deflated: head and tail
   of the output). Head, meta and body have a CRC32C each, so a damaged length is never believed, and a
   damaged body leaves the records after it readable.
2. The same bytes are on the disk and between replicas: who passes a record on need not open it.
3. Nothing is believed beyond its bound: a record that would be too large is `NotARecord`.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from crc32c import crc32c

from hamgr.logs.pieces import KEPT_BYTES_MAX, Attempt, Kept

MAGIC = b"HLG\x01"
META_BYTES_MAX = 4096
BODY_BYTES_MAX = KEPT_BYTES_MAX + 64 * 1024
"""Deflate makes what cannot be compressed a little longer."""
LEVEL = 1
"""Text becomes a fifth to a tenth at once; higher levels cost a multiple of the time for a little more."""

_HEAD = struct.Struct("<4sIIII")
_CRC = struct.Struct("<I")
HEAD_BYTES = _HEAD.size + _CRC.size


class NotARecord(ValueError):
    """The bytes are not a whole record; the message is half a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where the parts of a record end, relative to its beginning."""

    meta_bytes: int
    body_bytes: int
    meta_crc: int
    body_crc: int

    @property
    def record_bytes(self) -> int:
        return HEAD_BYTES + self.meta_bytes + self.body_bytes

    def fits(self, record: bytes) -> bool:
        """Say whether the body of a record is what it was."""
        body = record[HEAD_BYTES + self.meta_bytes :]
        return len(body) == self.body_bytes and crc32c(body) == self.body_crc


def encode(kept: Kept) -> bytes:
    """Return the record of what is kept of an output."""
    meta = json.dumps([*kept.attempt, kept.size, len(kept.head), kept.note], ensure_ascii=True).encode()
    body = zlib.compress(kept.head + kept.tail, LEVEL)
    if len(meta) > META_BYTES_MAX or len(kept.head) + len(kept.tail) > KEPT_BYTES_MAX:
        raise ValueError("more than a record may hold")
    head = _HEAD.pack(MAGIC, len(meta), len(body), crc32c(meta), crc32c(body))
    return b"".join((head, _CRC.pack(crc32c(head)), meta, body))


def read_head(data: bytes) -> Head:
    """Raises: NotARecord."""
    if len(data) < HEAD_BYTES:
        raise NotARecord("it is cut off")
    magic, meta_bytes, body_bytes, meta_crc, body_crc = _HEAD.unpack_from(data)
    if magic != MAGIC or _CRC.unpack_from(data, _HEAD.size)[0] != crc32c(data[: _HEAD.size]):
        raise NotARecord("its head is damaged")
    if meta_bytes > META_BYTES_MAX or body_bytes > BODY_BYTES_MAX:
        raise NotARecord("it is larger than any record")
    return Head(meta_bytes=meta_bytes, body_bytes=body_bytes, meta_crc=meta_crc, body_crc=body_crc)


def read_attempt(head: Head, meta: bytes) -> Attempt:
    """Return whose output a record has, without its body.

    Raises: NotARecord.
    """
    return _meta(head, meta)[0]


def _meta(head: Head, meta: bytes) -> tuple[Attempt, int, int, str]:
    if len(meta) != head.meta_bytes or crc32c(meta) != head.meta_crc:
        raise NotARecord("its description is damaged")
    try:
        job, node, step, number, size, head_bytes, note = json.loads(meta)
    except ValueError as error:
        raise NotARecord("its description is of another version") from error
    words, numbers = (job, node, step, note), (number, size, head_bytes)
    if not all(isinstance(word, str) for word in words) or not all(type(n) is int for n in numbers):
        raise NotARecord("its description is of another version")
    return Attempt(job, node, step, number), size, head_bytes, note


def decode(record: bytes) -> Kept:
    """Return what a record says.

    Raises: NotARecord.
    """
    head = read_head(record)
    if len(record) != head.record_bytes:
        raise NotARecord("it is cut off")
    attempt, size, head_bytes, note = _meta(head, record[HEAD_BYTES : HEAD_BYTES + head.meta_bytes])
    body = record[HEAD_BYTES + head.meta_bytes :]
    if not head.fits(record):
        raise NotARecord("its content is damaged")
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(body, KEPT_BYTES_MAX)
    except zlib.error as error:
        raise NotARecord("its content is damaged") from error
    if not inflate.eof or not 0 <= head_bytes <= len(data) <= size:
        raise NotARecord("its figures do not fit its content")
    return Kept(attempt=attempt, head=data[:head_bytes], tail=data[head_bytes:], size=size, note=note)


def split(data: bytes) -> Iterator[bytes]:
    """Yield the records that follow each other in `data`; the caller decodes each.

    Raises: NotARecord: what comes next is none, or is cut off.
    """
    place = 0
    while place < len(data):
        head = read_head(data[place : place + HEAD_BYTES])
        record = data[place : place + head.record_bytes]
        if len(record) < head.record_bytes:
            raise NotARecord("it is cut off")
        yield record
        place += head.record_bytes
