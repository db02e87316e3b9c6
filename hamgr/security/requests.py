"""Certificates that are asked for: the key is made by who will use it, and only its public half travels."""

import hashlib

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

REQUEST_BYTES_MAX = 8 * 1024


class BadRequest(ValueError):
    """It is no request that could be signed; the message is half a sentence."""


def make_key() -> bytes:
    """Return a new private key in PEM form."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def ask(key_pem: bytes, name: str) -> bytes:
    """Return the request for a certificate of `key_pem`, in PEM form; `name` is for people.

    Raises:
        BadRequest: It is no private key of ours.
    """
    builder = x509.CertificateSigningRequestBuilder()
    named = builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    return named.sign(_private(key_pem), hashes.SHA256()).public_bytes(Encoding.PEM)


def key_of(request_pem: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key that a request is for; whoever sent it has proven that they have the private half.

    Raises:
        BadRequest: It is none, or its key or signature is another one.
    """
    if len(request_pem) > REQUEST_BYTES_MAX:
        raise BadRequest(f"it is longer than {REQUEST_BYTES_MAX} bytes")
    try:
        request = x509.load_pem_x509_csr(request_pem)
        key = request.public_key()
        valid = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise BadRequest("it is no certificate signing request in PEM form") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadRequest("its key is not one on P-256")
    if not valid:
        raise BadRequest("whoever sent it does not have the key")
    return key


def public_half(key_pem: bytes) -> ec.EllipticCurvePublicKey:
    """Return the public half of a private key, or raise `BadRequest`."""
    return _private(key_pem).public_key()


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """Return the SHA-256 of a public key, in hexadecimal."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _private(key_pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadRequest("it is no private key in PEM form") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadRequest("it is no private key on P-256")
    return key
