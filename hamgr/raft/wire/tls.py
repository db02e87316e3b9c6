"""TLS between replicas: version 1.3 only, both sides prove who they are, only our authority's word counts.

1. What a replica runs with is checked before it starts: its certificate is in force, a replica's, and signed
   by the cluster's authority, which is in force too; the key belongs to it, and nobody else may read it.
2. Names of hosts play no part, since replicas move. Sessions are not resumed: every connection proves anew.
"""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from hamgr.raft.port import CannotStart
from hamgr.security.authority import REPLICA, BadCertificate, PeerIdentity, identity_of

RENEW = "have a new one made and send hamgrd SIGHUP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Three PEM files: the authority's certificate, ours, and our private key."""

    ca: Path
    certificate: Path
    key: Path

    def identity(self) -> PeerIdentity:
        """Return whom our certificate is for.

        Raises:
            CannotStart: It cannot be used; the message names the file.
        """
        own, authority = _read(self.certificate), _read(self.ca)
        try:
            found = identity_of(own.public_bytes(Encoding.DER))
        except BadCertificate as error:
            raise CannotStart(f"{self.certificate} cannot be a replica's: {error}; {RENEW}") from error
        if found.kind != REPLICA:
            raise CannotStart(f"{self.certificate} is a {found.kind}'s, not a replica's; {RENEW}")
        try:
            own.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise CannotStart(f"{self.certificate} was not signed by {self.ca}; {RENEW}") from error
        now = datetime.now(UTC)
        for path, certificate in ((self.ca, authority), (self.certificate, own)):
            if now > certificate.not_valid_after_utc:
                raise CannotStart(f"{path} ran out on {certificate.not_valid_after_utc:%Y-%m-%d}; {RENEW}")
            if now < certificate.not_valid_before_utc:
                since = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
                raise CannotStart(f"{path} is not in force before {since}; check this machine's clock")
        return found

    def server_context(self) -> ssl.SSLContext:
        """Return a context for accepting; raises `CannotStart`."""
        return self._context(ssl.PROTOCOL_TLS_SERVER)

    def client_context(self) -> ssl.SSLContext:
        """Return a context for dialling; raises `CannotStart`."""
        return self._context(ssl.PROTOCOL_TLS_CLIENT)

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        if protocol == ssl.PROTOCOL_TLS_SERVER:
            context.num_tickets = 0  # every connection proves who it is anew
        _check_private(self.key)
        try:
            context.load_verify_locations(self.ca)
            # Without a password OpenSSL would ask on the terminal for that of an encrypted key.
            context.load_cert_chain(self.certificate, self.key, password="")
        except ssl.SSLError as error:
            raise CannotStart(
                f"{self.key} is not the private key of {self.certificate}, or not one in PEM form without a "
                f"password ({error.reason}); {RENEW}"
            ) from error
        except OSError as error:
            raise CannotStart(f"{error.filename or self.key} cannot be read: {error.strerror}") from error
        return context


def _check_private(key: Path) -> None:
    try:
        mode = key.stat().st_mode
    except OSError as error:
        raise CannotStart(
            f"{key} cannot be read: {error.strerror}; name the replica's private key"
        ) from error
    if mode & 0o077:
        raise CannotStart(f"{key}: others may use this private key; run: chmod 600 {key}")


def _read(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise CannotStart(f"{path} cannot be read: {error.strerror}; name the file that is meant") from error
    except ValueError as error:
        raise CannotStart(f"{path} is not a certificate in PEM form; name the file that is meant") from error
