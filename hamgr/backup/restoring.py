"""A new cluster of one replica on an empty machine, from a backup.

1. The whole backup is read and verified before anything is written.
2. The cluster is another one: id, authority and keys are new, and its state is of the next generation
   (`statemachine.cluster.generations`). The nodes are reached with the same key as before.
3. Nothing is in force before the configuration has its name. What an attempt that was killed has left is
   swept by the next one, which may be of another backup.
"""

import contextlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from backends.blobs import BlobError, BlobStore
from hamgr.backup import content
from hamgr.backup.sealed import BadBackup, Header
from hamgr.bootstrap.founding import describe, put_in_force
from hamgr.bootstrap.places import FILES, CannotBegin, Places, check_free, make_folder, one_sentence, write
from hamgr.raft.port import CannotStart
from hamgr.rebirth.anew import found_anew
from hamgr.security.backup_key import FILE as BACKUP_KEY
from hamgr.security.backup_key import read_backup_key
from statemachine.words import Digest

MARK = "restored_from"
"""In the draft of a configuration: all else in its folders is of a restore that did not come to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What `restore` has made.

    Attributes:
        cluster: The new cluster's id.
        header: Of the backup.
        jobs: Those that had not ended when the backup was made; they are held.
    """

    cluster: str
    generation: int
    header: Header
    nodes: int
    jobs: tuple[str, ...]


def restore(path: Path, key_file: Path, places: Places, *, name: str, raft: str, api: str) -> Restored:
    """Make a cluster of one replica from a backup; it is not started.

    Raises:
        BadBackup: The file cannot be used.
        BadBackupKey: The key file cannot.
        CannotBegin: This machine has a replica, the addresses cannot be used, or the disk failed.
    """
    key = read_backup_key(key_file)
    places.check_unused()
    check_free(raft, api)
    with one_sentence(f"{path} cannot be read"):
        found = content.read(path, key)
    missing = sorted(found.state.bundles.keys() - set(found.blobs))
    if missing:
        raise BadBackup(f"{path}: it lacks the bundle {missing[0]} that its state names; use another backup")
    with one_sentence("nothing was restored"):
        sweep(places)
        for folder in (places.etc, places.data):
            make_folder(folder, 0o700)
        write(places.draft, json.dumps({MARK: str(path), "cluster": "", "replica": ""}))
        try:
            reborn = found_anew(
                found.state,
                source=f"the backup {path.name}",
                raft_dir=places.raft,
                keys_dir=places.etc,
                name=name,
                raft=raft,
                api=api,
            )
            for file, data in found.files.items():
                if file in content.FILES:
                    write(places.etc / file, data)
            write(places.etc / BACKUP_KEY, key_file.read_bytes())
            _put_blobs(path, key, places)
            settings = describe(places, name=name, raft=raft, api=api)
            put_in_force(places, settings, cluster=reborn.cluster, replica=reborn.replica)
        except BaseException as error:
            sweep(places)
            if isinstance(error, (CannotStart, BlobError)):
                raise CannotBegin(f"nothing was restored: {error}") from error
            raise
    return Restored(
        cluster=reborn.cluster,
        generation=reborn.generation,
        header=found.header,
        nodes=len(found.state.nodes),
        jobs=tuple(found.state.running),
    )


def sweep(places: Places) -> None:
    """Remove what a restore that never came into force has made; anything else stays."""
    if places.config.exists() or not places.draft.exists():
        return
    try:
        ours = MARK in json.loads(places.draft.read_text())
    except ValueError:
        ours = False
    if not ours:
        return
    for folder in (places.raft, places.data / "blobs"):
        shutil.rmtree(folder, ignore_errors=True)
    for left in (*FILES, "hamgrd.yaml"):
        for leaf in (left, f".{left}", f".{left}.new", f"..{left}.new"):
            (places.etc / leaf).unlink(missing_ok=True)
    places.draft.unlink(missing_ok=True)
    for folder in (places.data, places.etc):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _put_blobs(path: Path, key: bytes, places: Places) -> None:
    """Read the backup once more, for the bundles: together they may be more than memory should hold."""
    store = BlobStore(places.data / "blobs")

    def put(digest: Digest, data: bytes) -> None:
        store.put(digest, data)

    content.read(path, key, take_blob=put)
