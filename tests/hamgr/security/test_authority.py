"""The authority: what it signs, what a certificate says, and that its key stays its own."""

import socket
import ssl
import stat
import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from hamgr.security.authority import Authority, BadCertificate, Issued, identity_of

ID = "6f1d2c1e-0d7b-4a53-9a43-2f5f0c1a7e55"


def der(issued: Issued) -> bytes:
    return x509.load_pem_x509_certificate(issued.certificate_pem).public_bytes(Encoding.DER)


def test_a_replicas_certificate_says_cluster_id_and_name() -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    found = identity_of(der(Authority.create("c-1").issue_replica("rack 1", ID, not_after=end)))
    assert (found.cluster, found.kind, found.id, found.name) == ("c-1", "replica", ID, "rack 1")
    assert found.not_after == end


@given(name=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20))
def test_a_clients_name_comes_back_whatever_it_is(name) -> None:
    found = identity_of(der(AUTHORITY.issue_client(name)))
    assert (found.kind, found.id) == ("client", name)


AUTHORITY = Authority.create("c-1")


def test_a_cluster_without_an_id_gets_a_new_one() -> None:
    assert uuid.UUID(Authority.create().cluster) != uuid.UUID(Authority.create().cluster)


@pytest.mark.parametrize("cluster", ["a/b", "a b", "x" * 65, "[::1]", "a\nb"])
def test_a_cluster_id_that_would_not_come_back_is_refused(cluster) -> None:
    with pytest.raises(ValueError, match="is no cluster's id"):
        Authority.create(cluster)


@pytest.mark.parametrize("replica", ["", "r1", ID.upper(), f"{{{ID}}}"])
def test_a_replica_id_that_is_no_uuid_is_refused(replica) -> None:
    with pytest.raises(ValueError, match="UUID"):
        AUTHORITY.issue_replica("r1", replica)


def test_an_authority_comes_back_from_its_folder_and_signs_on(tmp_path) -> None:
    AUTHORITY.save(tmp_path)
    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600
    again = Authority.load(tmp_path)
    assert again.cluster == "c-1"
    signed = x509.load_pem_x509_certificate(again.issue_replica("r1", ID).certificate_pem)
    signed.verify_directly_issued_by(x509.load_pem_x509_certificate(AUTHORITY.certificate_pem))


def test_an_authority_never_takes_the_place_of_another(tmp_path) -> None:
    AUTHORITY.save(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FileExistsError):
        Authority.create("c-1").save(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_private_key_is_for_its_owner_even_where_a_file_was_before(tmp_path) -> None:
    key = tmp_path / "key"
    key.write_text("x" * 10_000)
    key.chmod(0o644)
    issued = AUTHORITY.issue_replica("r1", ID)
    issued.save(tmp_path / "crt", key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_bytes() == issued.key_pem


@pytest.mark.parametrize("file", ["ca.crt", "ca.key"])
@pytest.mark.parametrize("content", [b"", b"rubbish"])
def test_files_that_are_no_authoritys_are_refused(tmp_path, file, content) -> None:
    AUTHORITY.save(tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(BadCertificate, match="name the folder"):
        Authority.load(tmp_path)


def test_a_replicas_files_and_mixed_ones_are_no_authoritys(tmp_path) -> None:
    AUTHORITY.issue_replica("r1", ID).save(tmp_path / "ca.crt", tmp_path / "ca.key")
    with pytest.raises(BadCertificate, match="is not the authority of a cluster"):
        Authority.load(tmp_path)
    (tmp_path / "ca.key").unlink()
    Authority.create("c-1").save(tmp_path)
    (tmp_path / "ca.crt").write_bytes(AUTHORITY.certificate_pem)
    with pytest.raises(BadCertificate, match=r"is not the key of ca\.crt"):
        Authority.load(tmp_path)


def test_what_is_signed_can_sign_nothing_and_a_client_cannot_serve() -> None:
    for issued, sides in (
        (
            AUTHORITY.issue_replica("r1", ID),
            {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH},
        ),
        (AUTHORITY.issue_client("alice"), {ExtendedKeyUsageOID.CLIENT_AUTH}),
    ):
        extensions = x509.load_pem_x509_certificate(issued.certificate_pem).extensions
        assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
        assert set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == sides


def test_serial_numbers_are_random() -> None:
    made = [x509.load_pem_x509_certificate(AUTHORITY.issue_client("a").certificate_pem) for _ in range(8)]
    assert len({one.serial_number for one in made}) == 8
    assert max(one.serial_number for one in made).bit_length() > 100


def test_strict_verification_accepts_both_sides(tmp_path) -> None:
    """As Python 3.13 does it by default."""
    AUTHORITY.save(tmp_path)
    AUTHORITY.issue_replica("r1", ID).save(tmp_path / "crt", tmp_path / "key")
    here, there = socket.socketpair()
    contexts = []
    for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        made = ssl.SSLContext(protocol)
        made.check_hostname, made.verify_mode = False, ssl.CERT_REQUIRED
        made.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        made.load_verify_locations(tmp_path / "ca.crt")
        made.load_cert_chain(tmp_path / "crt", tmp_path / "key")
        contexts.append(made)

    def serve() -> None:
        with contexts[0].wrap_socket(here, server_side=True) as served:
            served.sendall(b"in")

    server = threading.Thread(target=serve)
    server.start()
    with contexts[1].wrap_socket(there) as dialled:
        assert dialled.recv(2) == b"in"
    server.join()


def odd(*uris: str, names: bool = True) -> bytes:
    """A certificate that our authority never signs."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    if names:
        san = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(san, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    "certificate",
    [
        odd(names=False),
        odd("https://example.org/"),
        odd(f"hamgr://c/replica/{ID}", f"hamgr://d/replica/{ID}"),
        odd("hamgr://c/replica/"),
        odd("hamgr://c/replica/a/b"),
        odd("hamgr://c/admin/a"),
        odd(f"hamgr:///replica/{ID}"),
        odd(f"hamgr://[c/replica/{ID}"),
        odd(f"hamgr://c/replica/{ID}?x"),
        odd(f"hamgr://u@c:1/replica/{ID}"),
        b"",
        b"rubbish",
    ],
    ids=range(12),
)
def test_a_certificate_that_names_nobody_or_two_is_nobodys(certificate) -> None:
    with pytest.raises(BadCertificate):
        identity_of(certificate)


def test_a_certificate_without_a_subject_is_known_by_its_name_in_the_uri() -> None:
    found = identity_of(odd("https://example.org/", f"hamgr://c/replica/{ID}"))
    assert (found.cluster, found.id, found.name) == ("c", ID, "")
