"""A cluster is backed up while it works, lost, and begun again on an empty machine; with real replicas."""

import json
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from hamgr.backup import files
from hamgr.bootstrap.places import Places
from hamgr.security.backup_key import make_backup_key, read_backup_key
from statemachine.words import NodeName
from tests.hamgr.bootstrap.conftest import Founded, hamgrd, leads, wait_until
from tests.ports import free_ports


def where(places: Places) -> tuple[object, ...]:
    raft, api = free_ports(2)
    ports = ("--name", "r9", "--address", "127.0.0.1", "--raft-port", raft, "--api-port", api)
    return *ports, "--config-dir", places.etc, "--data-dir", places.data, "--no-unit", "-o", "json"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Founded]:
    """A replica that makes backups."""
    folder = tmp_path_factory.mktemp("old")
    places = Places(etc=folder / "etc", data=folder / "data", unit=None)
    done = hamgrd("init", *where(places))
    assert done.exit_code == 0, done.output
    settings = yaml.safe_load(places.config.read_text())
    settings["backup"] = {
        "directory": str(folder / "kept"),
        "key_file": str(places.etc / "backup.key"),
        "command": ["cp", "-t", str(folder)],
        "keep_last": 2,
        "keep_days": 0,
    }
    places.config.write_text(yaml.safe_dump(settings))
    one = Founded(places, json.loads(done.stdout))
    try:
        one.daemon = one.run(places)
        wait_until("a leader", lambda: leads(one))
        yield one
    finally:
        for process in one.others:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def kept(old: Founded) -> tuple[Path, dict[str, Any]]:
    """A backup that was made while the cluster was written to, and what was acknowledged before it began."""
    numbers: list[int] = []
    over = threading.Event()

    def write_on() -> None:
        while not over.is_set():
            number = len(numbers)
            old.call("POST", "/v1/nodes", {"name": f"n{number}", "address": "192.0.2.1"})
            numbers.append(number)

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        wait_until("some writes", lambda: len(numbers) > 20)
        before = len(numbers)
        made = old.call("POST", "/v1/backups")
    finally:
        over.set()
        writer.join()
    assert len(numbers) > before, "the cluster stood still for its backup"
    return Path(made["file"]), made | {"nodes": before}


def restore(file: Path, key: Path, places: Places, *more: object) -> Result:
    return hamgrd("restore", file, "--key-file", key, *where(places), *more)


def test_all_that_was_acknowledged_before_it_began_is_in_a_backup(
    old: Founded, kept: tuple[Path, dict[str, Any]]
) -> None:
    file, made = kept
    found = files.verify(file, _key(old))
    assert found.state.index == made["index"]
    assert {NodeName(f"n{n}") for n in range(made["nodes"])} <= found.state.nodes.keys()
    assert file.read_bytes() == (file.parent.parent / file.name).read_bytes(), "the command got it"
    assert stat_mode(file) == 0o600
    assert str(file) in [one["file"] for one in old.call("GET", "/v1/backups")["items"]]


def test_a_lost_cluster_begins_again_on_an_empty_machine(
    old: Founded, kept: tuple[Path, dict[str, Any]], places: Places
) -> None:
    file, made = kept
    key = old.places.etc / "backup.key"
    done = restore(file, key, places)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["index"] == made["index"]
    again = Founded(places, {"api": said["api"], "ca": said["ca"], "token": old.said["token"]})
    process = again.run(places)
    try:
        wait_until("a leader", lambda: leads(again))
        assert again.names() == ["r9"]
        status = again.call("GET", "/v1/status")
        assert status["nodes"]["total"] == len(files.verify(file, _key(old)).state.nodes)
        again.call("POST", "/v1/nodes", {"name": "after", "address": "192.0.2.2"})
        for name in ("id_ed25519", "token", "backup.key"):
            assert (places.etc / name).read_bytes() == (old.places.etc / name).read_bytes()
        assert (places.etc / "ca.crt").read_bytes() != (old.places.etc / "ca.crt").read_bytes()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def test_what_cannot_be_restored_changes_nothing(
    old: Founded, kept: tuple[Path, dict[str, Any]], places: Places, tmp_path: Path
) -> None:
    file, key = kept[0], old.places.etc / "backup.key"
    damaged, other = tmp_path / "damaged.hamgr-backup", tmp_path / "other.key"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    other.write_text(make_backup_key())
    other.chmod(0o600)
    for done, word in (
        (restore(damaged, key, places), "damaged or cut off"),
        (restore(file, other, places), "it was made with the backup key"),
        (restore(tmp_path / "none", key, places), "cannot be read"),
        (restore(Path("/etc/hostname"), key, places), "this is no backup"),
    ):
        assert done.exit_code != 0
        assert word in done.stderr
        assert not places.etc.exists()
        assert not places.data.exists()
    done = restore(file, key, old.places)
    assert "this machine has a replica already" in done.stderr


def test_a_restore_that_was_killed_anywhere_is_done_anew(
    old: Founded, kept: tuple[Path, dict[str, Any]], places: Places
) -> None:
    file, key = kept[0], old.places.etc / "backup.key"
    assert restore(file, key, places).exit_code == 0
    whole = sorted(places.etc.iterdir())
    # As if the power had gone before the configuration had its name, with more or less of the rest there.
    for names in ((), ("ca.key",), ("ca.key", "replica.crt", "token")):
        places.config.unlink()
        places.draft.write_text(json.dumps({"restored_from": "x", "cluster": "", "replica": ""}))
        for name in names:
            (places.etc / name).unlink()
        if names:
            shutil.rmtree(places.raft)
        done = restore(file, key, places)
        assert done.exit_code == 0, done.output
        assert sorted(places.etc.iterdir()) == whole


def test_a_backup_tells_offline_what_it_is_of(old: Founded, kept: tuple[Path, dict[str, Any]]) -> None:
    file, made = kept
    done = hamgrd("backup", "inspect", file)
    assert f"at index {made['index']}" in done.stdout
    assert "not verified" in done.stdout
    done = hamgrd("backup", "inspect", file, "--key-file", old.places.etc / "backup.key", "-o", "json")
    said = json.loads(done.stdout)
    assert (said["verified"], said["index"]) == (True, made["index"])
    assert said["nodes"] >= made["nodes"]
    assert hamgrd("backup", "inspect", "/etc/hostname").exit_code != 0


def test_old_backups_go_and_the_newest_stay(old: Founded, kept: tuple[Path, dict[str, Any]]) -> None:
    made = [old.call("POST", "/v1/backups")["file"] for _ in range(2)]
    left = [one["file"] for one in old.call("GET", "/v1/backups")["items"]]
    assert len(left) == 2
    assert made[-1] in left
    metrics = _metrics(old)
    assert "hamgr_backup_last_timestamp_seconds" in metrics


def test_a_backup_that_fails_stands_in_the_status_until_one_succeeds(
    old: Founded, kept: tuple[Path, dict[str, Any]]
) -> None:
    key = old.places.etc / "backup.key"
    key.chmod(0o644)
    try:
        with pytest.raises(Exception, match="others may read this key"):
            old.call("POST", "/v1/backups")
        codes = {one["code"]: one["message"] for one in old.call("GET", "/v1/status")["warnings"]}
        assert "others may read this key" in codes["backup-failed"]
    finally:
        key.chmod(0o600)
    old.call("POST", "/v1/backups")
    assert "backup-failed" not in {one["code"] for one in old.call("GET", "/v1/status")["warnings"]}
    kinds = [one["kind"] for one in old.call("GET", "/v1/events?follow=0&limit=50")["items"]]
    assert "replica.backup-failed" in kinds
    assert "replica.backup-made" in kinds


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def _key(old: Founded) -> bytes:
    return read_backup_key(old.places.etc / "backup.key")


def _metrics(old: Founded) -> str:
    return subprocess.run(
        ["curl", "-sk", "-H", f"Authorization: Bearer {old.said['token']}", f"{old.said['api']}/metrics"],
        capture_output=True, text=True, check=True, timeout=30,
    ).stdout  # fmt: skip
