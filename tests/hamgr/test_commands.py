"""`hamgrd` besides running: certificates, data folders and checks, as people call them."""

import json
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.demo.layout import Layout, lay_out
from hamgr.commands import main
from hamgr.raft.wire.tls import Credentials

START_TIMEOUT_S = 60.0
WANTED = ("--replica", "r1=10.0.0.1:7001", "--replica", "r2=10.0.0.2:7001,127.0.0.1:7081")


def hamgrd(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def peers(*words: object) -> dict[str, dict[str, str]]:
    done = hamgrd("make-certificates", *words, "-o", "json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.output)["peers"])


def credentials(directory: Path, name: str) -> Credentials:
    return Credentials(
        ca=directory / "ca.crt", certificate=directory / f"{name}.crt", key=directory / f"{name}.key"
    )


def test_certificates_are_made_for_all_and_the_peers_are_printed_for_copying(tmp_path: Path) -> None:
    done = hamgrd("make-certificates", tmp_path / "pki", *WANTED)
    assert done.exit_code == 0
    found = {name: credentials(tmp_path / "pki", name).identity() for name in ("r1", "r2")}
    assert len({one.cluster for one in found.values()}) == 1
    assert done.output.splitlines()[1:] == [
        "peers:",
        f'  r1: {{id: "{found["r1"].id}", raft: "10.0.0.1:7001", api: "127.0.0.1:7080"}}',
        f'  r2: {{id: "{found["r2"].id}", raft: "10.0.0.2:7001", api: "127.0.0.1:7081"}}',
    ]
    for name in ("ca.key", "r1.key", "r2.key"):
        assert stat.S_IMODE((tmp_path / "pki" / name).stat().st_mode) == 0o600


def test_made_again_certificates_stay_and_a_new_replica_joins_the_same_cluster(tmp_path: Path) -> None:
    first = peers(tmp_path, *WANTED)
    before = (tmp_path / "r1.crt").read_bytes()
    again = peers(tmp_path, *WANTED, "--replica", "r3=10.0.0.3:7001")
    assert {name: again[name] for name in first} == first
    assert (tmp_path / "r1.crt").read_bytes() == before
    assert credentials(tmp_path, "r3").identity().cluster == credentials(tmp_path, "r1").identity().cluster


def test_a_renewed_certificate_is_another_one_for_the_same_replica(tmp_path: Path) -> None:
    first = peers(tmp_path, *WANTED)
    before = (tmp_path / "r1.crt").read_bytes()
    assert peers(tmp_path, "--replica", "r1=10.0.0.1:7001", "--renew")["r1"] == first["r1"]
    assert (tmp_path / "r1.crt").read_bytes() != before
    done = hamgrd("make-certificates", tmp_path, "--replica", "r9=10.0.0.9:7001", "--renew")
    assert done.exit_code == 1
    assert "leave out --renew" in done.output
    assert not (tmp_path / "r9.crt").exists()


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("r1", "ADDRESS:PORT"),
        ("r1=host:7001", "ADDRESS:PORT"),
        ("R 1=10.0.0.1:7001", "lower-case"),
        ("r1=10.0.0.1:7001,nowhere", "ADDRESS:PORT"),
        ("r1=10.0.0.1:0", "port"),
    ],
)
def test_a_replica_that_cannot_be_meant_is_refused_and_nothing_is_made(
    tmp_path: Path, wanted: str, says: str
) -> None:
    done = hamgrd("make-certificates", tmp_path / "pki", "--replica", wanted)
    assert done.exit_code == 2
    assert says in done.output
    assert not (tmp_path / "pki").exists()


def test_an_authority_that_cannot_be_read_is_one_sentence_and_stays(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("not a certificate")
    (tmp_path / "ca.key").write_text("not a key")
    done = hamgrd("make-certificates", tmp_path, *WANTED)
    assert done.exit_code == 1
    assert str(tmp_path) in done.output
    assert "Traceback" not in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.crt", "ca.key"]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return lay_out(tmp_path / "one", replicas=1)


def test_a_data_folder_is_made_once(layout: Layout) -> None:
    config, folder = layout.replicas[0].config, layout.directory / "r1" / "raft"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = hamgrd("init", "--config", config)
    assert done.exit_code == 1
    assert str(folder) in done.output
    assert "not empty" in done.output
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_was_emptied_is_not_started_and_the_way_out_is_named(layout: Layout) -> None:
    for path in (layout.directory / "r1" / "raft").iterdir():
        path.unlink()
    done = subprocess.run(
        [sys.executable, "-m", "hamgr.commands", "run", "--config", str(layout.replicas[0].config)],
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 1
    assert "hamgrd init" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_says_what_is_stored_and_finds_a_flipped_bit(layout: Layout) -> None:
    directory = layout.directory / "r1"
    assert "sound" in hamgrd("check", directory).output
    found = json.loads(hamgrd("check", directory, "-o", "json").output)
    assert (found["verdict"], found["damages"]) == ("sound", [])
    journal = directory / "raft" / "journal"
    data = bytearray(journal.read_bytes())
    data[20] ^= 1
    journal.write_bytes(data)
    done = hamgrd("check", directory)
    assert done.exit_code == 65
    assert str(journal) in done.output
    assert journal.read_bytes() == data


def test_check_of_a_folder_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    done = hamgrd("check", tmp_path / "none")
    assert done.exit_code == 65
    assert str(tmp_path / "none") in done.output


def test_check_config_looks_at_the_certificate_too(layout: Layout) -> None:
    config = layout.replicas[0].config
    done = hamgrd("check-config", config)
    assert done.exit_code == 0
    assert "good until" in done.output
    settings = json.loads(config.read_text())
    settings["peers"]["r1"]["id"] = "4f0c5c3e-7d7b-4f0e-9d0e-0d8d9a3f1b02"
    config.write_text(json.dumps(settings))
    done = hamgrd("check-config", config)
    assert done.exit_code == 78
    assert "make-certificates" in done.output
    (layout.directory / "pki" / "r1.crt").unlink()
    done = hamgrd("check-config", config)
    assert done.exit_code == 78
    assert "r1.crt" in done.output


def test_a_running_replica_is_not_checked_and_reads_its_certificate_again_on_sighup(layout: Layout) -> None:
    command = [sys.executable, "-m", "hamgr.commands", "run", "--config", str(layout.replicas[0].config)]
    plan = layout.replicas[0]
    with plan.log.open("wb") as log, subprocess.Popen(command, stderr=log) as daemon:
        try:
            wait_for(lambda: answers(f"{plan.url}/readyz"))
            done = hamgrd("check", layout.directory / "r1")
            assert done.exit_code == 1
            assert "running" in done.output
            peers(layout.directory / "pki", "--replica", f"r1={plan.raft}", "--renew")
            daemon.send_signal(signal.SIGHUP)
            wait_for(lambda: "certificates were reloaded" in plan.log.read_text())
            (layout.directory / "pki" / "r1.key").write_text("not a key")
            daemon.send_signal(signal.SIGHUP)
            wait_for(lambda: "certificates were not reloaded" in plan.log.read_text())
            assert answers(f"{plan.url}/readyz")
        finally:
            daemon.terminate()
            daemon.wait(START_TIMEOUT_S)
    assert daemon.returncode == 0


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
