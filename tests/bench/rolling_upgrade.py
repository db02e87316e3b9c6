"""An upgrade of 1,000 practice nodes in waves, by three replicas: time, memory, connections, and the API.

1. The nodes are practice nodes (real SSH, real steps) on the same processors, with less precedence than the
   replicas, and with their files in memory: in a fleet they have processors and disks of their own.
2. The API is asked the whole time, at a steady pace, on the leader and on a follower.
3. Goals: a dry run before it looks at every node; while the job runs, the 99th percentile of every question
   is under 100 ms.
"""

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from cli.demo.processes import Processes
from tests.bench import cpu
from tests.bench.command import parser_of, told
from tests.bench.practice_fleet import PracticeFleet, practice_fleet
from tests.bench.precedence import elsewhere, precedence, waited_s
from tests.bench.responsiveness import Latency, Question, Responsiveness
from tests.cluster.harness import Cluster

GOAL_P99_MS = 100.0
JOB_TIMEOUT_S = 1_800.0
JOB_POLL_S = 0.25
SAMPLE_S = 0.5
ANSWER_TIMEOUT_S = 30.0
PLAN_TIMEOUT_S = 120.0
WRITE = "PATCH /v1/nodes/N"
GAUGES = ("journal_bytes", "last_index")
SYNCS, QUICK_SYNCS = "sync_seconds_count", 'sync_seconds_bucket{le="0.05"}'
SELECTOR = "bench=yes"
PROBE_NODE = "beside"
"""The node that is written to: no part of the job."""
COMPONENT = """\
version: "{version}"
commission:
  - name: config
    file: {{path: /etc/bench.conf, content: "version={version}\\n"}}
  - name: restart
    script: {{source: restart.sh}}
verify:
  - name: version
    check: {{file: {{path: /etc/bench.conf}}}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """What one upgrade took.

    Attributes:
        first: Whether the replicas had precedence before the nodes.
        leader_waited_s: For how long its threads were ready to run and had no processor.
        replicas_s: Processor seconds by replica, the leader first.
        nodes_s: Of practice nodes and steps.
        leader_rss_mib_max: The leader's peak of resident memory since its start.
        connections_max: The most SSH connections that were open at once.
        entries: What the log has grown by, those of the questions included.
        entry_bytes: Bytes of journal for each.
        syncs, slow_syncs: Of the leader's journal; how many took more than 50 ms, during which it stands.
        api: By question.
        plan_s: What a dry run of it took before, on every node.
        seen: The nodes of which it could say what would change.
    """

    plan_s: float
    seen: int
    nodes: int
    wave: int
    first: bool
    wall_s: float
    leader_waited_s: float
    replicas_s: Sequence[float]
    nodes_s: float
    leader_rss_mib: float
    leader_rss_mib_max: float
    connections_max: int
    entries: int
    entry_bytes: float
    syncs: int
    slow_syncs: int
    writes: int
    api: Mapping[str, Latency]

    @property
    def task_bytes(self) -> float:
        """Return the bytes of journal for each node, the questions' writes taken off."""
        return (self.entries - self.writes) * self.entry_bytes / self.nodes


def measured(directory: Path, disk: Path, *, nodes: int, wave: int) -> Upgrade:
    """Have practice nodes below `disk` discovered and commissioned, and measure their upgrade."""
    with practice_fleet(disk / "nodes", nodes) as fleet:
        cluster = Cluster(directory / "cluster", ssh_key=fleet.key)
        cluster.processes = Processes(cluster.layout)  # as in service: without failpoints
        try:
            cluster.start()
            with precedence([os.getpid(), *map(cluster.processes.pid, cluster.names)]) as first:
                _prepare(cluster, directory, fleet)
                cluster.push(_bundle(directory, "2"))
                return _upgrade(cluster, fleet, wave, first=first)
        finally:
            cluster.stop()


def _prepare(cluster: Cluster, directory: Path, fleet: PracticeFleet) -> None:
    cluster.ask("POST", "/v1/nodes", {"name": PROBE_NODE, "address": "192.0.2.1"}).ok()
    cluster.push(_bundle(directory, "1"))
    discover = {"addresses": fleet.addresses, "user": "hamgr", "labels": {"bench": "yes"}}
    for kind, fields in (("discover", discover), ("commission", {"selector": SELECTOR, "role": "bench"})):
        _end(cluster, cluster.submit(kind, max_parallel=len(fleet.ports), **fields))


def _bundle(directory: Path, version: str) -> Path:
    bundle = directory / f"bundle-{version}"
    component = bundle / "components" / "bench"
    component.mkdir(parents=True)
    (bundle / "hamgr.yaml").write_text("version: 1\nroles:\n  bench: {components: [bench]}\n")
    (component / "component.yaml").write_text(COMPONENT.format(version=version))
    (component / "restart.sh").write_text("date >> $HAMGR_ROOT/var/log/restarts\n")
    return bundle


def _end(cluster: Cluster, job: str) -> None:
    deadline = time.monotonic() + JOB_TIMEOUT_S
    while time.monotonic() < deadline:
        view = cluster.ask("GET", f"/v1/jobs/{job}?results=false").ok()
        if view["ended"]:
            assert view["state"] == "succeeded", view["error"]
            return
        time.sleep(JOB_POLL_S)
    raise AssertionError(f"{job} did not end within {JOB_TIMEOUT_S:g} s")


class _Samples:
    """Looks at the leader and at the sockets while the context is open."""

    def __init__(self, cluster: Cluster, leader: str, ports: Sequence[int]) -> None:
        self._cluster = cluster
        self._leader = leader
        self._ports = frozenset(ports)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="samples")
        self._grown_bytes = 0.0
        self._grown_entries = 0.0
        self.connections_max = 0
        self.entries = self.syncs = self.slow_syncs = 0

    def __enter__(self) -> Self:
        self._first = self._last = self._figures()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._take()
        grown = {name: self._last[name] - self._first[name] for name in self._last}
        self.entries = int(grown["last_index"])
        self.syncs, self.slow_syncs = int(grown[SYNCS]), int(grown[SYNCS] - grown[QUICK_SYNCS])

    @property
    def entry_bytes(self) -> float:
        return self._grown_bytes / max(1.0, self._grown_entries)

    def _run(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self._take()

    def _take(self) -> None:
        self.connections_max = max(self.connections_max, established(self._ports))
        before, now = self._last, self._figures()
        self._last = now
        if now["journal_bytes"] > before["journal_bytes"]:  # a compaction makes it smaller
            self._grown_bytes += now["journal_bytes"] - before["journal_bytes"]
            self._grown_entries += now["last_index"] - before["last_index"]

    def _figures(self) -> dict[str, float]:
        answer = self._cluster.on(self._leader, "GET", "/metrics", timeout_s=ANSWER_TIMEOUT_S)
        assert answer.status == 200, answer
        return {name: figure(answer.body.decode(), name) for name in (*GAUGES, SYNCS, QUICK_SYNCS)}


def figure(text: str, name: str) -> float:
    """Return a figure of consensus from the text of /metrics."""
    found = next(line for line in text.splitlines() if line.startswith(f"hamgr_raft_{name} "))
    return float(found.rpartition(" ")[2])


def established(ports: frozenset[int], table: str = "") -> int:
    """Count the connections to `ports`, from their clients' ends (proc(5), /proc/net/tcp)."""
    lines = (table or Path("/proc/net/tcp").read_text()).splitlines()[1:]
    fields = (line.split() for line in lines)
    return sum(one[3] == "01" and int(one[2].rpartition(":")[2], 16) in ports for one in fields)


def _upgrade(cluster: Cluster, fleet: PracticeFleet, wave: int, *, first: bool) -> Upgrade:
    leader = cluster.wait("a leader", cluster.leader)
    follower = next(name for name in cluster.names if name != leader)
    cluster.preferred = follower  # where the job is watched; the leader is asked by the questions only
    members = [leader, *(name for name in cluster.names if name != leader)]
    plan_s, seen = _plan(cluster, leader)
    pids = [cluster.processes.pid(name) for name in members]
    waited_before_s = waited_s(pids[0])
    before, nodes_s = [cpu.of_processes([pid]) for pid in pids], fleet.cpu_s()
    with _Samples(cluster, leader, fleet.ports) as samples:
        began_s = time.monotonic()
        job = cluster.submit("upgrade", selector=SELECTOR, max_parallel=wave)
        with Responsiveness(_questions(cluster, job, {"leader": leader, "follower": follower})) as asked:
            _end(cluster, job)
        wall_s = time.monotonic() - began_s
    api = asked.found()
    return Upgrade(
        plan_s=plan_s,
        seen=seen,
        nodes=len(fleet.ports),
        wave=wave,
        first=first,
        wall_s=wall_s,
        leader_waited_s=waited_s(pids[0]) - waited_before_s,
        replicas_s=[cpu.of_processes([pid]) - used_s for pid, used_s in zip(pids, before, strict=True)],
        nodes_s=fleet.cpu_s() - nodes_s,
        leader_rss_mib=memory_mib(pids[0], "VmRSS"),
        leader_rss_mib_max=memory_mib(pids[0], "VmHWM"),
        connections_max=samples.connections_max,
        entries=samples.entries,
        entry_bytes=samples.entry_bytes,
        syncs=samples.syncs,
        slow_syncs=samples.slow_syncs,
        writes=sum(one.count for title, one in api.items() if title.startswith(WRITE)),
        api=api,
    )


def _plan(cluster: Cluster, leader: str) -> tuple[float, int]:
    """Look what the upgrade would change; return the seconds, and how many nodes could be looked at."""
    began_s = time.monotonic()
    asked = {"kind": "upgrade", "selector": SELECTOR}
    answer = cluster.on(leader, "POST", "/v1/plans?dry_run=true", asked, timeout_s=PLAN_TIMEOUT_S).ok()
    wall_s = time.monotonic() - began_s
    return wall_s, sum(not look["error"] for look in answer["looks"])


def memory_mib(pid: int, field: str) -> float:
    """Return a figure of /proc/PID/status (proc(5)) in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def _questions(cluster: Cluster, job: str, members: Mapping[str, str]) -> list[Question]:
    head = f"HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {cluster.layout.token}\r\n"
    found = []
    for role, member in members.items():
        url = urlsplit(next(plan.url for plan in cluster.layout.replicas if plan.name == member))
        assert url.hostname is not None
        assert url.port is not None
        address = (url.hostname, url.port)

        def get(path: str) -> Callable[[int], bytes]:
            request = f"GET {path} {head}\r\n".encode()
            return lambda _: request

        def write(number: int, role: str = role) -> bytes:
            body = json.dumps({"variables": {role: number}})
            lines = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            key = f"Idempotency-Key: {job}-{role}-{number}\r\n"
            return f"PATCH /v1/nodes/{PROBE_NODE} {head}{lines}{key}\r\n{body}".encode()

        asked = {
            "GET /v1/nodes?limit=50": get("/v1/nodes?limit=50"),
            "GET /v1/jobs/J?results=false": get(f"/v1/jobs/{job}?results=false"),
            WRITE: write,
        }
        found += [
            Question(title=f"{title}, {role}", address=address, request=request)
            for title, request in asked.items()
        ]
    return found


def table(one: Upgrade) -> str:
    """Return the figures for people."""
    leader_s, *followers_s = one.replicas_s
    lines = [
        f"a dry run: {one.plan_s:.1f} s, {one.seen} of {one.nodes} nodes looked at",
        f"an upgrade of {one.nodes} practice nodes in waves of {one.wave}: {one.wall_s:.1f} s,"
        f" {one.nodes / one.wall_s:.1f} nodes/s",
        f"processor: leader {leader_s:.1f} s ({leader_s / one.wall_s * 100:.0f} % of one;"
        f" it waited {one.leader_waited_s:.1f} s for one),"
        f" followers {', '.join(f'{used:.1f}' for used in followers_s)} s, nodes {one.nodes_s:.1f} s",
        f"leader: {one.leader_rss_mib:.0f} MiB resident, {one.leader_rss_mib_max:.0f} MiB at its peak;"
        f" at most {one.connections_max} SSH connections",
        f"log: {(one.entries - one.writes) / one.nodes:.1f} entries a node,"
        f" {one.entry_bytes:.0f} bytes each, {one.task_bytes:.0f} bytes a node",
        f"disk: {one.syncs} syncs of the leader's journal, {one.slow_syncs} of them longer than 50 ms",
        f"{'the API while it runs':42}{'asked':>7}{'p50 ms':>9}{'p99 ms':>9}{'most ms':>9}",
    ]
    lines += [
        f"  {title:40}{each.count:7}{each.p50_ms:9.1f}{each.p99_ms:9.1f}{each.max_ms:9.1f}"
        for title, each in one.api.items()
    ]
    if not one.first:
        lines.append("the replicas had no precedence, which only root may give: nodes took time from them")
    worst_ms = max(each.p99_ms for each in one.api.values())
    lines.append(
        told(
            [
                (f"a dry run looks at every node ({one.seen})", one.seen == one.nodes),
                (f"99 % of answers within {GOAL_P99_MS:g} ms ({worst_ms:.0f})", worst_ms < GOAL_P99_MS),
            ]
        )
    )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    parser = parser_of("rolling_upgrade", __doc__)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--wave", type=int, default=100)
    parser.add_argument("--memory", action="store_true", help="the replicas' files in memory as well")
    arguments = parser.parse_args(words)
    memory = elsewhere(Path(tempfile.gettempdir()))
    with (
        tempfile.TemporaryDirectory(prefix="hamgr-bench-", dir=memory if arguments.memory else None) as name,
        tempfile.TemporaryDirectory(prefix="hamgr-bench-", dir=memory) as disk,
    ):
        one = measured(Path(name), Path(disk), nodes=arguments.nodes, wave=arguments.wave)
    print(json.dumps(asdict(one) | {"task_bytes": one.task_bytes}) if arguments.json else table(one))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
