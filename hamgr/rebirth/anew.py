"""The files of a cluster of one that begins with a given state.

1. Cluster id, authority, keys, replica id and folder id are new: no replica of the old cluster is let in, and
   none lets this one in.
2. Everything is written into folders that are empty or not there, and is durable afterwards; whoever called
   puts them in their places. What a crash leaves behind was never in force.
"""

import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from hamgr.bootstrap.places import make_folder, write
from hamgr.config import api_url
from hamgr.raft.core.library import NO_OP
from hamgr.raft.port import CannotStart
from hamgr.raft.protocol import membership
from hamgr.raft.protocol.configurations import KIND
from hamgr.raft.protocol.membership import Configuration, Member, ReplicaId
from hamgr.raft.store import identity
from hamgr.raft.store.folder import Folder
from hamgr.raft.store.snapshot import Snapshot, encode_snapshot
from hamgr.raft.store.storage import DiskFailed, Storage
from hamgr.security.authority import Authority
from statemachine.cluster import generations
from statemachine.model import State

ACTOR = "operator"
KEYS = ("ca.crt", "ca.key", "replica.crt", "replica.key")
"""The files that `found_anew` writes into its folder for keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reborn:
    """What was made: a cluster and its one replica."""

    cluster: str
    replica: str
    generation: int


def found_anew(
    state: State,
    *,
    source: str,
    raft_dir: Path,
    keys_dir: Path,
    name: str,
    raft: str,
    api: str,
    storage: Storage | None = None,
) -> Reborn:
    """Make a data folder and keys for a cluster of one that begins with the next generation of `state`.

    Args:
        source: What the state is from, for people.
        raft_dir: The data folder of consensus; must be empty or not there.
        keys_dir: Gets the files `KEYS`.
        name, raft, api: Of the replica, as in its configuration.

    Raises:
        CannotStart: The disk refused, or something is in the way; nothing of it is in force.
        generations.TooManyGenerations: See there.
    """
    storage = storage or Storage()
    authority, replica = Authority.create(), ReplicaId(str(uuid.uuid4()))
    begun = generations.begin(state, cluster=authority.cluster, source=source, at=time.time(), actor=ACTOR)
    issued = authority.issue_replica(name, replica)
    only = Configuration((Member(id=replica, name=name, raft=raft, api=api_url(api)),))
    try:
        make_folder(keys_dir, 0o700)
        write(keys_dir / "ca.key", authority.key_pem)
        write(keys_dir / "replica.key", issued.key_pem)
        write(keys_dir / "replica.crt", issued.certificate_pem, mode=0o644)
        write(keys_dir / "ca.crt", authority.certificate_pem, mode=0o644)
        made = identity.create(raft_dir, cluster=authority.cluster, replica=replica, storage=storage)
        _fill(raft_dir, made, begun, only, storage)
    except (OSError, DiskFailed) as error:
        raise CannotStart(f"the new cluster's files cannot be written: {error}") from error
    return Reborn(cluster=authority.cluster, replica=replica, generation=begun.generation)


def _fill(
    raft_dir: Path, made: identity.Identity, state: State, only: Configuration, storage: Storage
) -> None:
    """Write a log of two entries, committed, the second of which makes the replica the only voter."""
    packed = membership.encode(only)
    snapshot = Snapshot(
        state=state, before_last=(NO_OP, 1, 0), last=(KIND + packed, 2, 0), configuration=packed
    )
    folder = Folder(raft_dir, storage)
    try:
        folder.put_in_force(folder.stage(encode_snapshot(snapshot), "new"))
        journal = folder.settle(made.folder)
        try:
            for command, index, term in (snapshot.before_last, snapshot.last):
                journal.add(command, index, term)
            journal.setRaftCommitIndex(snapshot.last[1])
            journal.sync()
        finally:
            journal.close()
    finally:
        folder.close()
