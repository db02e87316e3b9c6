"""hamgr's sides of `fan_out`, from the whole product down to its bare connections.

- `hamgr`: `hamgr exec`, a process as people start it, through the API of one replica: recorded in the log,
  then run over the replica's kept connections;
- `api`: the same question, as a program asks it that keeps its connection to the replica (a dashboard, a
  script's library): no process starts for it;
- `verify`: a verify job whose one step is the command, through the API of one replica: a look, but claimed,
  announced and recorded node by node, each in the replicated log with its sync;
- `executor`: the verbs of `backends.ssh` for an attempt, with the runner and its syncs on the node;
- `look`: the verb of `backends.ssh` for what changes nothing: on a kept session, bounded, not recorded;
- `sessions`: the command in a session of its own on each connection, without the runner: sshd and ourselves;
- `login`: connections alone. No one who logs in can be quicker than sshd is.
"""

import asyncio
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
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

from backends.ports import AttemptKey, AttemptState, Host
from backends.ssh.connections import Connections, Lane
from backends.ssh.executor import SSHExecutor
from backends.ssh.sessions import execute
from backends.ssh.settings import SSHSettings
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


class _Alone:
    """A side without a product around it: an event loop of its own, in the bench's process."""

    def __init__(self, _directory: Path, fleet: Fleet) -> None:
        self.fleet = fleet
        self._hosts = [
            Host(name=node.name, address=LOOPBACK, port=node.port, user=user(), host_key=node.host_key)
            for node in fleet.nodes
        ]
        self._settings = SSHSettings(client_key_paths=(fleet.key,))
        self._loop = asyncio.Runner()

    def __enter__(self) -> Self:
        self.run(self.renew())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self.close())
        self._loop.close()

    def cpu_s(self) -> float:
        return time.process_time()

    def cold(self, command: str) -> Work:
        self.run(self.renew())
        return self._everywhere(command)

    def warm(self, command: str) -> Work:
        work = self._everywhere(command)
        work()
        return work

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run(work)

    async def renew(self) -> None:
        """Drop every connection."""
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    async def on(self, host: Host, command: str) -> None:
        """Run the command on one node."""
        raise NotImplementedError

    def _everywhere(self, command: str) -> Work:
        async def everywhere() -> None:
            async with asyncio.TaskGroup() as group:
                for host in self._hosts:
                    group.create_task(self.on(host, command))

        return lambda: self.run(everywhere())


class Sessions(_Alone):
    """One session for each command on a connection that is kept."""

    name = "sessions"
    _connections: Connections | None = None

    async def renew(self) -> None:
        await self.close()
        self._connections = Connections(self._settings, Random(1))

    async def close(self) -> None:
        if self._connections is not None:
            await self._connections.close()

    async def on(self, host: Host, command: str) -> None:
        await self._leased(
            host,
            lambda connection, deadline: execute(
                connection, command, deadline=deadline, output_bytes_max=ANSWER_BYTES_MAX
            ),
        )

    async def _leased(self, host: Host, work: Callable[[Any, float], Awaitable[Any]]) -> None:
        assert self._connections is not None
        deadline = asyncio.get_running_loop().time() + JOB_TIMEOUT_S
        async with self._connections.lease(host, Lane.RUN, deadline=deadline) as connection:
            ended = await work(connection, deadline)
        assert ended is None or ended.exit_status == 0, ended


class Login(Sessions):
    """A connection and nothing else; there is no warm run of it."""

    name = "login"

    async def on(self, host: Host, command: str) -> None:
        del command

        async def nothing(_connection: Any, _deadline: float) -> None:
            return None

        await self._leased(host, nothing)


class Executor(_Alone):
    """The verbs of one attempt: fence the node, start, wait for the end."""

    name = "executor"
    _executor: SSHExecutor | None = None
    _epochs = itertools.count(1)

    async def renew(self) -> None:
        await self.close()
        self._executor = SSHExecutor(self._settings, random=Random(1))

    async def close(self) -> None:
        if self._executor is not None:
            await self._executor.close()

    def _everywhere(self, command: str) -> Work:
        work = super()._everywhere(command)

        def begun() -> None:
            self._epoch = next(self._epochs)
            self._job = f"bench-{uuid.uuid4().hex}"
            work()

        return begun

    async def on(self, host: Host, command: str) -> None:
        assert self._executor is not None
        key = AttemptKey(job=self._job, step="verify.00.bench.command", attempt=1)
        await self._executor.fence(host, self._epoch, job=self._job)
        script = f"{command}\n".encode()
        ended = await self._executor.run(host, self._epoch, key, script, wait_s=RUN_WAIT_S)
        assert ended.state is AttemptState.DONE, ended
        assert ended.exit_code == 0, ended


class Look(Executor):
    """A look at each node; it needs no epoch and leaves nothing there."""

    name = "look"

    async def on(self, host: Host, command: str) -> None:
        assert self._executor is not None
        script = f"{command}\n".encode()
        seen = await self._executor.look(
            host, script, timeout_s=RUN_WAIT_S, output_bytes_max=ANSWER_BYTES_MAX
        )
        assert seen.exit_code == 0, seen
