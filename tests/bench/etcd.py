"""The peer: three etcd members on this machine, with etcd's defaults and fsync, below a folder of their own.

Debian's `etcd-server` is what is meant; its service is neither needed nor touched.
"""

import http.client
import json
import shutil
import subprocess
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cli.demo.layout import LOOPBACK, free_ports

MEMBERS = 3
START_TIMEOUT_S = 20.0
END_TIMEOUT_S = 10.0
POLL_S = 0.05
MISSING = "etcd is not on this machine: apt-get install etcd-server, or leave it out with --alone"


def installed() -> bool:
    return shutil.which("etcd") is not None


class Etcd:
    """A cluster of etcd members; asked through the HTTP/JSON gateway on their client ports."""

    name = "etcd"

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "etcd"
        self._directory.mkdir()
        self.members: Sequence[str] = [f"e{number + 1}" for number in range(MEMBERS)]
        ports = free_ports(2 * MEMBERS)
        self._client = dict(zip(self.members, ports[:MEMBERS], strict=True))
        self._peer = dict(zip(self.members, ports[MEMBERS:], strict=True))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            for member in self.members:
                self._start(member)
            self.wait_until_caught_up()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def address(self, member: str) -> tuple[str, int]:
        return LOOPBACK, self._client[member]

    def pid(self, member: str) -> int:
        return self._processes[member].pid

    def leader(self) -> str:
        """Return the member that leads; empty when none does or nobody says."""
        for member in self.members:
            status = self._status(member)
            if status and status["header"]["member_id"] == status.get("leader"):
                return member
        return ""

    def write(self, key: int, number: int, value: str) -> bytes:
        """Return a request that puts `value` under one of the keys; the number makes it a new one."""
        return self._post("put", {"key": _key(key), "value": _base64(f"{number:012d}{value}")})

    def read(self, key: int) -> bytes:
        """Return a request for a linearizable read of one key."""
        return self._post("range", {"key": _key(key)})

    def prepare(self, keys: int) -> None:
        """Make the keys; there is nothing to make."""

    def kill(self, member: str) -> None:
        """SIGKILL; returns before the process is gone."""
        self._processes[member].kill()

    def revive(self, member: str) -> None:
        """Start a member that was killed; returns at once."""
        self._processes[member].wait(END_TIMEOUT_S)
        self._start(member)

    def wait_until_caught_up(self) -> None:
        """Return when all members answer and have applied what is committed."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_caught_up():
            if time.monotonic() > deadline:
                raise AssertionError(f"etcd did not come up; see {self._directory}/*.log")
            time.sleep(POLL_S)

    def _is_caught_up(self) -> bool:
        status = [self._status(member) for member in self.members]
        if not all(status):
            return False
        leaders = {one.get("leader") for one in status if one}
        applied = {one["raftIndex"] for one in status if one}
        return len(leaders) == len(applied) == 1 and None not in leaders

    def _status(self, member: str) -> dict[str, Any] | None:
        connection = http.client.HTTPConnection(*self.address(member), timeout=2.0)
        try:
            connection.request("POST", "/v3/maintenance/status", body=b"{}")
            answer = connection.getresponse()
            found = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            return None
        else:
            return found if answer.status == 200 else None
        finally:
            connection.close()

    def _start(self, member: str) -> None:
        client, peer = (f"http://{LOOPBACK}:{ports[member]}" for ports in (self._client, self._peer))
        others = ",".join(f"{name}=http://{LOOPBACK}:{port}" for name, port in self._peer.items())
        argv = [
            *("etcd", "--name", member, "--data-dir", str(self._directory / member)),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", others, "--initial-cluster-state", "new"),
        ]
        with (self._directory / f"{member}.log").open("ab") as log:
            self._processes[member] = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _stop(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(END_TIMEOUT_S)

    def _post(self, call: str, fields: Mapping[str, str]) -> bytes:
        body = json.dumps(fields).encode()
        head = f"POST /v3/kv/{call} HTTP/1.1\r\nHost: {LOOPBACK}\r\nContent-Type: application/json\r\n"
        return head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def _key(key: int) -> str:
    return _base64(f"bench/node-{key:03d}")
