"""Replicas, nodes in memory and jobs that are done by hand, step by step, with real folders for the logs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backends.memory.executor import MemoryExecutor
from backends.memory.faults import FaultHook
from backends.memory.node import MemoryNode
from backends.ports import AttemptKey, Host, NodeExecutor
from hamgr.jobs.logs import NodeLogs
from hamgr.logs import records
from hamgr.logs.asking import LogLine, LogQuery
from hamgr.logs.guarded import GuardedExecutor, RecentOutputs
from hamgr.logs.keeper import LogKeeper
from hamgr.logs.pieces import Attempt
from hamgr.logs.shelf import Shelf
from hamgr.logs.store import LogStore
from hamgr.raft.memory import MemoryCluster
from statemachine import phases
from statemachine.commands import (
    ClaimTask,
    CommitBundle,
    FinishAttempt,
    FoundCluster,
    StartAttempt,
    SubmitJob,
)
from statemachine.discovery_commands import ReportSighting, Sighting, SubmitDiscovery
from statemachine.manifest import ComponentSpec, Manifest, RoleSpec, StepSpec
from statemachine.model import OUTPUT_TAIL_BYTES_MAX, Endpoint, Result, State
from statemachine.outcomes import Accepted
from statemachine.words import Digest, Ending, JobId, JobKind, NodeName, RequestId, Value, Verb

CLUSTER = "abcd1234"
DIGEST = Digest("sha256:" + "0" * 64)
DEADLINE_S = 60.0
LONG = b"a line of output that is long enough\n" * 60
"""More than the replicated state keeps of an output."""


@dataclass
class Peers:
    """The other keepers, as far as they can be reached."""

    scene: "Scene"
    name: str
    asked: int = 0

    async def fetch(self, wanted: Sequence[Attempt]) -> dict[Attempt, bytes]:
        self.asked += 1
        found: dict[Attempt, bytes] = {}
        for name, keeper in self.scene.keepers.items():
            if name != self.name and name not in self.scene.cut_off:
                data = await keeper.stored([a for a in wanted if a not in found])
                found |= {records.decode(record).attempt: record for record in records.split(data)}
        return found


@dataclass
class Scene:
    """A cluster with nodes `n1`, `n2`..., commissioned by jobs whose every step is done by the test."""

    folder: Path
    names: tuple[str, ...] = ("r1", "r2", "r3")
    fault: FaultHook | None = None
    secrets: tuple[str, ...] = ()
    variables: Mapping[str, Value] = field(default_factory=dict)
    attempt_bytes_max: int = 64 * 1024
    failure_pause_s: float = 0.1
    store_of: Callable[[Path], LogStore] | None = None
    cut_off: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.cluster = MemoryCluster(self.names)
        self.memory = MemoryExecutor(fault=self.count, answer_timeout_s=1.0)
        self.calls: list[tuple[str, str]] = []
        self.nodes: dict[str, MemoryNode] = {}
        self.hosts: dict[str, Host] = {}
        self.keepers: dict[str, LogKeeper] = {}
        self.executors: dict[str, NodeExecutor] = {}
        self.peers: dict[str, Peers] = {}
        self.stores: dict[str, LogStore] = {}
        self._count = 0

    def count(self, host: Host, verb: str):
        self.calls.append((host.name, verb))
        return self.fault(host, verb) if self.fault is not None else None

    @property
    def state(self) -> State:
        return self.cluster.replica(self.cluster.leader).state

    async def do(self, command: type, **fields: object) -> Accepted:
        self._count += 1
        outcome = await self.cluster.replica(self.cluster.leader).propose(
            command(request_id=RequestId(f"q{self._count}"), at=float(self._count), actor="test", **fields),
            timeout_s=5.0,
        )
        assert isinstance(outcome, Accepted), outcome
        return outcome

    def keeper(self, name: str) -> LogKeeper:
        """Make a replica's keeper anew, as a process that starts does; its folder stays."""
        replica, recent = self.cluster.replica(name), RecentOutputs()
        executor = GuardedExecutor(self.memory, replica=replica, recent=recent)
        folder = self.folder / name
        made = LogStore(folder, bytes_max=2**24, reserve_bytes=0)
        self.stores[name] = self.store_of(folder) if self.store_of else made
        self.executors[name] = executor
        self.peers[name] = Peers(self, name)
        self.keepers[name] = LogKeeper(
            replica=replica,
            executor=executor,
            shelf=Shelf(self.stores[name], failure_pause_s=self.failure_pause_s),
            peers=self.peers[name],
            recent=recent,
            attempt_bytes_max=self.attempt_bytes_max,
        )
        return self.keepers[name]

    @contextlib.asynccontextmanager
    async def keeping(self, *names: str) -> AsyncIterator[None]:
        """Have the keepers of these replicas run (of all, when none is named)."""
        tasks = [asyncio.create_task(self.keeper(name).run()) for name in names or self.names]
        try:
            yield
            assert not any(task.done() for task in tasks), [task.exception() for task in tasks if task.done()]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def begin(self, *nodes: str) -> None:
        """Found the cluster, push the bundle, and discover the nodes."""
        for name in self.names:
            await self.cluster.replica(name).start()
        app = ComponentSpec(
            name="app",
            version="1",
            verbs={
                Verb.COMMISSION: (StepSpec(name="one"), StepSpec(name="two")),
                Verb.VERIFY: (StepSpec(name="v", check=True),),
            },
        )
        manifest = Manifest(
            roles={"app": RoleSpec(name="app", components=("app",))},
            components={"app": app},
            variables=self.variables,
            secrets=self.secrets,
        )
        await self.do(FoundCluster, cluster=CLUSTER)
        await self.do(CommitBundle, digest=DIGEST, manifest=manifest, size_bytes=1)
        for place, name in enumerate(nodes or ("n1",), 1):
            await self._discover(name, Endpoint(address=f"10.0.0.{place}"))

    async def _discover(self, name: str, endpoint: Endpoint) -> None:
        node = self.nodes[name] = MemoryNode(name=name)
        host = self.hosts[name] = self.memory.attach(node, endpoint.address)
        job = JobId((await self.do(SubmitDiscovery, endpoints=(endpoint,))).ref)
        sighting = Sighting(endpoint=endpoint, name=name, machine_id=name, host_key=host.host_key, epoch=0)
        await self.do(ReportSighting, job=job, task=NodeName(str(endpoint)), sighting=sighting)

    async def submit(self, *nodes: str, kind: JobKind = JobKind.COMMISSION) -> JobId:
        """Submit a job over nodes and claim all its tasks."""
        role = {"role": "app"} if kind is JobKind.COMMISSION else {}
        wanted = tuple(map(NodeName, nodes or ("n1",)))
        job = JobId((await self.do(SubmitJob, kind=kind, nodes=wanted, max_parallel=len(wanted), **role)).ref)
        for node in wanted:
            await self.do(ClaimTask, job=job, node=node, claimant="test")
        return job

    async def step(
        self, job: JobId, output: bytes = LONG, *, node: str = "n1", record: bool = True, exit_code: int = 0
    ) -> Attempt:
        """Run the step that a task owes, and record its result as a worker does."""
        key, number, epoch = await self.announce(job, node)
        self.nodes[node].behaviour = lambda _key, _script: (0.0, exit_code, output)
        executor = self.executors.get(self.cluster.leader, self.memory)
        await executor.fence(self.hosts[node], epoch, job=key.job)
        status = await executor.run(self.hosts[node], epoch, key, b"x", wait_s=1.0)
        assert status.exit_code == exit_code
        if record:
            await self.record(job, node, status.output, exit_code=exit_code)
        return Attempt(key.job, node, key.step, number)

    async def announce(self, job: JobId, node: str = "n1") -> tuple[AttemptKey, int, int]:
        task = self.state.jobs[job].tasks[NodeName(node)]
        planned = phases.owed_step(self.state, self.state.jobs[job], task)
        assert planned is not None
        await self.do(
            StartAttempt,
            job=job,
            node=NodeName(node),
            epoch=task.epoch,
            step=planned.key,
            attempt=task.attempt,
        )
        key = AttemptKey(job=f"{CLUSTER}-{job}", step=planned.key, attempt=task.attempt)
        return key, task.attempt, task.epoch

    async def record(
        self,
        job: JobId,
        node: str,
        output: bytes,
        *,
        exit_code: int | None = 0,
        ending: Ending = Ending.EXITED,
    ) -> None:
        task = self.state.jobs[job].tasks[NodeName(node)]
        planned = phases.owed_step(self.state, self.state.jobs[job], task)
        assert planned is not None
        result = Result(
            step=planned.key,
            attempt=task.attempt,
            ending=ending,
            exit_code=exit_code,
            output_tail=output[-OUTPUT_TAIL_BYTES_MAX:].decode("utf-8", "replace"),
        )
        await self.do(FinishAttempt, job=job, node=NodeName(node), epoch=task.epoch, result=result)

    async def finish(self, job: JobId, node: str = "n1", output: bytes = b"") -> None:
        """Do all that is left of a task."""
        while phases.owed_step(self.state, self.state.jobs[job], self.state.jobs[job].tasks[NodeName(node)]):
            await self.step(job, output, node=node)

    async def until_stored(self, whose: Attempt, *names: str) -> None:
        for name in names or self.names:
            await until(lambda name=name: self.stores[name].settled(whose), f"{whose} on {name}")

    def output(self, name: str, whose: Attempt) -> bytes:
        found = self.stores[name].get(whose)
        assert found is not None
        return found.head + found.tail

    async def read(self, name: str, job: JobId, query: LogQuery | None = None) -> list[LogLine]:
        logs = NodeLogs(
            replica=self.cluster.replica(name), executor=self.executors[name], kept=self.keepers[name]
        )
        return [line async for line in logs.follow(job, query or LogQuery())]

    def read_calls(self) -> int:
        return sum(verb == "read_log" for _, verb in self.calls)


async def until(done: Callable[[], bool], what: str = "it") -> None:
    give_up_at = asyncio.get_running_loop().time() + DEADLINE_S
    while not done():
        assert asyncio.get_running_loop().time() < give_up_at, f"{what} did not come"
        await asyncio.sleep(0.01)
