"""The chosen survivor becomes the first replica of a new cluster that begins with the end of its log.

1. Nothing of the old is touched before all of the new is durable beside it; see `switching`.
2. The old data folder is locked meanwhile, and was not written since it was compared.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import yaml

from backends.blobs import BlobError, BlobStore
from hamgr import config
from hamgr.bootstrap.founding import HEAD
from hamgr.bootstrap.places import write
from hamgr.config import ConfigError
from hamgr.raft.port import CannotStart
from hamgr.raft.store import recovery
from hamgr.raft.store.recovery import JournalDamaged
from hamgr.rebirth.anew import KEYS, Reborn, found_anew
from hamgr.recovery import reading, switching
from hamgr.recovery.case import Here
from hamgr.recovery.survivor import CannotRecover
from hamgr.recovery.switching import STAGED_KEYS, STAGED_RAFT, Plan
from statemachine.cluster.generations import TooManyGenerations
from statemachine.model import State


def succeed(here: Here) -> Plan:
    """Make the new cluster and put it in force; return what was done.

    Raises:
        CannotRecover: Nothing has changed; or, where the message says so, the same command goes on.
    """
    data, etc = here.settings.data_dir, here.path.absolute().parent
    staged_raft, staged_keys = data / STAGED_RAFT, etc / STAGED_KEYS
    with _locked(here):
        try:
            switching.sweep(staged_raft, staged_keys)
            state = reading.state_at_end(here.log)
            made = _stage(here, state, staged_raft, staged_keys)
            said = _said(here, made, state)
            moves = [(staged_keys / name, etc / name) for name in KEYS]
            moves += [(staged_raft, here.settings.raft_dir), (staged_keys / here.path.name, here.path)]
            old = here.survivor.cluster.partition("-")[0]
            plan = switching.begin(data, moves, old=old, said=said)
        except (OSError, BlobError, CannotStart, ConfigError, TooManyGenerations) as error:
            with contextlib.suppress(OSError):
                switching.sweep(staged_raft, staged_keys)
            raise CannotRecover(f"nothing was changed: {error}") from error
        switching.finish(data, plan)
    return plan


def _stage(here: Here, state: State, staged_raft: Path, staged_keys: Path) -> Reborn:
    settings, etc = here.settings, here.path.absolute().parent
    made = found_anew(
        state,
        source=f"recovered from entry {here.survivor.last} of {here.survivor.name}",
        raft_dir=staged_raft,
        keys_dir=staged_keys,
        name=settings.name,
        raft=settings.raft,
        api=settings.api,
    )
    described = yaml.safe_load(here.path.read_text())
    for gone in ("peers", "join"):
        described.pop(gone, None)
    described["tls"] = {
        "ca": str(etc / "ca.crt"),
        "certificate": str(etc / "replica.crt"),
        "key": str(etc / "replica.key"),
        "authority_key": str(etc / "ca.key"),
    }
    text = HEAD.format(path=here.path) + yaml.safe_dump(described, sort_keys=False)
    write(staged_keys / here.path.name, text, mode=0o644)
    config.load(staged_keys / here.path.name)
    return made


def _said(here: Here, made: Reborn, state: State) -> dict[str, str]:
    blobs = BlobStore(here.settings.data_dir / "blobs")
    missing = sorted(digest for digest in state.bundles if not blobs.has(digest))
    return {
        "cluster": made.cluster,
        "replica": made.replica,
        "generation": str(made.generation),
        "before": here.survivor.cluster,
        "entry": str(here.survivor.last),
        "missing_bundles": " ".join(missing),
    }


@contextlib.contextmanager
def _locked(here: Here) -> Iterator[None]:
    """Hold the data folder as a running replica does.

    Raises:
        CannotRecover: One runs, or has run since the folder was read.
    """
    folder = here.settings.raft_dir
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotRecover(f"nothing was changed: {folder} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        journal = folder / "journal"
        now = recovery.recover(journal, journal.read_bytes())
        if (now.header, now.barrier) != (here.log.recovered.header, here.log.recovered.barrier):
            raise CannotRecover(
                f"nothing was changed: replica {here.settings.name} ran meanwhile; compare again"
            )
        yield
    except BlockingIOError as error:
        raise CannotRecover(
            f"nothing was changed: replica {here.settings.name} was started; stop it first"
        ) from error
    except JournalDamaged as error:
        raise CannotRecover(f"nothing was changed: {error}") from error
    finally:
        os.close(lock)
