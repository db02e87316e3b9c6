"""A cluster of one replica that `hamgrd init` has made, and machines that want to join it."""

import hashlib
import json
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hamgr.bootstrap import calls
from hamgr.bootstrap.places import Places
from hamgr.commands import main
from hamgr.security.join_token import Invitation, read
from tests.ports import free_ports

DEADLINE_S = 60.0


def hamgrd(*words: object, stdin: str = "") -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], input=stdin)


def address(port: int) -> str:
    return f"127.0.0.1:{port}"


@dataclass
class Founded:
    """The first replica, running."""

    places: Places
    said: dict[str, Any]
    daemon: subprocess.Popen[bytes] | None = None
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def ca(self) -> str:
        return Path(self.said["ca"]).read_text()

    def call(self, method: str, path: str, body: Any = None, *, token: str = "") -> Any:
        """Ask; what only reads is asked again while nobody leads, as on a busy machine."""
        if method != "GET":
            return self.once(method, path, body, token=token)

        def read() -> list[Any]:
            try:
                return [self.once(method, path, token=token)]
            except calls.NoAnswer:
                return []

        return wait_until(f"an answer to {path}", read)[0]

    def once(self, method: str, path: str, body: Any = None, *, token: str = "") -> Any:
        context = calls._context(self.ca)
        return calls._call(self.said["api"], method, path, body, context, token or self.said["token"])

    def invitation(self, *, joins_as: str = "replica", ttl: str = "1h", name: str = "") -> Invitation:
        """Make a join token."""
        secret = secrets.token_urlsafe(32)
        digest = hashlib.sha256(secret.encode()).hexdigest()
        body = {"for": joins_as, "sha256": digest, "ttl_s": ttl, "name": name}
        return read(f"{self.call('POST', '/v1/tokens', body)['public']}.{secret}")

    def names(self) -> list[str]:
        return [item["name"] for item in self.call("GET", "/v1/replicas")["items"]]

    def run(self, places: Places) -> subprocess.Popen[bytes]:
        """Start a replica; it is ended with the test."""
        with (places.data / "hamgrd.log").open("ab") as log:
            command = [sys.executable, "-m", "hamgr.commands", "run", "--config", str(places.config)]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.others.append(process)
        return process


def wait_until(what: str, holds: Any) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (value := holds()):
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.05)
    return value


def leads(founded: Founded) -> bool:
    try:
        return bool(founded.once("GET", "/v1/replica")["leads"])
    except calls.NoAnswer:
        return False


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Founded]:
    folder = tmp_path_factory.mktemp("first")
    raft, api = free_ports(2)
    done = hamgrd(
        "init", "--name", "r1", "--address", "127.0.0.1", "--raft-port", raft, "--api-port", api,
        "--config-dir", folder / "etc", "--data-dir", folder / "data", "--no-unit", "-o", "json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    one = Founded(Places(etc=folder / "etc", data=folder / "data", unit=None), json.loads(done.stdout))
    try:
        one.daemon = one.run(one.places)
        wait_until("a leader", lambda: leads(one))
        yield one
    finally:
        for process in one.others:
            process.kill()
            process.wait()


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A machine that is no replica yet."""
    return Places(etc=tmp_path / "etc", data=tmp_path / "data", unit=None)


def answers(url: str, ca: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/livez", timeout=2, context=calls._context(ca)) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
