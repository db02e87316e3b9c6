"""Credentials: what a replica cannot start with is named, file and way out; what it starts with is strict."""

import dataclasses
import ssl

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from hamgr.raft.port import CannotStart
from hamgr.security.authority import Authority
from tests.hamgr.raft.wire import kit
from tests.hamgr.raft.wire.kit import Certificates

ID = "6f1d2c1e-0d7b-4a53-9a43-2f5f0c1a7e55"


@pytest.fixture
def good(certificates):
    return certificates.save(certificates.ours.issue_replica("r1", ID))


def used(credentials) -> None:
    credentials.identity()
    credentials.server_context()
    credentials.client_context()


def test_good_credentials_tell_whose_they_are(good) -> None:
    found = good.identity()
    assert (found.cluster, found.kind, found.id, found.name) == ("test", "replica", ID, "r1")


def test_contexts_speak_tls_1_3_only_and_ask_for_a_certificate(good) -> None:
    for made in (good.server_context(), good.client_context()):
        assert made.minimum_version == made.maximum_version == ssl.TLSVersion.TLSv1_3
        assert made.verify_mode == ssl.CERT_REQUIRED
        assert made.verify_flags & ssl.VERIFY_X509_STRICT
        assert len(made.get_ca_certs()) == 1
    assert good.server_context().num_tickets == 0


@pytest.mark.parametrize("name", ["ca", "certificate", "key"])
def test_a_file_that_is_not_there_is_named(good, name) -> None:
    path = good.ca.parent / "absent"
    with pytest.raises(CannotStart, match=f"{path} cannot be read: No such file"):
        used(dataclasses.replace(good, **{name: path}))


@pytest.mark.parametrize("name", ["ca", "certificate", "key"])
@pytest.mark.parametrize("content", [b"", b"\xff\x00 rubbish", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_that_is_something_else_is_named(good, tmp_path, name, content) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(CannotStart, match=f"{path} is not"):
        used(dataclasses.replace(good, **{name: path}))


def test_the_key_of_another_certificate_is_named(good, certificates) -> None:
    other = certificates.save(certificates.ours.issue_replica("r1", ID))
    with pytest.raises(CannotStart, match=f"{other.key} is not the private key of {good.certificate}"):
        used(dataclasses.replace(good, key=other.key))


def test_a_key_that_others_may_read_is_named_with_the_command_that_helps(good) -> None:
    good.key.chmod(0o640)
    with pytest.raises(CannotStart, match=f"run: chmod 600 {good.key}"):
        used(good)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(good) -> None:
    key = load_pem_private_key(good.key.read_bytes(), None)
    good.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    with pytest.raises(CannotStart, match="without a password"):
        used(good)


def test_a_clients_certificate_is_no_replicas(certificates: Certificates) -> None:
    client = certificates.save(certificates.ours.issue_client("alice"))
    with pytest.raises(CannotStart, match=f"{client.certificate} is a client's"):
        used(client)


def test_a_certificate_of_another_authority_is_named(certificates: Certificates) -> None:
    foreign = certificates.save(certificates.foreign.issue_replica("r1", ID))
    with pytest.raises(CannotStart, match=f"{foreign.certificate} was not signed by {foreign.ca}"):
        used(foreign)


def test_a_certificate_out_of_force_is_named(certificates: Certificates) -> None:
    expired = certificates.save(certificates.ours.issue_replica("r1", ID, **kit.EXPIRED))
    with pytest.raises(CannotStart, match=f"{expired.certificate} ran out on"):
        used(expired)
    early = certificates.save(certificates.ours.issue_replica("r1", ID, **kit.NOT_YET))
    with pytest.raises(CannotStart, match=f"{early.certificate} is not in force before .* clock"):
        used(early)


def test_an_authority_out_of_force_is_named(tmp_path, certificates: Certificates) -> None:
    old = Authority.create("test", **kit.EXPIRED)
    old.save(tmp_path)
    made = certificates.save(old.issue_replica("r1", ID))
    with pytest.raises(CannotStart, match=r"ca\.crt ran out on"):
        used(dataclasses.replace(made, ca=tmp_path / "ca.crt"))
