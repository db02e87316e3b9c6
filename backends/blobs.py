"""Keeps immutable byte strings by the SHA-256 of their content: bundles, on each replica's own disk.

1. `put` answers after the bytes and their name are on the disk; a crash leaves all of a blob or none.
2. `get` never returns bytes that are not what the name says.
3. A blob is never changed. Putting it again is no work, except that a damaged one is replaced.
4. Nothing but a digest ever becomes a file's name.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import time
from pathlib import Path

from statemachine.words import DIGEST, Digest

BLOB_BYTES_MAX = 32 * 1024 * 1024

LEFT_OVER_AGE_S = 3600.0
"""A temporary file that is older belongs to no `put` that still runs."""

_TEMPORARY = ".new-"


class BlobError(Exception):
    """The store could not do what it was asked; the sentence says what to do about it."""


class NoSuchBlob(BlobError):
    """The store has no blob of this name."""


class BlobDamaged(BlobError):
    """What is on the disk is not what the name says; `path` is the file. It was left as it is."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


class WrongDigest(BlobError):
    """The bytes are not those that the name says, or the name is none. Nothing was stored."""


class StoreUnusable(BlobError):
    """The disk is full or failing, or the directory cannot be used. Nothing was stored or removed."""


class BlobStore:
    """A directory of blobs. Calls block on the disk; several processes may use one directory at once."""

    def __init__(self, directory: Path) -> None:
        """Make the directory if it is not there, and remove what a `put` of long ago left.

        Raises:
            StoreUnusable: It is not there and cannot be made, or cannot be read.
        """
        self._directory = directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in directory.iterdir():
                if path.name.startswith(_TEMPORARY) and time.time() - path.stat().st_mtime > LEFT_OVER_AGE_S:
                    # A read-only store still serves; what cannot be tidied does no harm.
                    with contextlib.suppress(OSError):
                        path.unlink()
        except OSError as error:
            raise _unusable(directory, "open the store", error) from error

    def put(self, digest: Digest, data: bytes) -> None:
        """Store `data`; afterwards it survives a power cut. A repeat changes nothing.

        Raises:
            WrongDigest, StoreUnusable.
        """
        path = self._path(digest)
        if digest_of(data) != digest:
            raise WrongDigest(f"the bytes are {digest_of(data)}, not {digest}; send them again")
        if len(data) > BLOB_BYTES_MAX:
            raise StoreUnusable(f"a blob may have {BLOB_BYTES_MAX} bytes; this one has {len(data)}")
        if self._holds(path, data):
            # Whoever wrote it may have been killed before its name was on the disk.
            self._sync(digest)
            return
        temporary = self._directory / f"{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            _write_synced(temporary, data)
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise _unusable(path, f"store {digest}", error) from error
        self._sync(digest)

    def get(self, digest: Digest) -> bytes:
        """Return the bytes of a blob, checked.

        Raises:
            NoSuchBlob, BlobDamaged, WrongDigest (no digest at all), StoreUnusable.
        """
        path = self._path(digest)
        try:
            with path.open("rb") as file:
                data = file.read(BLOB_BYTES_MAX + 1)
        except FileNotFoundError as error:
            raise NoSuchBlob(f"{digest} is not in {self._directory}") from error
        except OSError as error:
            raise _unusable(path, f"read {digest}", error) from error
        if digest_of(data) != digest:
            hint = "delete it and fetch it again from another replica"
            raise BlobDamaged(path, f"the content is not what the name says; the disk has changed it: {hint}")
        return data

    def has(self, digest: Digest) -> bool:
        """Say whether there is a blob of this name; only `get` says whether it is sound."""
        return self._path(digest).is_file()

    def list(self) -> tuple[Digest, ...]:
        """Return the names of all blobs, sorted; files with other names are not ours and left out.

        Raises:
            StoreUnusable.
        """
        try:
            names = [f"sha256:{path.name}" for path in self._directory.iterdir()]
        except OSError as error:
            raise _unusable(self._directory, "list the store", error) from error
        return tuple(Digest(name) for name in sorted(names) if DIGEST.match(name))

    def remove(self, digest: Digest) -> bool:
        """Remove a blob for good; answers whether it was there.

        Raises:
            WrongDigest (no digest at all), StoreUnusable.
        """
        path = self._path(digest)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unusable(path, f"remove {digest}", error) from error
        self._sync(digest)
        return True

    def _path(self, digest: Digest) -> Path:
        if not DIGEST.match(digest):
            raise WrongDigest(f"{digest[:80]!r} is not the name of a blob")
        return self._directory / digest.removeprefix("sha256:")

    def _holds(self, path: Path, data: bytes) -> bool:
        try:
            with path.open("rb") as file:
                return file.read(len(data) + 1) == data
        except OSError:
            return False

    def _sync(self, digest: Digest) -> None:
        try:
            descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _unusable(self._directory, f"make {digest} durable", error) from error


def digest_of(data: bytes) -> Digest:
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o400)


_ADVICE = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the quota is used up; make room",
    errno.EROFS: "the file system is read-only; look at the disk, then mount it for writing",
    errno.EACCES: "the directory's owner or mode does not let hamgr in",
    errno.EPERM: "the directory's owner or mode does not let hamgr in",
    errno.EIO: "the disk reports an error; replace it",
    errno.ENOTDIR: "something that is not a directory is in the way",
    errno.EEXIST: "something that is not a directory is in the way",
}


def _unusable(path: Path, what: str, error: OSError) -> StoreUnusable:
    advice = _ADVICE.get(error.errno or 0, error.strerror or str(error))
    return StoreUnusable(f"{path}: cannot {what}: {advice}")
