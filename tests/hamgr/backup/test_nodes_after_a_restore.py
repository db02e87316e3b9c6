"""What nodes do when the cluster that they knew is restored from a backup, and the old one comes back."""

import io
import json
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hamgr.bootstrap import calls
from hamgr.bootstrap.places import Places
from tests.hamgr.backup.test_restoring import restore, where
from tests.hamgr.bootstrap.conftest import DEADLINE_S, Founded, hamgrd, leads, wait_until
from tests.ports import free_ports

COMPONENT = """\
version: "{version}"
commission:
  - {{name: note, script: {{source: note.sh}}}}
verify:
  - {{name: there, check: {{file: {{path: /var/log/notes}}}}}}
"""


@pytest.fixture
def port() -> int:
    """Where the practice node listens."""
    (found,) = free_ports(1)
    return found


@pytest.fixture
def node(tmp_path: Path, port: int, old: Founded) -> Iterator[Path]:
    root = tmp_path / "nodes"
    program = [sys.executable, "-m", "backends.ssh.sandbox", "--root", root, "--names", "web-1", "--reap"]
    key = old.places.etc / "id_ed25519.pub"
    process = subprocess.Popen([*map(str, program), "--authorized-key", str(key), "--port-first", str(port)])
    try:
        wait_until("the node", (root / "web-1").is_dir)
        yield root / "web-1"
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Founded]:
    places = Places(etc=tmp_path / "old/etc", data=tmp_path / "old/data", unit=None)
    done = hamgrd("init", *where(places))
    assert done.exit_code == 0, done.output
    kept = {"directory": str(tmp_path / "kept"), "key_file": str(places.etc / "backup.key")}
    with places.config.open("a") as file:
        file.write(f"backup: {json.dumps(kept)}\n")
    one = Founded(places, json.loads(done.stdout))
    try:
        one.daemon = one.run(places)
        wait_until("a leader", lambda: leads(one))
        yield one
    finally:
        for process in one.others:
            process.kill()
            process.wait()


def push(cluster: Founded, version: str) -> None:
    files = {
        "hamgr.yaml": "version: 1\nroles:\n  web: {components: [web]}\n",
        "components/web/component.yaml": COMPONENT.format(version=version),
        "components/web/note.sh": f"echo {version} >> $HAMGR_ROOT/var/log/notes\n",
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text), 0o755
            archive.addfile(member, io.BytesIO(text.encode()))
    request = urllib.request.Request(
        f"{cluster.said['api']}/v1/bundles",
        packed.getvalue(),
        {"Authorization": f"Bearer {cluster.said['token']}", "Content-Type": "application/x-tar"},
    )
    with urllib.request.urlopen(request, timeout=30, context=calls._context(cluster.ca)) as answer:
        assert answer.status in (200, 201)


def job(cluster: Founded, kind: str, **fields: Any) -> Any:
    """Have a job run to its end; return it."""
    name = cluster.call("POST", "/v1/jobs", {"kind": kind, **fields})["id"]
    deadline = time.monotonic() + DEADLINE_S
    while not (found := cluster.call("GET", f"/v1/jobs/{name}"))["ended"]:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


@pytest.mark.timeout(300)
def test_a_node_obeys_the_restored_cluster_and_refuses_the_old_one(
    old: Founded, node: Path, port: int, tmp_path: Path, places: Places
) -> None:
    push(old, "1")
    found = job(old, "discover", addresses=[f"127.0.0.1:{port}"], user="hamgr")
    (name,) = [one["name"] for one in old.call("GET", "/v1/nodes")["items"]]
    assert found["state"] == "succeeded", found
    assert job(old, "commission", nodes=[name], role="web")["state"] == "succeeded"
    file = Path(old.call("POST", "/v1/backups")["file"])
    push(old, "2")
    assert job(old, "upgrade", nodes=[name])["id"] == "j-3"
    assert (node / "var/log/notes").read_text() == "1\n2\n"
    assert old.daemon is not None
    old.daemon.kill()
    old.daemon.wait()

    done = restore(file, old.places.etc / "backup.key", places)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    new = Founded(places, {"api": said["api"], "ca": said["ca"], "token": old.said["token"]})
    process = new.run(places)
    try:
        wait_until("a leader", lambda: leads(new))
        push(new, "3")
        again = job(new, "upgrade", nodes=[name])
        assert again["state"] == "succeeded"
        assert again["id"] not in ("j-1", "j-2", "j-3"), "a number that the old cluster gave out"
        assert (node / "var/log/notes").read_text() == "1\n2\n3\n", "done once, and really done"

        back = old.run(old.places)  # somebody starts what was left of the old cluster
        wait_until("a leader", lambda: leads(old))
        push(old, "4")
        refused = old.call("POST", "/v1/jobs", {"kind": "upgrade", "nodes": [name]})["id"]
        wait_until("the refusal", lambda: "epoch" in json.dumps(old.call("GET", f"/v1/jobs/{refused}")))
        assert (node / "var/log/notes").read_text() == "1\n2\n3\n"
        back.kill()
    finally:
        process.terminate()
        process.wait(timeout=30)
