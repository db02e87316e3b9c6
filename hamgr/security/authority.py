"""The cluster's own certificate authority, and what a certificate says about its holder.

1. A certificate names its holder in one URI (RFC 5280, 4.2.1.6): `hamgr://CLUSTER/replica/ID` or
   `hamgr://CLUSTER/client/NAME`. Its subject is for people and counts for nothing.
2. Keys are ECDSA on P-256. A replica's certificate is good for both sides of TLS, a client's for its own.
3. Private keys are written with mode 0600, and never printed. An authority never takes the place of another.
"""

import os
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 825
CLOCK_SKEW = timedelta(minutes=5)
REPLICA, CLIENT = "replica", "client"
_HOLDER = re.compile(r"hamgr://([A-Za-z0-9.-]+)/(replica|client)/([A-Za-z0-9._~%-]+)")
_AUTHORITY = re.compile(r"hamgr-ca://([A-Za-z0-9.-]+)/")
_CLUSTER = re.compile(r"[A-Za-z0-9.-]{1,64}")
# Odd certificates make cryptography raise these beside ValueError; none of them is a ValueError.
_ODD = (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, x509.InvalidVersion)


class BadCertificate(ValueError):
    """The certificate is none of ours; the message is half a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerIdentity:
    """Whom a certificate is for.

    Attributes:
        kind: `replica` or `client`.
        id: A replica's UUID, or a client's name.
    """

    cluster: str
    kind: str
    id: str
    name: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its private key."""

    certificate_pem: bytes
    key_pem: bytes

    def save(self, certificate: Path, key: Path) -> None:
        """Write both; the key is for its owner only."""
        certificate.write_bytes(self.certificate_pem)
        _write_private(key, self.key_pem)


def identity_of(certificate_der: bytes) -> PeerIdentity:
    """Return whom a certificate is for; who signed it was checked by TLS.

    Raises:
        BadCertificate: It names nobody, or more than one.
    """
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        uris = [uri for uri in _uris(certificate) if uri.startswith("hamgr:")]
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except (ValueError, *_ODD) as error:
        raise BadCertificate("it has no hamgr:// name") from error
    if len(uris) != 1:
        raise BadCertificate(f"it has {len(uris)} hamgr:// names instead of one")
    found = _HOLDER.fullmatch(uris[0])
    if found is None:
        raise BadCertificate(f"its name {uris[0]!a:.200} is neither a replica's nor a client's")
    cluster, kind, holder = found.groups()
    return PeerIdentity(
        cluster=cluster,
        kind=kind,
        id=unquote(holder),
        name=str(common[0].value) if common else "",
        not_after=certificate.not_valid_after_utc,
    )


class Authority:
    """Signs the certificates of one cluster."""

    def __init__(self, cluster: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.cluster = cluster
        self._certificate = certificate
        self._key = key

    @classmethod
    def create(
        cls,
        cluster: str | None = None,
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> "Authority":
        """Make the authority of a new cluster; its id is a new UUID unless given.

        Raises:
            ValueError: The id has other characters than letters, digits, dots and hyphens, or too many.
        """
        cluster = cluster or str(uuid.uuid4())
        if not _CLUSTER.fullmatch(cluster):
            raise ValueError(
                f"{cluster!a} is no cluster's id; use at most 64 letters, digits, dots and hyphens"
            )
        now = datetime.now(UTC)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"hamgr cluster {cluster}")])
        public = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before or now - CLOCK_SKEW)
            .not_valid_after(not_after or now + timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(public, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(public), critical=False
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"hamgr-ca://{cluster}/")]),
                critical=False,
            )
            .sign(key, hashes.SHA256())
        )
        return cls(cluster, certificate, key)

    @classmethod
    def load(cls, directory: Path) -> "Authority":
        """Read what `save` has written.

        Raises:
            OSError: A file cannot be read.
            BadCertificate: The files are no authority's; the message is a whole sentence.
        """
        return cls.read(directory / "ca.crt", directory / "ca.key")

    @classmethod
    def read(cls, path: Path, key_path: Path) -> "Authority":
        """Read a certificate and its key; errors as `load`."""
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            key = load_pem_private_key(key_path.read_bytes(), password=None)
            uris = _uris(certificate)
        except (ValueError, TypeError, UnsupportedAlgorithm, *_ODD) as error:
            raise BadCertificate(
                f"{path} and {key_path.name} are no authority's; name the folder that is meant"
            ) from error
        found = _AUTHORITY.fullmatch(uris[0]) if len(uris) == 1 else None
        if found is None or not isinstance(key, ec.EllipticCurvePrivateKey):
            raise BadCertificate(f"{path} is not the authority of a cluster; name the folder that is meant")
        if key.public_key() != certificate.public_key():
            raise BadCertificate(f"{key_path} is not the key of {path.name}; put back the one that is")
        return cls(found.group(1), certificate, key)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate, in hexadecimal."""
        return self._certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def key_pem(self) -> bytes:
        """The private key; for other replicas of the same cluster only."""
        return _pem_of(self._key)

    @property
    def certificate_pem(self) -> bytes:
        return self._certificate.public_bytes(Encoding.PEM)

    def save(self, directory: Path) -> None:
        """Write `ca.crt` and `ca.key`.

        Raises:
            FileExistsError: There is an authority in the folder; nothing was changed.
        """
        _write_private(directory / "ca.key", _pem_of(self._key), anew=True)
        (directory / "ca.crt").write_bytes(self.certificate_pem)

    def issue_replica(
        self,
        name: str,
        replica_id: str,
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Issued:
        """Sign a new key for a replica.

        Raises:
            ValueError: `replica_id` is not the text of a UUID.
        """
        if str(uuid.UUID(replica_id)) != replica_id:
            raise ValueError(f"{replica_id!a} is not a UUID in lower case")
        return self._issue(name, REPLICA, replica_id, not_before, not_after)

    def sign_replica(self, key: ec.EllipticCurvePublicKey, name: str, replica_id: str) -> bytes:
        """Return a certificate, in PEM form, for a key that the replica has made itself.

        Raises:
            ValueError: `replica_id` is not the text of a UUID.
        """
        if str(uuid.UUID(replica_id)) != replica_id:
            raise ValueError(f"{replica_id!a} is not a UUID in lower case")
        return self._sign(key, name, REPLICA, replica_id, None, None)

    def issue_client(
        self, name: str, *, not_before: datetime | None = None, not_after: datetime | None = None
    ) -> Issued:
        """Sign a new key for a client of the API."""
        return self._issue(name, CLIENT, name, not_before, not_after)

    def _issue(
        self, name: str, kind: str, holder: str, not_before: datetime | None, not_after: datetime | None
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(key.public_key(), name, kind, holder, not_before, not_after)
        return Issued(certificate, _pem_of(key))

    def _sign(
        self,
        key: ec.EllipticCurvePublicKey,
        name: str,
        kind: str,
        holder: str,
        not_before: datetime | None,
        not_after: datetime | None,
    ) -> bytes:
        now = datetime.now(UTC)
        sides = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if kind == REPLICA:
            sides.append(ExtendedKeyUsageOID.SERVER_AUTH)
        public = x509.SubjectKeyIdentifier.from_public_key(key)
        issuer = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        uri = f"hamgr://{self.cluster}/{kind}/{quote(holder, safe='')}"
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before or now - CLOCK_SKEW)
            .not_valid_after(not_after or now + timedelta(days=CERTIFICATE_DAYS))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(sides), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
            .add_extension(public, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.PEM)


def _uris(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write_private(path: Path, data: bytes, *, anew: bool = False) -> None:
    flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if anew else os.O_TRUNC)
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(data)
