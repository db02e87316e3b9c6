"""What this replica can give to a machine that joins: a certificate, and what all replicas have alike.

The files are read anew for each one that joins, so that none is given what was replaced meanwhile.
"""

from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from hamgr.config import Config, ConfigError
from hamgr.security.authority import Authority, BadCertificate
from hamgr.security.backup_key import FILE as BACKUP_KEY

OWN = frozenset({"name", "data_dir", "raft", "api", "tls", "token_file", "peers", "join", "ssh"})
"""What is each replica's own, or travels as a file."""


class FileAdmission:
    """Signs with the authority's key that is in this replica's files."""

    def __init__(self, settings: Config, authority: Authority) -> None:
        self._settings = settings
        self._authority = authority

    @classmethod
    def of(cls, settings: Config) -> "FileAdmission | None":
        """Return None when the configuration names no key of the authority.

        Raises:
            ConfigError: It names one that cannot be used.
        """
        path = settings.tls.authority_key
        if path is None:
            return None
        try:
            if path.stat().st_mode & 0o077:
                raise ConfigError(f"{path}: others may read the authority's key; run: chmod 600 {path}")
            return cls(settings, Authority.read(settings.tls.ca, path))
        except OSError as error:
            raise ConfigError(f"tls.authority_key: {path} cannot be read: {error.strerror}") from error
        except BadCertificate as error:
            raise ConfigError(f"tls.authority_key: {error}") from error

    @property
    def certificate_pem(self) -> bytes:
        return self._authority.certificate_pem

    @property
    def fingerprint(self) -> str:
        return self._authority.fingerprint

    def sign(self, key: ec.EllipticCurvePublicKey, name: str, replica: str) -> bytes:
        """Return a replica's certificate in PEM form; raises `ValueError` when `replica` is no UUID."""
        return self._authority.sign_replica(key, name, replica)

    def dowry(self) -> dict[str, Any]:
        """Return the secrets and settings that all replicas have alike; raises `OSError`."""
        ours = self._settings
        backup_key = (ours.tls.authority_key or ours.tls.ca).with_name(BACKUP_KEY)
        return {
            "cluster": self._authority.cluster,
            "authority": self.certificate_pem.decode("ascii"),
            "authority_key": self._authority.key_pem.decode("ascii"),
            "tokens": ours.token_file.read_text(),
            "ssh_keys": [path.read_text() for path in ours.ssh.keys],
            "backup_key": backup_key.read_text() if backup_key.exists() else "",
            "settings": ours.model_dump(mode="json", exclude_unset=True, exclude=set(OWN)),
        }
