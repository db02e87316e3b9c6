"""Backups in a directory: written durably, verified by restoring them, listed, thrown away in time.

1. A backup has its name when it is whole and on the disk, and not before.
2. A backup is verified by reading all of it and founding a cluster from it in a scratch folder, whose files
   are then examined as `hamgrd check` does.
3. `prune` never removes the newest backup, nor one of another cluster, nor what is no backup.
"""

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hamgr.backup import content
from hamgr.backup.content import Content
from hamgr.backup.sealed import BadBackup, Header, Sealer, read_header
from hamgr.bootstrap.places import rename
from hamgr.raft.port import CannotStart
from hamgr.raft.store import check
from hamgr.rebirth.anew import found_anew
from statemachine.model import State
from statemachine.words import Digest

SUFFIX = ".hamgr-backup"
DAY_S = 86_400.0
LEFT_OVER = ".new"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One backup in a directory; its header is not verified."""

    path: Path
    bytes: int
    header: Header


def name_of(header: Header) -> str:
    """Return the file name of a backup: the cluster, when, and of which index."""
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(header.at))
    return f"{header.cluster[:8]}-{at}-{header.index}{SUFFIX}"


def make(
    directory: Path,
    key: bytes,
    header: Header,
    state: State,
    *,
    files: Mapping[str, bytes],
    blobs: Iterable[tuple[Digest, bytes]],
) -> tuple[Path, str]:
    """Write a backup; return its path and the SHA-256 of the state in it.

    Raises:
        OSError: The directory cannot be written, or the disk is full; nothing is left behind.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / name_of(header)
    draft = path.with_name(f".{path.name}{LEFT_OVER}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            encoded = content.write(Sealer(file, key, header), state, files=files, blobs=blobs)
            file.flush()
            os.fsync(file.fileno())
        rename(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    return path, hashlib.sha256(encoded).hexdigest()


def verify(path: Path, key: bytes, *, scratch: Path | None = None) -> Content:
    """Restore a backup in a scratch folder, which is gone afterwards; return what it holds.

    Raises:
        BadBackup: It could not be restored.
        OSError: It cannot be read, or the scratch folder not written.
    """
    found = content.read(path, key)
    missing = sorted(found.state.bundles.keys() - set(found.blobs))
    if missing:
        raise BadBackup(f"{path}: it lacks the bundle {missing[0]} that its state names; make another one")
    with tempfile.TemporaryDirectory(prefix="hamgr-verify-", dir=scratch) as folder:
        raft = Path(folder) / "raft"
        try:
            found_anew(
                found.state,
                source=path.name,
                raft_dir=raft,
                keys_dir=Path(folder) / "etc",
                name="scratch",
                raft="127.0.0.1:1",
                api="127.0.0.1:2",
            )
        except CannotStart as error:
            raise BadBackup(f"{path}: it cannot be restored: {error}") from error
        report = check.examine(raft)
        if not report.sound:
            raise BadBackup(f"{path}: what is restored from it is not sound: {report.verdict}")
    return found


def listed(directory: Path) -> list[Kept]:
    """Return the backups in a directory, the newest first; what is none is passed over."""
    found = []
    for path in directory.glob(f"*{SUFFIX}") if directory.is_dir() else ():
        with contextlib.suppress(BadBackup, OSError):
            found.append(Kept(path=path, bytes=path.stat().st_size, header=read_header(path)))
    return sorted(found, key=lambda one: (one.header.at, one.header.index), reverse=True)


def prune(directory: Path, *, cluster: str, keep_last: int, keep_days: float, now: float) -> list[Path]:
    """Remove backups that are neither among the newest `keep_last` nor younger than `keep_days`.

    Returns:
        Those that were removed. Raises `OSError`.
    """
    own = [one for one in listed(directory) if one.header.cluster == cluster]
    old = [one.path for one in own[max(1, keep_last) :] if now - one.header.at > keep_days * DAY_S]
    for path in old:
        path.unlink()
    return old
