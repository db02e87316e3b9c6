"""Who a data folder belongs to, so that one that was emptied, swapped or copied is noticed before it votes.

A replica that forgot its log or its vote, or lives twice, breaks what a majority promises; so:

1. A folder is made once, by `create`, with its journal; `load` takes nothing for a new one. The two carry
   the same random folder id, which the peers remember.
2. `identity` is never rewritten. It knows its own inode and a hash of the machine's id, and a copy differs in
   one of them. (A clone of the whole machine does not; the peers notice it by the starts.)
3. `starts` is raised durably at each start, by a new file that takes the place of the old one. Peers refuse
   a start that is older than one that they have seen.
4. There is no way to bless a folder again: a replica that lost its folder, or came back from a copy, is
   removed from the cluster and added as a new one.
"""

import contextlib
import hmac
import os
import re
import struct
from dataclasses import dataclass, replace
from pathlib import Path

import msgpack
from crc32c import crc32c

from hamgr.raft.port import CannotStart
from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.store.folder import ANEW, Folder
from hamgr.raft.store.journal import Journal
from hamgr.raft.store.records import IDENTITY_BYTES
from hamgr.raft.store.storage import DiskFailed, Storage

IDENTITY_MAGIC = b"HAMGRIDN"
STARTS_MAGIC = b"HAMGRSTA"
FORMAT = 1
MACHINE_ID = Path("/etc/machine-id")
_MACHINE_ID = re.compile(r"[0-9a-f]{32}\n?")
_HEAD = struct.Struct("<8sII")
_CRC = struct.Struct("<I")
_INODE_BITS = 64
_MADE = ("identity", "starts", "journal")


class IdentityDamaged(ValueError):
    """The bytes are not what this version writes; the message is half a sentence.

    Attributes:
        name, offset, what: Which file it is, where the bytes begin that are wrong, and why.
    """

    def __init__(self, name: str, offset: int, what: str) -> None:
        super().__init__(f"the file `{name}` is damaged at byte {offset}: {what}")
        self.name = name
        self.offset = offset
        self.what = what


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose folder it is.

    Attributes:
        folder: Random, made with the folder; the identity of its journal too.
        starts: How often a replica was started with it, this time included once `begin` has returned.
    """

    cluster: str
    replica: ReplicaId
    folder: bytes
    starts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the file `identity` says.

    Attributes:
        machine: Keyed hash of the machine's id; empty when the machine had none.
        inode: Of the file itself.
    """

    cluster: str
    replica: ReplicaId
    folder: bytes
    machine: bytes
    inode: int

    def encode(self) -> bytes:
        fields = [self.cluster, self.replica, self.folder, self.machine, self.inode]
        return _framed(IDENTITY_MAGIC, bytes(msgpack.packb(fields)))


def create(
    path: Path,
    *,
    cluster: str,
    replica: ReplicaId,
    storage: Storage | None = None,
    machine_id: Path = MACHINE_ID,
) -> Identity:
    """Make the data folder of a new replica, with an empty journal; all of it is durable afterwards.

    Raises:
        CannotStart: There is something in the folder, or it cannot be written. What was there is unchanged.
    """
    storage = storage or Storage()
    _check_empty(path)
    folder = Folder(path, storage)
    try:
        _check_empty(path)
        identity = Identity(cluster=cluster, replica=replica, folder=os.urandom(IDENTITY_BYTES))
        Journal(storage, folder.journal_path, None, identity=identity.folder).close()
        _write_starts(storage, path, identity)
        file = storage.create(path / "identity.new")
        try:
            stored = Stored(
                cluster=cluster,
                replica=replica,
                folder=identity.folder,
                machine=_hash_of_machine(machine_id, cluster),
                inode=os.fstat(file).st_ino,
            )
            storage.append(file, stored.encode())
            storage.sync(file)
        finally:
            storage.close(file)
        storage.replace(path / "identity.new", path / "identity")
        storage.sync_folder(path)
    except (OSError, DiskFailed) as error:
        _clear(storage, path)
        raise CannotStart(f"the data folder {path} cannot be made: {error}") from error
    finally:
        folder.close()
    return identity


def load(
    path: Path,
    *,
    cluster: str,
    replica: ReplicaId,
    storage: Storage | None = None,
    machine_id: Path = MACHINE_ID,
) -> Identity:
    """Return whose folder it is, if it is this replica's and nobody tampered with it; changes nothing.

    Args:
        cluster, replica: What the replica's certificate says.

    Raises:
        CannotStart: It was never made, or was emptied, belongs to another, is a copy, or is damaged.
    """
    storage = storage or Storage()
    file = path / "identity"
    try:
        stored = decode_identity(storage.read(file))
        inode = file.stat().st_ino
        starts = decode_starts(storage.read(path / "starts"), stored.folder)
    except FileNotFoundError as error:
        raise _missing(path, error) from error
    except OSError as error:
        raise CannotStart(f"the data folder {path} cannot be read: {error}") from error
    except IdentityDamaged as error:
        raise CannotStart(f"the data folder {path} cannot be trusted: {error}; {ANEW}") from error
    if (stored.cluster, stored.replica) != (cluster, replica):
        raise CannotStart(
            f"the data folder {path} belongs to replica {stored.replica} of cluster {stored.cluster}, but "
            f"the certificate is for replica {replica} of cluster {cluster}; give each replica its own folder"
        )
    why = difference(stored, inode, machine_id)
    if why:
        raise CannotStart(f"the data folder {path} is a copy: {why}; start the original, or {ANEW}")
    return Identity(cluster=cluster, replica=replica, folder=stored.folder, starts=starts)


def begin(path: Path, identity: Identity, storage: Storage | None = None) -> Identity:
    """Count a start, durably; the folder must be locked. Return `identity` with the new number.

    Raises:
        CannotStart: It could not be written; whether it counts is not known, and does not matter.
    """
    storage = storage or Storage()
    try:
        # Read again: before the folder was locked, another process may have counted a start of its own.
        starts = decode_starts(storage.read(path / "starts"), identity.folder)
        begun = replace(identity, starts=starts + 1)
        _write_starts(storage, path, begun)
    except (OSError, IdentityDamaged) as error:
        raise CannotStart(f"the data folder {path} cannot be written: {error}") from error
    return begun


def difference(stored: Stored, inode: int, machine_id: Path = MACHINE_ID) -> str:
    """Say why the folder cannot be where it was made, or return an empty string."""
    machine = _hash_of_machine(machine_id, stored.cluster)
    if stored.machine and machine and stored.machine != machine:
        return "it was made on another machine"
    if stored.inode != inode:
        return f"its file `identity` was made as inode {stored.inode}, and is inode {inode} now"
    return ""


def decode_identity(data: bytes) -> Stored:
    """Return what the file `identity` says, or raise `IdentityDamaged`."""
    match _unpacked("identity", _body(data, IDENTITY_MAGIC, "identity")):
        case [str(cluster), str(replica), bytes(folder), bytes(machine), int(inode)]:
            if len(folder) == IDENTITY_BYTES and inode.bit_length() <= _INODE_BITS:
                return Stored(
                    cluster=cluster,
                    replica=ReplicaId(replica),
                    folder=folder,
                    machine=machine,
                    inode=inode,
                )
    raise IdentityDamaged("identity", _HEAD.size, "it lacks a part")


def decode_starts(data: bytes, folder: bytes) -> int:
    """Return what the file `starts` says, or raise `IdentityDamaged`."""
    match _unpacked("starts", _body(data, STARTS_MAGIC, "starts")):
        case [bytes(of), int(starts)] if of == folder:
            return starts
    raise IdentityDamaged("starts", _HEAD.size, "it belongs to another folder")


def _write_starts(storage: Storage, path: Path, identity: Identity) -> None:
    content = _framed(STARTS_MAGIC, bytes(msgpack.packb([identity.folder, identity.starts])))
    file = storage.create(path / "starts.new")
    try:
        storage.append(file, content)
        storage.sync(file)
    finally:
        storage.close(file)
    storage.replace(path / "starts.new", path / "starts")
    storage.sync_folder(path)


def _framed(magic: bytes, body: bytes) -> bytes:
    content = _HEAD.pack(magic, FORMAT, len(body)) + body
    return content + _CRC.pack(crc32c(content))


def _body(data: bytes, magic: bytes, name: str) -> bytes:
    if not data.startswith(magic) or len(data) < _HEAD.size + _CRC.size:
        raise IdentityDamaged(name, 0, "it does not begin as it should")
    if crc32c(data[: -_CRC.size]) != _CRC.unpack_from(data, len(data) - _CRC.size)[0]:
        raise IdentityDamaged(name, 0, f"the checksum of its {len(data)} bytes does not match")
    _magic, version, size = _HEAD.unpack_from(data)
    if version != FORMAT:
        raise IdentityDamaged(
            name, len(magic), f"its format is {version}, and this version of hamgr reads {FORMAT} only"
        )
    if len(data) != _HEAD.size + size + _CRC.size:
        raise IdentityDamaged(name, _HEAD.size - _CRC.size, "it is longer or shorter than it says")
    return data[_HEAD.size : -_CRC.size]


def _unpacked(name: str, body: bytes) -> object:
    try:
        return msgpack.unpackb(body)
    except (ValueError, msgpack.UnpackException) as error:
        raise IdentityDamaged(name, _HEAD.size, f"it cannot be decoded: {error}") from error


def _hash_of_machine(machine_id: Path, cluster: str) -> bytes:
    """Return what may be stored of the machine's id (machine-id(5) wants a keyed hash); empty without one."""
    try:
        text = machine_id.read_text("ascii")
    except (OSError, ValueError):
        return b""
    if _MACHINE_ID.fullmatch(text) is None:
        return b""
    return hmac.digest(text.strip().encode(), f"hamgr {cluster}".encode(), "sha256")


def _clear(storage: Storage, path: Path) -> None:
    """Remove what a `create` that failed has made, as far as possible, so that it can be tried again."""
    for name in (*_MADE, *(f"{name}.new" for name in _MADE)):
        with contextlib.suppress(OSError):
            storage.remove(path / name)


def _check_empty(path: Path) -> None:
    try:
        found = sorted(entry.name for entry in path.iterdir()) if path.exists() else []
    except OSError as error:
        raise CannotStart(f"the data folder {path} cannot be used: {error.strerror}") from error
    if found not in ([], ["lock"]):
        raise CannotStart(
            f"the data folder {path} is not empty ({', '.join(found[:3])}); "
            "a new replica begins with an empty one, so move away what is in it if it is not needed"
        )


def _missing(path: Path, error: FileNotFoundError) -> CannotStart:
    if (path / "identity").exists():
        return CannotStart(f"the data folder {path} cannot be trusted: {error.filename} is gone; {ANEW}")
    return CannotStart(
        f"the data folder {path} is not one of a replica: it was never made, or what was in it is gone; "
        f"make a new one with `hamgrd init`, but if this replica has taken part before, {ANEW}"
    )
