"""The key that backups are encrypted with: 32 random bytes, in base64, in a file for its owner only.

It is made with the cluster and printed once: without it no backup can be read, by us or by anybody else.
"""

import base64
import binascii
import secrets
from pathlib import Path

KEY_BYTES = 32
FILE = "backup.key"
_FILE_BYTES_MAX = 256


class BadBackupKey(ValueError):
    """The file cannot be used as a key; the message names it and the way out."""


def make_backup_key() -> str:
    """Return a new key as text."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii")


def read_backup_key(path: Path) -> bytes:
    """Return the key in a file.

    Raises:
        BadBackupKey: Missing, readable by others, or no key.
    """
    try:
        mode, text = path.stat().st_mode, path.read_bytes()[:_FILE_BYTES_MAX].strip()
        key = base64.b64decode(text, validate=True)
    except OSError as error:
        raise BadBackupKey(f"{path}: the backup key cannot be read: {error.strerror}") from error
    except (binascii.Error, ValueError) as error:
        raise BadBackupKey(f"{path}: this is not a backup key; put back the one that init printed") from error
    if mode & 0o077:
        raise BadBackupKey(f"{path}: others may read this key; run: chmod 600 {path}")
    if len(key) != KEY_BYTES:
        raise BadBackupKey(f"{path}: a backup key has {KEY_BYTES} bytes, and this one {len(key)}")
    return key
