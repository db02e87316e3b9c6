"""The doctor finds what is wrong with a replica, and names the way out."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hamgr.bootstrap import founding
from hamgr.bootstrap.places import Places
from hamgr.doctor import local
from tests.hamgr.bootstrap.conftest import Founded, founded, hamgrd
from tests.ports import free_ports

__all__ = ["founded"]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(etc=tmp_path / "etc", data=tmp_path / "data", unit=None)
    raft, api = free_ports(2)
    founding.found(made, name="r1", raft=f"127.0.0.1:{raft}", api=f"https://127.0.0.1:{api}")
    return made


def looked(places: Places) -> dict[str, dict[str, Any]]:
    done = hamgrd("doctor", "--config", places.config, "-o", "json")
    assert "Traceback" not in done.output
    found = json.loads(done.stdout)
    assert done.exit_code == int(any(item["level"] == "fail" for item in found))
    return {item["subject"]: item for item in found}


def test_a_sound_replica_has_only_its_loneliness_to_be_warned_of(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "FREE_WARN_BYTES", 0)
    monkeypatch.setattr(local, "FREE_FAIL_BYTES", 0)
    monkeypatch.setattr(local, "sync_p99_s", lambda _folder: 0.001)
    found = looked(places)
    assert {name for name, item in found.items() if item["level"] != "ok"} == {"replicas"}
    assert list(places.data.iterdir()) == [places.data / "raft"]


def open_key(places: Places) -> None:
    (places.etc / "ca.key").chmod(0o644)


def lose_folder(places: Places) -> None:
    (places.data / "raft" / "identity").unlink()


def break_certificate(places: Places) -> None:
    (places.etc / "replica.crt").write_text("nothing")


def unknown_setting(places: Places) -> None:
    places.config.write_text(places.config.read_text() + "\ncolour: red\n")


@pytest.mark.parametrize(
    ("harm", "subject", "says"),
    [
        (open_key, "files", "ca.key"),
        (lose_folder, "data folder", "never made"),
        (break_certificate, "certificate", "replica.crt"),
        (unknown_setting, "configuration", "colour"),
    ],
)
def test_what_is_wrong_is_found_and_has_a_way_out(
    places: Places, harm: Callable[[Places], None], subject: str, says: str
) -> None:
    harm(places)
    found = looked(places)[subject]
    assert found["level"] == "fail"
    assert says in found["says"]
    assert found["way_out"]


def test_a_slow_disk_and_a_full_one_are_found(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "sync_p99_s", lambda _folder: 0.15)
    monkeypatch.setattr(local, "FREE_FAIL_BYTES", 1 << 62)
    found = looked(places)
    assert found["disk sync"]["level"] == "warn"
    assert found["disk space"]["level"] == "fail"
    monkeypatch.setattr(local, "sync_p99_s", lambda _folder: 3.0)
    assert looked(places)["disk sync"]["level"] == "fail"


def test_an_address_that_somebody_has_taken_is_told(places: Places) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        before = next(line for line in places.config.read_text().splitlines() if line.startswith("raft:"))
        places.config.write_text(places.config.read_text().replace(before, f"raft: {address}"))
        assert address in looked(places)["raft"]["says"]


def test_a_running_replica_looks_at_itself_over_the_api(founded: Founded) -> None:
    said = founded.call("GET", "/v1/doctor")
    found = {item["subject"]: item["level"] for item in said["items"]}
    assert said["replica"] == "r1"
    assert (found["files"], found["data folder"], found["raft"], found["api"]) == ("ok",) * 4
    assert looked(founded.places)["api"]["says"].endswith("is served")


@pytest.mark.parametrize(("mode", "level"), [(0o755, "ok"), (0o644, "fail"), (None, "fail")])
def test_a_fencing_command_must_be_there_and_executable(
    places: Places, tmp_path: Path, mode: int | None, level: str
) -> None:
    command = tmp_path / "fence.sh"
    if mode is not None:
        command.write_text("#!/bin/sh\n")
        command.chmod(mode)
    section = f"fencing: {{command: [{json.dumps(str(command))}]}}\n"
    places.config.write_text(places.config.read_text() + section)
    found = looked(places)["fencing"]
    assert found["level"] == level
    assert str(command) in found["says"]
