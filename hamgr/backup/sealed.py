"""An encrypted file, read as a stream: whole and as it was written, or refused.

1. The key of each file is derived from the backup key, a random salt and the header (HKDF, RFC 5869), so that
   no two files share one, and a changed header opens nothing.
2. The content is sealed in chunks by AES-256-GCM. A chunk's nonce is its number and whether it is the last
   (the STREAM construction: Hoang, Reyhanitabar, Rogaway and Vizár, 2015), so that chunks that are missing,
   out of order, from another file or cut off at the end are refused as damaged bytes are.
3. Nothing of a chunk is given out before all of it was verified. Whoever reads has to come to the end before
   the whole is to be believed.
4. The header (cluster, index, time) can be read without the key, and is then not yet verified.
"""

import io
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"HAMGRBKP"
FORMAT = 1
CHUNK_BYTES = 64 * 1024
TAG_BYTES = 16
SALT_BYTES = 32
KEY_ID_BYTES = 8
HEADER_BYTES_MAX = 64 * 1024
_PREFIX = struct.Struct("<8sII")
_COUNTER_BYTES = 11


class BadBackup(ValueError):
    """The file cannot be used; the message names it, the place where there is one, and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What can be known without the key.

    Attributes:
        cluster: Its id as certificates have it.
        replica: Name of the replica that made the backup.
        index: Of the state: how many commands it is the result of.
        at: When it was made, in Unix seconds.
        version: Of hamgr.
        key_id: The beginning of the SHA-256 of the backup key, in hexadecimal.
    """

    cluster: str
    replica: str
    index: int
    at: float
    version: str
    key_id: str


def key_id(key: bytes) -> str:
    """Return what tells one backup key from another, and nothing about it."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(b"hamgr backup key id" + key)
    return digest.finalize()[:KEY_ID_BYTES].hex()


class Sealer(io.RawIOBase):
    """Writes a sealed file; it is none before `close`."""

    def __init__(self, file: BinaryIO, key: bytes, header: Header) -> None:
        """Write the header; raises `OSError`."""
        super().__init__()
        salt = os.urandom(SALT_BYTES)
        fields = {name: getattr(header, name) for name in Header.__slots__}
        body = bytes(msgpack.packb(fields | {"salt": salt}))
        head = _PREFIX.pack(MAGIC, FORMAT, len(body)) + body
        self._file, self._cipher = file, _cipher(key, salt, head)
        self._number, self._held = 0, bytearray()
        file.write(head)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Take bytes; the last chunk is held back, since it is sealed as the last."""
        taken = memoryview(data).nbytes
        self._held += data
        while len(self._held) > CHUNK_BYTES:
            self._put(bytes(self._held[:CHUNK_BYTES]), last=False)
            del self._held[:CHUNK_BYTES]
        return taken

    def finish(self) -> None:
        """Seal the last chunk; the file is whole then. Without it, it is refused as cut off."""
        self._put(bytes(self._held), last=True)
        self._held.clear()

    def _put(self, chunk: bytes, *, last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._number, last=last), chunk, None))
        self._number += 1


class Opener(io.RawIOBase):
    """Reads a sealed file from its beginning to its end."""

    def __init__(self, path: Path, file: BinaryIO, key: bytes) -> None:
        """Read the header.

        Raises:
            BadBackup: It is no backup, or of another key.
            OSError: It cannot be read.
        """
        super().__init__()
        head, fields = _head(path, file)
        self.header = _header(path, fields)
        if self.header.key_id != key_id(key):
            raise BadBackup(
                f"{path}: it was made with the backup key {self.header.key_id}, and this is {key_id(key)}; "
                "give the one that `hamgrd init` printed for its cluster"
            )
        self._path, self._file = path, file
        self._cipher = _cipher(key, fields["salt"], head)
        self._number, self._offset = 0, len(head)
        self._next = file.read(CHUNK_BYTES + TAG_BYTES)
        self._ready = memoryview(b"")
        self._over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a part of `buffer`; 0 at the end. Raises `BadBackup` at the first byte that is wrong."""
        if not self._ready and not self._over:
            self._open_next()
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _open_next(self) -> None:
        sealed, self._next = self._next, self._file.read(CHUNK_BYTES + TAG_BYTES)
        self._over = not self._next
        try:
            opened = self._cipher.decrypt(_nonce(self._number, last=self._over), sealed, None)
        except (InvalidTag, ValueError) as error:
            raise BadBackup(
                f"{self._path}: damaged or cut off between bytes {self._offset} and "
                f"{self._offset + len(sealed)}; use another backup"
            ) from error
        self._number, self._offset = self._number + 1, self._offset + len(sealed)
        self._ready = memoryview(opened)


def read_header(path: Path) -> Header:
    """Return what a file says of itself without the key; nothing of it is verified.

    Raises:
        BadBackup: It is no backup.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return _header(path, _head(path, file)[1])


def _cipher(key: bytes, salt: bytes, head: bytes) -> AESGCM:
    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=b"hamgr backup 1" + head)
    return AESGCM(derived.derive(key))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(_COUNTER_BYTES, "big") + bytes([last])


def _head(path: Path, file: BinaryIO) -> tuple[bytes, Mapping[str, Any]]:
    prefix = file.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size or not prefix.startswith(MAGIC):
        raise BadBackup(f"{path}: this is no backup of hamgr")
    _, version, size = _PREFIX.unpack(prefix)
    if version != FORMAT:
        raise BadBackup(f"{path}: its format is {version}, and this version of hamgr reads {FORMAT} only")
    body = file.read(size) if size <= HEADER_BYTES_MAX else b""
    try:
        fields = msgpack.unpackb(body, raw=False)
        if len(body) == size and len(fields["salt"]) == SALT_BYTES:
            return prefix + body, fields
    except (ValueError, TypeError, KeyError, msgpack.UnpackException):
        pass
    raise BadBackup(f"{path}: its header is damaged; use another backup")


def _header(path: Path, fields: Mapping[str, Any]) -> Header:
    match fields:
        case {
            "cluster": str(cluster),
            "replica": str(replica),
            "index": int(index),
            "at": float(at),
            "version": str(version),
            "key_id": str(of_key),
        }:
            return Header(
                cluster=cluster, replica=replica, index=index, at=at, version=version, key_id=of_key
            )
    raise BadBackup(f"{path}: its header lacks a part; use another backup")
