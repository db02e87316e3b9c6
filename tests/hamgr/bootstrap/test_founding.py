"""`hamgrd init`: a cluster of one that works at once, or nothing at all."""

import json
import shutil
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from hamgr.bootstrap import founding
from hamgr.bootstrap.places import Places
from hamgr.security.backup_key import read_backup_key
from tests.hamgr.bootstrap.conftest import Founded, address, hamgrd
from tests.ports import free_ports


def init(places: Places, *more: object) -> Result:
    raft, api = free_ports(2)
    where = ("--config-dir", places.etc, "--data-dir", places.data, "--no-unit")
    ports = ("--address", "127.0.0.1", "--raft-port", raft, "--api-port", api)
    return hamgrd("init", *where, *ports, *more)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_cluster_works_at_once_with_the_token_that_was_printed(founded: Founded) -> None:
    assert founded.names() == ["r1"]
    founded.call("PATCH", "/v1/globals", {"variables": {"one": 1}})
    assert founded.call("GET", "/v1/globals")["variables"] == {"one": 1}


def test_what_is_secret_is_for_its_owner_only_and_the_admins_token_is_not_kept(founded: Founded) -> None:
    etc = founded.places.etc
    for name in ("ca.key", "replica.key", "token", "id_ed25519", "backup.key"):
        assert stat.S_IMODE((etc / name).stat().st_mode) == 0o600
    kept = b"".join(content(etc).values())
    assert founded.said["token"].encode() not in kept
    assert len(read_backup_key(etc / "backup.key")) == 32
    assert (etc / "backup.key").read_text().strip() == founded.said["backup_key"]


def test_a_unit_is_written_that_starts_this_very_program(places: Places, tmp_path: Path) -> None:
    raft, api = free_ports(2)
    done = hamgrd(
        "init", "--address", "127.0.0.1", "--raft-port", raft, "--api-port", api, "--config-dir", places.etc,
        "--data-dir", places.data, "--unit", tmp_path / "hamgrd.service",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    text = (tmp_path / "hamgrd.service").read_text()
    assert f"run --config {places.config}" in text
    assert f"ReadWritePaths={places.data} {places.etc}" in text


def test_a_second_init_is_refused_and_changes_nothing(places: Places) -> None:
    assert init(places).exit_code == 0
    before = content(places.etc), content(places.data)
    done = init(places)
    assert done.exit_code == 1
    assert "has a replica already" in done.output
    assert (content(places.etc), content(places.data)) == before


@pytest.mark.parametrize("which", ["etc", "data"])
def test_a_folder_that_is_in_use_is_refused_and_stays(places: Places, which: str) -> None:
    folder: Path = getattr(places, which)
    folder.mkdir()
    (folder / "mine").write_text("precious")
    done = init(places)
    assert done.exit_code == 1
    assert f"{folder} is in use (mine)" in done.output
    assert content(folder) == {"mine": b"precious"}
    assert not places.config.exists()


@pytest.mark.parametrize("which", ["--raft-port", "--api-port"])
def test_an_address_that_is_in_use_is_refused_and_nothing_is_made(places: Places, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = init(places, which, port)
    assert done.exit_code == 1
    assert f"{address(port)} cannot be used here" in done.output
    assert not places.etc.exists()
    assert not places.data.exists()


def test_an_address_of_another_machine_is_refused(places: Places) -> None:
    done = init(places, "--address", "192.0.2.77")
    assert done.exit_code == 1
    assert "192.0.2.77" in done.output
    assert not places.etc.exists()


def test_whatever_fails_in_the_middle_is_taken_back(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: Any, **_more: Any) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(founding, "rename", full)
    done = init(places)
    assert done.exit_code == 1
    assert "No space left on device" in done.output
    assert not places.config.exists()
    assert not (places.data / "raft").exists()
    monkeypatch.undo()
    assert init(places).exit_code == 0


def test_an_init_that_was_killed_is_swept_away_by_the_next_one(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Places, "sweep", lambda *_: None)  # who is killed takes nothing back
        patched.setattr(founding, "rename", lambda *_: 1 / 0)
        assert isinstance(init(places).exception, ZeroDivisionError)
    assert (places.data / "raft" / "identity").exists()
    done = init(places, "-o", "json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["cluster"]


def test_a_folder_that_was_wiped_or_copied_is_not_started(places: Places, tmp_path: Path) -> None:
    assert init(places).exit_code == 0
    shutil.copytree(places.data, tmp_path / "copy")
    shutil.rmtree(places.data)
    (tmp_path / "copy").rename(places.data)
    done = hamgrd("run", "--config", places.config)
    assert "is a copy" in done.output
    shutil.rmtree(places.data / "raft")
    done = hamgrd("run", "--config", places.config)
    assert done.exit_code == 1
    assert "it was never made, or what was in it is gone" in done.output
