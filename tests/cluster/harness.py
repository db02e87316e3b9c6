"""A cluster of real `hamgrd` processes, and a plain HTTP client that rides through failovers."""

import hashlib
import http.client
import io
import json
import os
import secrets
import signal
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from cli.demo.layout import Layout, lay_out
from cli.demo.processes import Processes

T = TypeVar("T")

DEADLINE_S = 45.0
POLL_S = 0.05
DEAD_S = 600.0
CLOCK = Path(__file__).parent / "clock"
CLOCK_SUFFIX = ".clock-ahead-s"
"""Of the file beside a replica's configuration, in which it finds how far its clock is ahead."""
RETRY_STATUSES = (502, 503, 504)
PEOPLE = ("ann", "bob")
"""Who has a token beside the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: Any
    headers: dict[str, str]
    replica: str = ""

    def ok(self) -> Any:
        assert self.status < 300, f"{self.status}: {self.body}"
        return self.body


@dataclass(slots=True)
class Cluster:
    """Three replicas below `directory`; failpoints are armed by files in `failpoints`."""

    directory: Path
    ssh_key: Path | None = None
    replicas: int = 3
    unreachable_deadline_s: float = 20.0
    movable_clock: bool = False
    """Whether `set_clock` works; each look at the time costs the replicas a look at a file then."""
    preferred: str = ""
    """The replica that answered last, which is asked first: a frozen one costs a time-out."""
    tokens: dict[str, str] = field(init=False)
    """Of each of `PEOPLE`, to be shown to the API."""
    layout: Layout = field(init=False)
    processes: Processes = field(init=False)

    def __post_init__(self) -> None:
        self.layout = lay_out(
            self.directory,
            replicas=self.replicas,
            ssh_key=self.ssh_key,
            unreachable_deadline_s=self.unreachable_deadline_s,
        )
        self.tokens = {name: secrets.token_hex(32) for name in PEOPLE}
        people = self.directory / "people"
        people.write_text(self._token_lines())
        people.chmod(0o600)
        for plan in self.layout.replicas:
            # Who is dead for a part of a test comes back as the voter that it was.
            settings = json.loads(plan.config.read_text())
            settings |= {"token_file": str(people), "autopilot": {"dead_s": DEAD_S}}
            plan.config.write_text(json.dumps(settings))
        self.failpoints.mkdir(exist_ok=True)
        self.processes = Processes(self.layout, environment=self.environment)

    @property
    def environment(self) -> dict[str, str]:
        """What replicas have in their environment beside what is in ours."""
        environment = {"HAMGR_FAILPOINTS": str(self.failpoints)}
        if self.movable_clock:
            paths = (str(CLOCK), os.environ.get("PYTHONPATH", ""))
            environment["HAMGR_TEST_CLOCK"] = CLOCK_SUFFIX
            environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        return environment

    def _token_lines(self) -> str:
        """Return a token file: one of no name, then those of people, the last of them only as its hash."""
        lines = [self.layout.token, *(f"{name} {token}" for name, token in self.tokens.items())]
        lines[-1] = f"{PEOPLE[-1]} sha256:{hashlib.sha256(self.tokens[PEOPLE[-1]].encode()).hexdigest()}"
        return "".join(f"{line}\n" for line in lines)

    @property
    def failpoints(self) -> Path:
        return self.directory / "failpoints"

    @property
    def names(self) -> list[str]:
        return [replica.name for replica in self.layout.replicas]

    def start(self) -> None:
        for name in self.names:
            self.processes.start_replica(name)
        self.wait("a leader", self.leader)

    def arm(self, boundary: str, action: str, subject: str) -> Path:
        """Have the replica that first reaches `boundary` with `subject` do `action` to itself."""
        path = self.failpoints / f"{boundary}.{action}"
        temporary = self.failpoints / f".{boundary}"
        temporary.write_text(subject)
        temporary.rename(path)
        return path

    def dead(self) -> list[str]:
        return [name for name in self.names if self.processes.ended(name) is not None]

    def set_clock(self, *names: str, ahead_s: float) -> None:
        """Put the clocks ahead that these replicas read, or all, from now on; 0 for the true time."""
        assert self.movable_clock
        for plan in self.layout.replicas:
            if plan.name in (names or self.names):
                temporary = plan.config.with_suffix(".new")
                temporary.write_text(str(ahead_s))
                temporary.rename(plan.config.with_suffix(CLOCK_SUFFIX))

    def revive(self) -> None:
        """Start what is dead, thaw what is frozen, and wait until all replicas answer."""
        self.wake()
        for name in self.names:
            self.wait(f"replica {name}", partial(self._ready, name))

    def _ready(self, name: str) -> bool:
        return self.on(name, "GET", "/readyz").status == 200

    def wake(self) -> None:
        """Start what is dead and thaw what is frozen, without waiting for them."""
        for name in self.names:
            if self.processes.ended(name) is not None:
                self.processes.start_replica(name)
            else:
                self.processes.signal_replica(name, signal.SIGCONT)

    def on(
        self, name: str, method: str, path: str, body: Any = None, *, key: str = "", timeout_s: float = 5.0
    ) -> Answer:
        """Ask one replica; status 0 when it does not answer."""
        plan = next(plan for plan in self.layout.replicas if plan.name == name)
        headers = {"Authorization": f"Bearer {self.layout.token}"}
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if data is not None and not isinstance(body, bytes):
            headers["Content-Type"] = "application/json"
        if key:
            headers["Idempotency-Key"] = key
        connection = http.client.HTTPConnection(urlsplit(plan.url).netloc, timeout=timeout_s)
        try:
            connection.request(method, path, body=data, headers=headers)
            response = connection.getresponse()
            text = response.read()
            value = json.loads(text) if text and "json" in response.headers.get("Content-Type", "") else text
            return Answer(status=response.status, body=value, headers=dict(response.headers), replica=name)
        except (OSError, http.client.HTTPException):
            return Answer(status=0, body=None, headers={})
        finally:
            connection.close()

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """Ask any replica, again and again with the same key, until one gives an answer that is final."""
        key = uuid.uuid4().hex if method != "GET" else ""
        answer = Answer(status=0, body=None, headers={})
        deadline = time.monotonic() + DEADLINE_S
        while True:
            for name in sorted(self.names, key=lambda name: name != self.preferred):
                if self.processes.ended(name) is None:
                    answer = self.on(name, method, path, body, key=key, timeout_s=3.0)
                    if answer.status and answer.status not in RETRY_STATUSES:
                        self.preferred = name
                        return answer
            assert time.monotonic() < deadline, f"nobody answered {method} {path}: {answer}"
            time.sleep(POLL_S)

    def leader(self) -> str:
        """Return the name of the replica that says it leads; empty when none does."""
        for name in self.names:
            if self.processes.ended(name) is None:
                answer = self.on(name, "GET", "/v1/replica", timeout_s=1.0)
                if answer.status == 200 and answer.body["leads"]:
                    return name
        return ""

    def node(self, name: str) -> Any:
        return self.ask("GET", f"/v1/nodes/{name}").ok()

    def job(self, job: str) -> Any:
        return self.ask("GET", f"/v1/jobs/{job}").ok()

    def submit(self, kind: str, **fields: Any) -> str:
        return str(self.ask("POST", "/v1/jobs", {"kind": kind, **fields}).ok()["id"])

    def ended(self, job: str, *, timeout_s: float = DEADLINE_S) -> Any:
        """Wait for the end of a job and return it."""
        return self.wait(
            f"the end of {job}", lambda: (j := self.job(job))["ended"] and j, timeout_s=timeout_s
        )

    def push(self, directory: Path) -> str:
        """Pack a bundle and push it; return its digest."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.add(directory, arcname=".")
        return str(self.ask("POST", "/v1/bundles", buffer.getvalue()).ok()["digest"])

    def logs(self) -> str:
        """Return the ends of the replicas' logs, for a failing test's message."""
        return "\n".join(
            f"--- {p.name}\n{p.log.read_text()[-3000:]}" for p in self.layout.replicas if p.log.exists()
        )

    def wait(self, what: str, holds: Callable[[], T], *, timeout_s: float = DEADLINE_S) -> T:
        deadline = time.monotonic() + timeout_s
        while not (value := holds()):
            assert time.monotonic() < deadline, f"{what} did not come within {timeout_s} s\n{self.logs()}"
            time.sleep(POLL_S)
        return value

    def stop(self) -> None:
        self.processes.stop()


def hamgr(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the operator's command on a cluster, to its end."""
    environment = {
        **os.environ,
        "HAMGR_ADDR": ",".join(cluster.layout.urls),
        "HAMGR_TOKEN_FILE": str(cluster.layout.token_file),
        "XDG_CONFIG_HOME": str(cluster.directory / "nothing"),
        "XDG_CACHE_HOME": str(cluster.directory / "nothing"),
    }
    command = [sys.executable, "-m", "cli.main", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=90)
