"""The bytes of a snapshot: a state, its place in the log, and the configuration that was in force there.

1. Header: magic, format version, how long the two parts are, SHA-256 of both, CRC32C of all that. A later
   format keeps this header, so that it can be told from damage, and is refused naming both versions.
2. The first part, packed by msgpack, is the place and the configuration; the second is the state, encoded by
   `statemachine.codec` and by nothing else, so that replicas can compare the SHA-256 of it.
3. Format 1, which had neither a version nor a configuration, is read too. Only format 2 is written.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import msgpack
from crc32c import crc32c

from hamgr.raft.store.records import LogEntry
from statemachine import codec
from statemachine.model import State

MAGIC = b"HAMGRSNP"
FORMAT = 2
FORMAT_1_MAGIC = b"HAMGRSN1"
DIGEST_BYTES = 32
SNAPSHOT_BYTES_MAX = 1 << 30
_FIELDS = struct.Struct(f"<8sIIQ{DIGEST_BYTES}s")
_CRC = struct.Struct("<I")
HEADER_BYTES = _FIELDS.size + _CRC.size


class SnapshotDamaged(ValueError):
    """The bytes are not a whole snapshot that this version can read; the message is half a sentence.

    Attributes:
        offset: Where the bytes begin that are wrong.
    """

    def __init__(self, what: str, offset: int = 0) -> None:
        super().__init__(what)
        self.offset = offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A state, the log entry `last` that was the last to be applied to it, and the one before that.

    Attributes:
        configuration: What was in force at `last`, as `protocol.membership` encodes it; empty when the file
            is of format 1.
    """

    state: State
    last: LogEntry
    before_last: LogEntry
    configuration: bytes = b""


@dataclass(frozen=True, slots=True)
class Header:
    """How long the parts behind a header of format 2 are, and their SHA-256."""

    place_bytes: int
    state_bytes: int
    digest: bytes

    @property
    def size_bytes(self) -> int:
        """Of the whole file."""
        return HEADER_BYTES + self.place_bytes + self.state_bytes

    def encode(self) -> bytes:
        fields = _FIELDS.pack(MAGIC, FORMAT, self.place_bytes, self.state_bytes, self.digest)
        return fields + _CRC.pack(crc32c(fields))


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Return the file's content."""
    return encode_parts(snapshot, codec.encode_state(snapshot.state))


def encode_parts(snapshot: Snapshot, state: bytes) -> bytes:
    """Return the file's content; `state` is the encoded state of `snapshot`."""
    place = bytes(msgpack.packb([list(snapshot.last), list(snapshot.before_last), snapshot.configuration]))
    digest = hashlib.sha256(place)
    digest.update(state)
    return b"".join((Header(len(place), len(state), digest.digest()).encode(), place, state))


def decode_snapshot(data: bytes) -> Snapshot:
    """Return the snapshot that `data` holds, or raise `SnapshotDamaged`."""
    place, state = checked_parts(data)
    try:
        last, before_last, configuration = msgpack.unpackb(place, raw=False)
        snapshot = Snapshot(
            state=codec.decode_state(state),
            last=_log_entry(last),
            before_last=_log_entry(before_last),
            configuration=_bytes(configuration),
        )
    except SnapshotDamaged:
        raise
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise SnapshotDamaged(f"its content cannot be decoded: {error}") from error
    if snapshot.last[1] != snapshot.before_last[1] + 1:
        raise SnapshotDamaged("its place in the log is no place")
    return snapshot


def checked_parts(data: bytes) -> tuple[bytes, bytes]:
    """Return the packed place and the encoded state, whose checksum holds; or raise `SnapshotDamaged`."""
    if data.startswith(FORMAT_1_MAGIC):
        return _parts_of_format_1(data)
    header = decode_header(data)
    if len(data) != header.size_bytes:
        raise SnapshotDamaged(
            f"it has {len(data)} bytes instead of {header.size_bytes}", min(len(data), header.size_bytes)
        )
    if hashlib.sha256(memoryview(data)[HEADER_BYTES:]).digest() != header.digest:
        what = f"the checksum of bytes {HEADER_BYTES} to {len(data)} does not match"
        raise SnapshotDamaged(what, HEADER_BYTES)
    end = HEADER_BYTES + header.place_bytes
    return data[HEADER_BYTES:end], data[end:]


def decode_header(data: bytes) -> Header:
    """Return the header at the beginning of `data`, of format 2, or raise `SnapshotDamaged`."""
    if not data.startswith(MAGIC) or len(data) < HEADER_BYTES:
        raise SnapshotDamaged("it does not begin as a snapshot does")
    _magic, version, place_bytes, state_bytes, digest = _FIELDS.unpack_from(data)
    if crc32c(data[: _FIELDS.size]) != _CRC.unpack_from(data, _FIELDS.size)[0]:
        raise SnapshotDamaged(f"the checksum of its header, bytes 0 to {HEADER_BYTES}, does not match")
    if version != FORMAT:
        raise SnapshotDamaged(f"its format is {version}, and this version of hamgr reads 1 and {FORMAT} only")
    header = Header(place_bytes, state_bytes, digest)
    if header.size_bytes > SNAPSHOT_BYTES_MAX:
        raise SnapshotDamaged(f"{header.size_bytes} bytes are more than the {SNAPSHOT_BYTES_MAX} allowed")
    return header


def _parts_of_format_1(data: bytes) -> tuple[bytes, bytes]:
    first, begin = len(FORMAT_1_MAGIC), len(FORMAT_1_MAGIC) + DIGEST_BYTES
    if hashlib.sha256(memoryview(data)[begin:]).digest() != data[first:begin]:
        raise SnapshotDamaged(f"bytes {first} to {len(data)} and their checksum do not match", first)
    try:
        state, last, before_last = msgpack.unpackb(data[begin:], raw=False, max_bin_len=len(data))
        return bytes(msgpack.packb([last, before_last, b""])), _bytes(state)
    except SnapshotDamaged:
        raise
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise SnapshotDamaged(f"its content cannot be decoded: {error}") from error


def _log_entry(fields: Sequence[object]) -> LogEntry:
    match fields:
        case [bytes(command), int(index), int(term)]:
            return command, index, term
    raise SnapshotDamaged("its place in the log is missing")


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    raise SnapshotDamaged("it lacks a part")
