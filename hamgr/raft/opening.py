"""Brings up what a replica's consensus stands on: its links, its journal and its core."""

import random
import secrets
import time
from collections.abc import Callable

from hamgr.raft.core.collaborators import Machine, Network
from hamgr.raft.core.core import Core
from hamgr.raft.port import CannotStart
from hamgr.raft.settings import RaftSettings
from hamgr.raft.store.folder import Folder
from hamgr.raft.store.identity import Identity
from hamgr.raft.store.journal import LogBroken
from hamgr.raft.store.snapshot import SnapshotDamaged
from hamgr.raft.store.storage import DiskFailed
from hamgr.raft.wire.hello import NONCE_BYTES, Hello
from statemachine import codec

FATAL = (DiskFailed, LogBroken, SnapshotDamaged)
"""What a replica must stop for: what its disk holds is not what it believes."""


def hello_of(own: Identity, version: str) -> Hello:
    """Return what this process tells its peers first."""
    return Hello(
        cluster=own.cluster,
        replica=own.replica,
        folder=own.folder,
        starts=own.starts,
        nonce=secrets.token_bytes(NONCE_BYTES),
        version=version,
        commands=codec.COMMAND_NAMES,
    )


def core_of(
    settings: RaftSettings,
    folder: Folder,
    own: Identity,
    *,
    network: Network,
    machine: Machine,
    observe_sync: Callable[[float], None],
) -> Core:
    """Return a core that stands on what is stored in the folder.

    Raises:
        CannotStart: It cannot be trusted, or not by this version; nothing was changed.
    """
    journal = folder.settle(own.folder)
    journal.observe_sync = observe_sync
    try:
        return Core(
            me=settings.me,
            timers=settings.timers,
            quorum_lost_s=settings.timers.quorum_lost_s,
            journal=journal,
            folder=folder,
            initial=settings.initial,
            network=network,
            machine=machine,
            clock=time.monotonic,
            randomness=random.SystemRandom(),
            trailing_entries=settings.snapshot_entries // 4,
        )
    except (*FATAL, ValueError) as error:
        journal.close()
        raise CannotStart(f"replica {settings.name} cannot take part: {error}") from error
