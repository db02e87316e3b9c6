"""hamgrd as a process: it starts, says what keeps it from starting in one line, and stops when it is told."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.demo.layout import Layout, lay_out

START_TIMEOUT_S = 60.0


def command(layout: Layout) -> list[str]:
    return [sys.executable, "-m", "hamgr.daemon", "run", "--config", str(layout.replicas[0].config)]


def refused(layout: Layout) -> subprocess.CompletedProcess[str]:
    """Run a daemon that cannot start, to its end."""
    return subprocess.run(
        command(layout), capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False
    )


@contextlib.contextmanager
def started(layout: Layout) -> Iterator[None]:
    """Run a daemon for as long as the context is open, whatever happens in it."""
    with subprocess.Popen(command(layout), stderr=subprocess.DEVNULL) as daemon:
        try:
            yield
        finally:
            daemon.terminate()
            daemon.wait(START_TIMEOUT_S)


def change(layout: Layout, **fields: object) -> None:
    path = layout.replicas[0].config
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return lay_out(tmp_path / "one", replicas=1)


def test_it_serves_tells_systemd_and_stops_cleanly_on_sigterm(layout: Layout, tmp_path: Path) -> None:
    told = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(told))
        channel.settimeout(START_TIMEOUT_S)
        environment = {**os.environ, "NOTIFY_SOCKET": str(told)}
        with subprocess.Popen(command(layout), stderr=subprocess.PIPE, text=True, env=environment) as daemon:
            assert channel.recv(100) == b"READY=1"
            with urllib.request.urlopen(f"{layout.urls[0]}/livez", timeout=5) as answer:
                assert answer.read() == b"ok\n"
            daemon.send_signal(signal.SIGTERM)
            assert channel.recv(100) == b"STOPPING=1"
            _, log = daemon.communicate(timeout=START_TIMEOUT_S)
            assert daemon.returncode == 0
    assert "Traceback" not in log


def test_a_single_replica_leads_and_gives_the_cluster_an_id_that_stays(layout: Layout) -> None:
    ids = []
    for _ in range(2):
        with started(layout):
            ids.append(cluster_id(layout))
    assert ids[0]
    assert ids[0] == ids[1]


def cluster_id(layout: Layout) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    request = urllib.request.Request(
        f"{layout.urls[0]}/v1/status", headers={"Authorization": f"Bearer {layout.token}"}
    )
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                found = json.loads(answer.read())["cluster"]
                if found:
                    return str(found)
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError("the replica did not found its cluster")


@pytest.mark.parametrize("which", ["raft", "api"])
def test_a_busy_port_is_one_clear_sentence(layout: Layout, which: str) -> None:
    plan = layout.replicas[0]
    address = getattr(plan, which)
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        done = refused(layout)
    assert done.returncode != 0
    assert address.rpartition(":")[2] in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_folder_that_cannot_be_written_is_one_clear_sentence(layout: Layout, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    change(layout, data_dir=str(blocked))
    done = refused(layout)
    assert done.returncode != 0
    assert str(blocked) in done.stderr
    assert "Traceback" not in done.stderr
    assert blocked.read_text() == "not a folder"


def test_a_configuration_that_is_not_safe_ends_with_ex_config(layout: Layout) -> None:
    change(layout, api="0.0.0.0:7101")
    done = refused(layout)
    assert done.returncode == 78
    assert "not a loopback address" in done.stderr


def test_two_daemons_never_share_a_data_folder(layout: Layout, tmp_path: Path) -> None:
    other = lay_out(tmp_path / "other", replicas=1)
    shutil.copytree(layout.directory / "pki", other.directory / "pki", dirs_exist_ok=True)
    ports = {name: getattr(other.replicas[0], name) for name in ("raft", "api")}
    change(other, data_dir=str(layout.directory / "r1"), peers={}, **ports)
    with started(layout):
        cluster_id(layout)
        done = refused(other)
    assert done.returncode != 0
    assert str(layout.directory / "r1") in done.stderr
    assert "Traceback" not in done.stderr
