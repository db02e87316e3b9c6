"""What is in a backup: a tar archive in a sealed file, so that with the key any tool can look into it.

`state` as `statemachine.codec` encodes it; `files/NAME`: the API's tokens and the key by which nodes are
reached; `blobs/DIGEST`: the bundles that the state names. The authority is not in it: a restored cluster has
a new one, and no certificate of the old cluster is good there.
"""

import io
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from backends.blobs import BLOB_BYTES_MAX, digest_of
from hamgr.backup.sealed import BadBackup, Header, Opener, Sealer
from statemachine import codec
from statemachine.model import State
from statemachine.words import Digest

FILES = ("token", "id_ed25519", "id_ed25519.pub")
"""Of a replica's configuration folder. The first two it cannot do without."""
NEEDED = FILES[:2]
STATE = "state"
STATE_BYTES_MAX = 1 << 30
FILE_BYTES_MAX = 1 << 20
_BUFFER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a backup held.

    Attributes:
        encoded: The state's bytes; replicas compare the SHA-256 of them.
        blobs: The bundles that came with it.
    """

    header: Header
    state: State
    encoded: bytes
    files: Mapping[str, bytes]
    blobs: tuple[Digest, ...]


def write(
    sealer: Sealer, state: State, *, files: Mapping[str, bytes], blobs: Iterable[tuple[Digest, bytes]]
) -> bytes:
    """Write and finish a backup; return the encoded state. Raises `OSError`."""
    encoded = codec.encode_state(state)
    with tarfile.open(fileobj=sealer, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, STATE, encoded)
        for name, data in files.items():
            _add(archive, f"files/{name}", data)
        for digest, data in blobs:
            _add(archive, f"blobs/{digest}", data)
    sealer.finish()
    return encoded


def read(path: Path, key: bytes, *, take_blob: Callable[[Digest, bytes], None] | None = None) -> Content:
    """Read a backup to its end, and return what it holds; `take_blob` gets each bundle on the way.

    What `take_blob` got is to be believed only when this returns.

    Raises:
        BadBackup: Any of it is not as it was written, or was written by a later version.
        OSError: It cannot be read.
    """
    encoded, files, blobs = b"", dict[str, bytes](), list[Digest]()
    with path.open("rb") as file:
        opener = Opener(path, file, key)
        whole = io.BufferedReader(opener, _BUFFER_BYTES)
        try:
            with tarfile.open(fileobj=whole, mode="r|") as archive:
                for member in archive:
                    kind, _, name = member.name.partition("/")
                    data = _data(path, archive, member)
                    if member.name == STATE:
                        encoded = data
                    elif kind == "files":
                        files[name] = data
                    elif kind == "blobs":
                        blobs.append(_checked(path, Digest(name), data))
                        if take_blob is not None:
                            take_blob(blobs[-1], data)
            while whole.read(_BUFFER_BYTES):  # the last chunk is what shows that nothing was cut off
                pass
        except tarfile.TarError as error:
            raise BadBackup(f"{path}: its content is no archive ({error}); use another backup") from error
    missing = [name for name in NEEDED if name not in files] + ([] if encoded else [STATE])
    if missing:
        raise BadBackup(f"{path}: it lacks {', '.join(missing)}; use another backup")
    state = _state(path, opener.header, encoded)
    return Content(header=opener.header, state=state, encoded=encoded, files=files, blobs=tuple(blobs))


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    archive.addfile(member, io.BytesIO(data))


def _data(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    bytes_max = STATE_BYTES_MAX if member.name == STATE else max(FILE_BYTES_MAX, BLOB_BYTES_MAX)
    file = archive.extractfile(member)
    if file is None or member.size > bytes_max:
        raise BadBackup(f"{path}: {member.name!r} is nothing that a backup holds; use another backup")
    return file.read()


def _checked(path: Path, digest: Digest, data: bytes) -> Digest:
    if digest_of(data) != digest:
        raise BadBackup(f"{path}: the bundle {digest} in it is not what its name says; use another backup")
    return digest


def _state(path: Path, header: Header, encoded: bytes) -> State:
    try:
        state = codec.decode_state(encoded)
    except ValueError as error:
        raise BadBackup(
            f"{path}: its state cannot be read ({error}); restore it with the version of hamgr that made it, "
            f"{header.version}, or a later one"
        ) from error
    if state.index != header.index:
        raise BadBackup(f"{path}: its state is at {state.index}, and its header says {header.index}")
    return state
