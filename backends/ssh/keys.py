"""hamgr's own keys, and the keys of nodes."""

import stat
from collections.abc import Sequence
from pathlib import Path

import asyncssh

HOST_KEY_ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
"""What may sign for a node; no SHA-1, no certificates (a certificate is not the key that is pinned)."""


def client_keys(paths: Sequence[Path]) -> tuple[asyncssh.SSHKey, ...]:
    """Load hamgr's private keys.

    Raises:
        ValueError: There is none, or one is missing, readable by others, encrypted or damaged.
    """
    if not paths:
        raise ValueError("no SSH client key is configured; create one with ssh-keygen -t ed25519")
    return tuple(_client_key(path) for path in paths)


def _client_key(path: Path) -> asyncssh.SSHKey:
    try:
        mode = path.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise ValueError(f"{path} can be read by others; run chmod 600 on it")
        return asyncssh.read_private_key(path)
    except OSError as failure:
        raise ValueError(f"{path} cannot be read: {failure.strerror}") from failure
    except asyncssh.KeyImportError as failure:
        raise ValueError(f"{path} is not a private key that hamgr can use: {failure}") from failure


def pinned_key(text: str) -> asyncssh.SSHKey:
    """Read a node's key in OpenSSH form.

    Raises:
        ValueError: It is none.
    """
    try:
        return asyncssh.import_public_key(text)
    except asyncssh.KeyImportError as failure:
        raise ValueError(str(failure)) from failure


def openssh_form(key: asyncssh.SSHKey) -> str:
    """Return a public key as `Host.host_key` has it: algorithm and data, no comment."""
    algorithm, data = key.export_public_key("openssh").decode("ascii").split()[:2]
    return f"{algorithm} {data}"


def signature_algorithms(key: asyncssh.SSHKey | None) -> list[str]:
    """Return what the node may prove itself with: with the pinned key, or with any modern one."""
    if key is None:
        return list(HOST_KEY_ALGORITHMS)
    algorithm = key.get_algorithm()
    return ["rsa-sha2-512", "rsa-sha2-256"] if algorithm == "ssh-rsa" else [algorithm]
