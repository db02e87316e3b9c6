"""hamgr's own sides of `fan_out`: the product as people and programs use it; the rest is in `fan_out_floors`.

- `hamgr`: `hamgr exec`, a process as people start it, through the API of one replica: recorded in the log,
  then run over the replica's kept connections;
- `api`: the same question, as a program asks it that keeps its connection to the replica (a dashboard, a
  script's library): no process starts for it;
- `verify`: a verify job whose one step is the command, through the API of one replica: a look, but claimed,
  announced and recorded node by node, each in the replicated log with its sync.
"""

import http.client
import itertools
import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from cli.demo.layout import LOOPBACK
from cli.demo.processes import Processes
from tests.bench import cpu
from tests.bench.endpoints import Fleet, user
from tests.bench.sides import JOB_TIMEOUT_S, JOB_WAIT_S
from tests.cluster.harness import Cluster

Work = Callable[[], object]
JOB_PAUSE_S = 0.02
"""Between two looks at a job, which changes with every step of every node."""
RUN_WAIT_S = 60.0
ANSWER_BYTES_MAX = 64 * 1024
ALL_NODES = "*"
"""What `hamgr exec --all` asks for."""


class _Replica:
    """One replica that knows the nodes; a cold run is the first one of a new process."""

    name: str

    def __init__(self, directory: Path, fleet: Fleet) -> None:
        self._directory = directory / self.name
        self._cluster = Cluster(self._directory, ssh_key=fleet.key, replicas=1)
        self._cluster.processes = Processes(self._cluster.layout)  # as in service: without failpoints
        self.fleet = fleet

    def __enter__(self) -> Self:
        try:
            self._cluster.start()
            addresses = [f"{LOOPBACK}:{node.port}" for node in self.fleet.nodes]
            self._end(self._cluster.submit("discover", addresses=addresses, user=user()))
            self._begin()
        except BaseException:
            self._cluster.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cluster.stop()

    def cpu_s(self) -> float:
        return cpu.of_processes([self._cluster.processes.pid(name) for name in self._cluster.names])

    def _begin(self) -> None:
        """Make the nodes ready."""

    def _start_anew(self) -> None:
        """Replace the process, so that nothing is connected or loaded."""
        (name,) = self._cluster.names
        self._cluster.processes.signal_replica(name, signal.SIGTERM)
        self._cluster.wait(f"the end of {name}", lambda: self._cluster.processes.ended(name) is not None)
        self._cluster.revive()
        self._cluster.wait("a leader", self._cluster.leader)

    def _end(self, job: str) -> None:
        """Wait for a job as `hamgr` does: the API holds its answer until there is news."""
        deadline = time.monotonic() + JOB_TIMEOUT_S
        since = 0
        while time.monotonic() < deadline:
            path = f"/v1/jobs/{job}?results=false&since={since}&wait_s={JOB_WAIT_S:g}"
            view = self._cluster.ask("GET", path).ok()
            since = view["index"]
            if view["ended"]:
                assert view["state"] == "succeeded", view["error"]
                return
            time.sleep(JOB_PAUSE_S)
        raise AssertionError(f"{job} did not end within {JOB_TIMEOUT_S:g} s")


class Hamgr(_Replica):
    """`hamgr exec` on all nodes; the process that people start counts too."""

    name = "hamgr"

    def cpu_s(self) -> float:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return super().cpu_s() + ended.ru_utime + ended.ru_stime

    def cold(self, command: str) -> Work:
        self._start_anew()
        return lambda: self._exec(command)

    def warm(self, command: str) -> Work:
        self._exec(command)
        return lambda: self._exec(command)

    def _exec(self, command: str) -> None:
        environment = {
            **os.environ,
            "HAMGR_ADDR": ",".join(self._cluster.layout.urls),
            "HAMGR_TOKEN_FILE": str(self._cluster.layout.token_file),
        }
        words = [sys.executable, "-m", "cli.main", "exec", "--all", "--", command]
        ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]


class Api(Hamgr):
    """`POST /v1/exec` on all nodes, from a program that runs already."""

    name = "api"
    _connection: http.client.HTTPConnection | None = None

    def cpu_s(self) -> float:
        return _Replica.cpu_s(self) + time.process_time()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hang_up()
        super().__exit__(kind, error, trace)

    def warm(self, command: str) -> Work:
        self._hang_up()  # or the server does while others are measured
        return super().warm(command)

    def _start_anew(self) -> None:
        self._hang_up()
        super()._start_anew()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exec(self, command: str) -> None:
        if self._connection is None:
            (url,) = self._cluster.layout.urls
            self._connection = http.client.HTTPConnection(url.removeprefix("http://"))
        headers = {
            "Authorization": f"Bearer {self._cluster.layout.token}",
            "Content-Type": "application/json",
            "Idempotency-Key": uuid.uuid4().hex,
        }
        body = json.dumps({"command": command, "selector": ALL_NODES})
        self._connection.request("POST", "/v1/exec", body, headers)
        with self._connection.getresponse() as answer:
            events = answer.read().decode()
        assert answer.status == 200, events[-4000:]
        assert events.count('"exit_code": 0') == len(self.fleet.nodes), events[-4000:]
        assert "event: end" in events, events[-4000:]


class Verify(_Replica):
    """A verify job on all nodes."""

    name = "verify"

    def __init__(self, directory: Path, fleet: Fleet) -> None:
        super().__init__(directory, fleet)
        self._command = ""
        self._bundles = itertools.count()

    def _begin(self) -> None:
        self._configure("true")
        self._verify()

    def cold(self, command: str) -> Work:
        self._configure(command)
        self._start_anew()
        return self._verify

    def warm(self, command: str) -> Work:
        self._configure(command)
        self._verify()
        return self._verify

    def _configure(self, command: str) -> None:
        """Give the nodes a role whose one check is the command, unless it is that already."""
        if self._command == command:
            return
        self._cluster.push(write_bundle(self._directory / f"bundle-{next(self._bundles)}", command))
        if self._command:
            self._everybody("upgrade")
        else:
            self._everybody("commission", role="bench")
        self._command = command

    def _verify(self) -> None:
        self._everybody("verify")

    def _everybody(self, kind: str, **fields: str) -> None:
        at_once = len(self.fleet.nodes)
        self._end(self._cluster.submit(kind, selector="*", max_parallel=at_once, **fields))


def write_bundle(directory: Path, command: str) -> Path:
    component = directory / "components" / "bench"
    component.mkdir(parents=True)
    (directory / "hamgr.yaml").write_text("version: 1\nroles:\n  bench: {components: [bench]}\n")
    check = json.dumps([{"name": "command", "check": {"command": shlex.split(command)}}])
    (component / "component.yaml").write_text(f'version: "1"\ncommission: {check}\nverify: {check}\n')
    return directory
