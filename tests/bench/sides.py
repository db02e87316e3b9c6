"""What is measured: a round of hamgr's, and a round of the floor, which is sshd alone.

hamgr is three replicas behind the HTTP API, every attempt announced and recorded in the replicated log. The
floor runs `true` as often as hamgr runs a step, each in a session of its own over hamgr's own kept
connections: no log, no runner, no fsync. All connections are open before the first measured round.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from backends.ports import Host
from backends.ssh.connections import Connections, Lane
from backends.ssh.sessions import execute
from backends.ssh.settings import SSHSettings
from cli.demo.layout import LOOPBACK
from cli.demo.processes import Processes
from tests.bench import cpu
from tests.bench.endpoints import Fleet, user
from tests.cluster.harness import Cluster

STEPS = 5
JOB_TIMEOUT_S = 300.0
JOB_WAIT_S = 2.0
"""How long the API holds one answer about a job that runs; less than the time-out of the harness."""
COMPONENT = """\
version: "{version}"
commission:
  - name: config
    file: {{path: /etc/bench.conf, content: "version={version}\\n"}}
  - name: one
    script: {{source: work.sh}}
  - name: two
    script: {{source: work.sh}}
  - name: three
    script: {{source: work.sh}}
verify:
  - name: config
    file: {{path: /etc/bench.conf, content: "version={version}\\n"}}
"""
WORK = "mkdir -p $HAMGR_ROOT/var/bench; echo $HAMGR_STEP >> $HAMGR_ROOT/var/bench/log\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one job took.

    Attributes:
        control_s: Processor seconds of who gives the orders: replicas, Ansible, or the floor's client.
        nodes_s: Processor seconds of the servers, and of all that was started through them.
        machine_s: Processor seconds of the whole machine, other people's work included.
    """

    wall_s: float
    control_s: float
    nodes_s: float
    machine_s: float

    @property
    def cpu_s(self) -> float:
        """Return what both ends have used together."""
        return self.control_s + self.nodes_s


def measure(work: Callable[[], object], control_s: Callable[[], float], fleet: Fleet) -> Round:
    """Do `work` and return what it took."""
    control, nodes, machine = control_s(), fleet.account.cpu_s(), cpu.of_machine()
    began = time.monotonic()
    work()
    wall_s = time.monotonic() - began
    return Round(
        wall_s=wall_s,
        control_s=control_s() - control,
        nodes_s=fleet.account.cpu_s() - nodes,
        machine_s=cpu.of_machine() - machine,
    )


JOB_PAUSE_S = 0.05
"""Between two answers: a job changes with every step of every node, faster than anybody reads."""


class Hamgr:
    """Three replicas that know the nodes; each round is an upgrade of all of them at once."""

    def __init__(self, directory: Path, fleet: Fleet) -> None:
        self._cluster = Cluster(directory / "cluster", ssh_key=fleet.key)
        self._cluster.processes = Processes(self._cluster.layout)  # as in service: without failpoints
        self._directory = directory
        self._fleet = fleet

    def __enter__(self) -> Self:
        cluster = self._cluster
        cluster.start()
        addresses = [f"{LOOPBACK}:{node.port}" for node in self._fleet.nodes]
        self._end(cluster.submit("discover", addresses=addresses, user=user()))
        cluster.push(write_bundle(self._directory / "bundle-0", "0"))
        self._run("commission", role="bench")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cluster.stop()

    def round(self, number: int) -> Round:
        self._cluster.push(write_bundle(self._directory / f"bundle-{number}", str(number)))
        return measure(lambda: self._run("upgrade"), self.cpu_s, self._fleet)

    def pids(self) -> list[int]:
        return [self._cluster.processes.pid(name) for name in self._cluster.names]

    def cpu_s(self) -> float:
        return cpu.of_processes(self.pids())

    def _run(self, kind: str, **fields: str) -> None:
        everybody = len(self._fleet.nodes)
        self._end(self._cluster.submit(kind, selector="*", max_parallel=everybody, **fields))

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


def write_bundle(directory: Path, version: str) -> Path:
    component = directory / "components" / "bench"
    component.mkdir(parents=True)
    (directory / "hamgr.yaml").write_text("version: 1\nroles:\n  bench: {components: [bench]}\n")
    (component / "component.yaml").write_text(COMPONENT.format(version=version))
    (component / "work.sh").write_text(WORK)
    return directory


class Floor:
    """`true` over kept connections: what no product that uses SSH sessions can do without."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._hosts = [
            Host(name=node.name, address=LOOPBACK, port=node.port, user=user(), host_key=node.host_key)
            for node in fleet.nodes
        ]
        self._loop = asyncio.Runner()
        self._connections = Connections(SSHSettings(client_key_paths=(fleet.key,)), Random(1))

    def __enter__(self) -> Self:
        self._loop.run(self._everywhere(1))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._connections.close())
        self._loop.close()

    def round(self, _number: int) -> Round:
        return measure(lambda: self._loop.run(self._everywhere(STEPS)), time.process_time, self._fleet)

    async def _everywhere(self, times: int) -> None:
        async with asyncio.TaskGroup() as group:
            for host in self._hosts:
                group.create_task(self._on(host, times))

    async def _on(self, host: Host, times: int) -> None:
        deadline = asyncio.get_running_loop().time() + JOB_TIMEOUT_S
        for _ in range(times):
            async with self._connections.lease(host, Lane.RUN, deadline=deadline) as connection:
                ended = await execute(connection, "true", deadline=deadline, output_bytes_max=1024)
            assert ended.exit_status == 0, ended
