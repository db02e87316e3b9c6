"""`hamgrd check`: what is stored in the data folder of a stopped replica, and whether it can be trusted.

1. Not a byte is changed: files are opened to be read, and nothing is repaired.
2. The folder is locked, shared, while it is looked at. One that a running replica holds is not looked at: its
   files change under the reader's eyes.
3. Every file is judged by itself first, so that one that is damaged does not hide another.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hamgr.raft.protocol.membership import BadConfiguration
from hamgr.raft.protocol.membership import decode as decode_configuration
from hamgr.raft.store.fit import misfit
from hamgr.raft.store.folder import FOREIGN_MAGIC, LEFT_OVERS
from hamgr.raft.store.identity import (
    MACHINE_ID,
    IdentityDamaged,
    Stored,
    decode_identity,
    decode_starts,
    difference,
)
from hamgr.raft.store.recovery import JournalDamaged, Recovered, recover
from hamgr.raft.store.snapshot import (
    FORMAT,
    FORMAT_1_MAGIC,
    Snapshot,
    SnapshotDamaged,
    checked_parts,
    decode_snapshot,
)

KNOWN = ("identity", "starts", "journal", "snapshot", "lock")


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong; `offset` is None where no byte can be named."""

    file: Path
    offset: int | None
    what: str

    def __str__(self) -> str:
        where = "" if self.offset is None else f" at byte {self.offset}"
        return f"{self.file}{where}: {self.what}"


@dataclass(slots=True)
class Report:
    """What was found.

    Attributes:
        running: A replica holds the folder, so nothing was looked at.
        identity, journal, snapshot: Figures by name; None where there is nothing or it cannot be read.
        damages: Reasons why the replica will not start.
        notes: What is worth knowing and no damage.
    """

    path: Path
    running: bool = False
    identity: dict[str, Any] | None = None
    journal: dict[str, Any] | None = None
    snapshot: dict[str, Any] | None = None
    damages: list[Damage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """The replica can start with this folder."""
        return not self.running and not self.damages

    @property
    def verdict(self) -> str:
        if self.running:
            return "not checked: the replica is running; stop it first"
        return "sound" if self.sound else "damaged"

    def lines(self) -> list[str]:
        """Return the report for people."""
        found = [f"{'folder':10}{self.path}"]
        for name in ("identity", "journal", "snapshot"):
            figures = getattr(self, name)
            if figures is not None:
                words = ", ".join(f"{key.replace('_', ' ')} {_text(value)}" for key, value in figures.items())
                found.append(f"{name:10}{words}")
        found += [f"{'note':10}{note}" for note in self.notes]
        found += [f"{'DAMAGE':10}{damage}" for damage in self.damages]
        return [*found, f"{'verdict':10}{self.verdict}"]

    def to_dict(self) -> dict[str, Any]:
        """Return the report for programs; plain values only."""
        return {
            "folder": str(self.path),
            "verdict": self.verdict.partition(":")[0],
            "identity": self.identity,
            "journal": self.journal,
            "snapshot": self.snapshot,
            "damages": [
                {"file": str(damage.file), "offset": damage.offset, "what": damage.what}
                for damage in self.damages
            ],
            "notes": list(self.notes),
        }


def examine(path: Path, *, machine_id: Path = MACHINE_ID) -> Report:
    """Return what is stored at `path`, the data folder or the one above it; changes nothing, never raises."""
    if not (path / "journal").exists() and (path / "raft").is_dir():
        path = path / "raft"
    report = Report(path)
    try:
        with shared(path / "lock") as ours:
            if not ours:
                report.running = True
                return report
            _examine_files(report, machine_id)
    except OSError as error:
        report.damages.append(Damage(path, None, f"it cannot be read: {error.strerror}"))
    return report


def _examine_files(report: Report, machine_id: Path) -> None:
    names = sorted(entry.name for entry in report.path.iterdir())
    stored = _identity(report, machine_id)
    recovered = _journal(report)
    snapshot = _snapshot(report)
    readable = {damage.file.name for damage in report.damages}.isdisjoint({"journal", "snapshot"})
    if readable:
        why = misfit(recovered, snapshot, stored.folder if stored is not None else None)
        if why:
            report.damages.append(Damage(report.path, None, why))
    for name in names:
        if name in LEFT_OVERS:
            report.notes.append(f"{name} was left over by a crash; the next start removes it")
        elif name.startswith("diverged-"):
            report.notes.append(f"{name} holds the files of a state that was not the majority's: report them")
        elif name == "journal.meta":
            report.damages.append(Damage(report.path / name, None, "an earlier version of hamgr wrote it"))
        elif name not in KNOWN:
            report.notes.append(f"{name} is not one of hamgr's files")


def _identity(report: Report, machine_id: Path) -> Stored | None:
    file = report.path / "identity"
    data = _content(report, file)
    if data is None:
        return None
    try:
        stored = decode_identity(data)
        report.identity = {
            "cluster": stored.cluster,
            "replica": stored.replica,
            "folder": stored.folder.hex(),
        }
        why = difference(stored, file.stat().st_ino, machine_id)
        if why:
            report.damages.append(Damage(file, None, f"the folder is a copy: {why}"))
        starts = _content(report, report.path / "starts")
        if starts is not None:
            report.identity["starts"] = decode_starts(starts, stored.folder)
    except IdentityDamaged as error:
        report.damages.append(Damage(report.path / error.name, error.offset, error.what))
        return None if error.name == "identity" else stored
    return stored


def _journal(report: Report) -> Recovered | None:
    file = report.path / "journal"
    data = _content(report, file)
    if data is None:
        return None
    if data.startswith(FOREIGN_MAGIC):
        report.damages.append(Damage(file, 0, "an earlier version of hamgr wrote it"))
        return None
    try:
        recovered = recover(file, data)
    except JournalDamaged as error:
        report.damages.append(Damage(file, error.offset, error.what))
        return None
    entries, barrier = recovered.entries, recovered.barrier
    report.journal = {
        "entries": len(entries),
        "first": entries[0][1] if entries else 0,
        "last": entries[-1][1] if entries else 0,
        "term": barrier.term,
        "vote": barrier.vote,
        "commit": barrier.commit,
        "batches": barrier.sequence,
        "generation": recovered.header.generation,
        "bytes": len(data),
        "dropped_bytes": recovered.dropped_bytes,
    }
    if recovered.dropped_bytes:
        report.notes.append(
            f"the last {recovered.dropped_bytes} bytes of the journal are of a batch that a crash left "
            "incomplete and nobody was told of; the next start drops them"
        )
    return recovered


def _snapshot(report: Report) -> Snapshot | None:
    file = report.path / "snapshot"
    if not file.exists():
        return None
    data = _content(report, file)
    if data is None:
        return None
    try:
        _place, state = checked_parts(data)
        snapshot = decode_snapshot(data)
    except SnapshotDamaged as error:
        report.damages.append(Damage(file, error.offset, str(error)))
        return None
    report.snapshot = {
        "index": snapshot.last[1],
        "term": snapshot.last[2],
        "bytes": len(data),
        "format": 1 if data.startswith(FORMAT_1_MAGIC) else FORMAT,
        "state_sha256": hashlib.sha256(state).hexdigest(),
        "nodes": len(snapshot.state.nodes),
        "voters": None,
        "learners": None,
    }
    if snapshot.configuration:
        try:
            configuration = decode_configuration(snapshot.configuration)
        except BadConfiguration as error:
            report.damages.append(Damage(file, None, f"its configuration: {error}"))
            return snapshot
        report.snapshot["voters"] = [member.name for member in configuration.voters]
        report.snapshot["learners"] = [member.name for member in configuration.learners]
    return snapshot


def _content(report: Report, file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        report.damages.append(Damage(file, None, "it is not there"))
    except OSError as error:
        report.damages.append(Damage(file, None, f"it cannot be read: {error.strerror}"))
    return None


@contextlib.contextmanager
def shared(lock: Path) -> Iterator[bool]:
    """Hold a folder's lock with others who only look; False: a replica holds it, and we do not."""
    try:
        file = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        yield _locked(file)
    finally:
        os.close(file)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _text(value: object) -> str:
    if isinstance(value, list):
        return "+".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
