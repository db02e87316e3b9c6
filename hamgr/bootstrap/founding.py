"""The first replica: a cluster of one, with an authority, tokens and keys of its own, that works at once.

1. What a person has to keep safe (the admin's token, the backup key) is returned once, and printed once.
2. Nothing is in force before the configuration has its name; whatever fails before that is taken back.
"""

import hashlib
import json
import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hamgr import config
from hamgr.bootstrap.places import CannotBegin, Places, check_free, make_folder, one_sentence, rename, write
from hamgr.bootstrap.unit import guard_units, unit
from hamgr.config import ConfigError
from hamgr.raft.port import CannotStart
from hamgr.raft.protocol.membership import ReplicaId
from hamgr.raft.store import identity
from hamgr.security.authority import Authority
from hamgr.security.backup_key import FILE as BACKUP_KEY
from hamgr.security.backup_key import make_backup_key
from hamgr.tokens import HASHED

PEERS_ACTOR, ADMIN = "replica", "admin"
HEAD = "# One replica of hamgr; check it with: hamgrd check-config {path}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Founded:
    """What `found` has made.

    Attributes:
        token: The admin's; only its hash is kept.
        backup_key: Also in `backup.key`; whoever loses all replicas needs it from elsewhere.
        public_key: For `authorized_keys` of the nodes.
    """

    cluster: str
    token: str = field(repr=False)
    backup_key: str = field(repr=False)
    public_key: str


def found(places: Places, *, name: str, raft: str, api: str) -> Founded:
    """Make a cluster of one replica on this machine; it is not started.

    Raises:
        CannotBegin: This machine has a replica, the addresses cannot be used, or the disk failed; nothing was
            changed.
    """
    places.check_unused()
    check_free(raft, api)
    with one_sentence("nothing was made"):
        sweep_leftovers(places)
        for folder, mode in ((places.etc, 0o700), (places.data, 0o700)):
            make_folder(folder, mode)
        authority, replica = Authority.create(), str(uuid.uuid4())
        settings = describe(places, name=name, raft=raft, api=api)
        write(places.draft, json.dumps({"cluster": authority.cluster, "replica": replica}))
        try:
            made = _make(places, authority, replica, name)
            put_in_force(places, settings, cluster=authority.cluster, replica=replica)
        except BaseException:
            places.sweep(authority.cluster, replica)
            raise
    return made


def describe(places: Places, *, name: str, raft: str, api: str) -> dict[str, Any]:
    """Return the configuration of a replica whose files are at `places`."""
    return {
        "name": name,
        "data_dir": str(places.data),
        "raft": raft,
        "api": api,
        "tls": {
            "ca": str(places.etc / "ca.crt"),
            "certificate": str(places.etc / "replica.crt"),
            "key": str(places.etc / "replica.key"),
            "authority_key": str(places.etc / "ca.key"),
        },
        "token_file": str(places.etc / "token"),
        "ssh": {"keys": [str(places.etc / "id_ed25519")]},
    }


def put_in_force(places: Places, settings: dict[str, Any], *, cluster: str, replica: str) -> None:
    """Make the data folder, write the unit, and give the configuration its name, in this order.

    Raises:
        CannotBegin: The configuration is none, or the folder cannot be made.
        OSError: The disk failed.
    """
    try:
        config.Config.model_validate(settings)
        made = identity.load(places.raft, cluster=cluster, replica=ReplicaId(replica))
        if made.starts:
            raise CannotBegin(f"{places.raft} belongs to a replica that has run; name another --data-dir")
    except ValueError as error:
        raise CannotBegin(f"the configuration cannot be used: {error}") from error
    except CannotStart:  # it is not there, or not ours: `create` tells which, and touches nothing of others
        try:
            identity.create(places.raft, cluster=cluster, replica=ReplicaId(replica))
        except CannotStart as error:
            raise CannotBegin(str(error)) from error
    if places.unit is not None and places.unit.parent.is_dir():
        write(places.unit, unit(config=places.config, data=places.data), mode=0o644)
        for name, text in guard_units(data=places.data).items():
            write(places.unit.with_name(name), text, mode=0o644)
    text = HEAD.format(path=places.config) + yaml.safe_dump(settings, sort_keys=False)
    final = places.etc / ".hamgrd.yaml"
    write(final, text, mode=0o644)
    try:
        config.load(final)
    except ConfigError as error:
        final.unlink()
        raise CannotBegin(f"the configuration cannot be used: {error}") from error
    rename(final, places.config)
    places.draft.unlink(missing_ok=True)


def sweep_leftovers(places: Places) -> None:
    """Take back what an attempt that was killed has left."""
    if not places.draft.exists():
        return
    try:
        said = json.loads(places.draft.read_text())
        cluster, replica = str(said["cluster"]), str(said["replica"])
    except (ValueError, KeyError, TypeError):
        cluster = replica = ""
    places.sweep(cluster, replica)


def _make(places: Places, authority: Authority, replica: str, name: str) -> Founded:
    token, backup_key = f"hamgr_{secrets.token_urlsafe(32)}", make_backup_key()
    hashed = HASHED + hashlib.sha256(token.encode()).hexdigest()
    public = _ssh_key(places)
    issued = authority.issue_replica(name, replica)
    files: dict[str, str | bytes] = {
        "ca.key": authority.key_pem,
        "replica.key": issued.key_pem,
        "token": f"{PEERS_ACTOR} hamgr_{secrets.token_urlsafe(32)}\n{ADMIN} {hashed}\n",
        BACKUP_KEY: backup_key + "\n",
    }
    for file, content in files.items():
        write(places.etc / file, content)
    write(places.etc / "replica.crt", issued.certificate_pem, mode=0o644)
    write(places.etc / "ca.crt", authority.certificate_pem, mode=0o644)
    return Founded(cluster=authority.cluster, token=token, backup_key=backup_key, public_key=public)


def _ssh_key(places: Places) -> str:
    """Make the key by which nodes are reached; return its public half."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + " hamgr"
    write(places.etc / "id_ed25519", private)
    write(places.etc / "id_ed25519.pub", line + "\n", mode=0o644)
    return line
