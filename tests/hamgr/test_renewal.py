"""Certificates are renewed in time, without a new key, and without a moment in which none fits."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hamgr import config, renewal
from hamgr.bootstrap import founding
from hamgr.bootstrap.places import Places
from hamgr.config import Config, ConfigError
from hamgr.membership import credentials_of
from hamgr.security import requests
from hamgr.security.authority import Authority
from tests.hamgr.bootstrap.conftest import hamgrd
from tests.ports import free_ports


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(etc=tmp_path / "etc", data=tmp_path / "data", unit=None)
    raft, api = free_ports(2)
    founding.found(made, name="r1", raft=f"127.0.0.1:{raft}", api=f"https://127.0.0.1:{api}")
    return made


def expires_in(settings: Config, days: int) -> None:
    """Give the replica a certificate that ends soon, for the key that it has."""
    key = settings.tls.authority_key
    assert key is not None
    authority = Authority.read(settings.tls.ca, key)
    until = datetime.now(UTC) + timedelta(days=days)
    issued = authority.issue_replica("r1", credentials_of(settings).identity().id, not_after=until)
    issued.save(settings.tls.certificate, settings.tls.key)


def test_a_certificate_that_ends_soon_is_renewed_for_the_same_replica_and_key(places: Places) -> None:
    settings = config.load(places.config)
    expires_in(settings, 20)
    before, key = credentials_of(settings).identity(), settings.tls.key.read_bytes()
    assert renewal.due(settings, datetime.now(UTC))
    until = renewal.renew(settings)
    after = credentials_of(settings).identity()
    assert (after.id, after.cluster, after.not_after) == (before.id, before.cluster, until)
    assert until > before.not_after
    assert settings.tls.key.read_bytes() == key
    credentials_of(settings).server_context()
    assert not renewal.due(settings, datetime.now(UTC))


async def test_a_running_replica_renews_by_itself_and_reloads(places: Places) -> None:
    settings = config.load(places.config)
    expires_in(settings, 20)
    reloaded = asyncio.Event()
    task = asyncio.create_task(renewal.keep_renewed(settings, reloaded.set))
    await asyncio.wait_for(reloaded.wait(), 30)
    task.cancel()
    assert not renewal.due(settings, datetime.now(UTC))


@pytest.mark.parametrize("broken", ["ca.key", "replica.key", "ca.crt"])
def test_what_cannot_be_signed_leaves_the_old_certificate(places: Places, broken: str) -> None:
    before = (places.etc / "replica.crt").read_bytes()
    (places.etc / broken).write_bytes(requests.make_key() if broken == "ca.key" else b"nothing")
    done = hamgrd("renew-certificate", "--config", places.config)
    assert done.exit_code == 78
    assert "Traceback" not in done.output
    assert (places.etc / "replica.crt").read_bytes() == before


def test_without_the_authoritys_key_the_way_out_is_named(places: Places) -> None:
    settings = config.load(places.config)
    without = settings.model_copy(update={"tls": settings.tls.model_copy(update={"authority_key": None})})
    with pytest.raises(ConfigError, match="make-certificates --renew"):
        renewal.renew(without)
