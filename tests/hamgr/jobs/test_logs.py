"""Logs of jobs: backlog and follow on any replica, nothing lost, nothing twice, and honest about the rest."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from backends.memory.executor import MemoryExecutor
from backends.memory.node import MemoryNode
from backends.ports import AttemptKey, Host
from hamgr.jobs.logs import NodeLogs
from hamgr.logs.asking import LogLine, LogQuery
from hamgr.logs.figures import LogFigures
from hamgr.logs.pieces import Attempt, Kept
from hamgr.raft.memory import MemoryCluster
from statemachine.commands import (
    AddNode,
    ClaimTask,
    CommitBundle,
    FinishAttempt,
    FoundCluster,
    StartAttempt,
    SubmitJob,
)
from statemachine.discovery_commands import ReportSighting, Sighting, SubmitDiscovery
from statemachine.manifest import ComponentSpec, Manifest, RoleSpec, StepSpec
from statemachine.model import Endpoint, Result
from statemachine.outcomes import Accepted
from statemachine.words import Digest, Ending, JobId, JobKind, NodeName, RequestId, Verb

ADDRESS = "10.0.0.1"
JOB = JobId("j-2")
NODE = NodeName("n1")
DIGEST = Digest("sha256:" + "0" * 64)
STEP = "work.00.app.one"


@dataclass
class FakeKept:
    """What the replicas have stored."""

    outputs: dict[Attempt, Kept] = field(default_factory=dict)
    figures: LogFigures = field(default_factory=LogFigures)

    async def find(self, attempt: Attempt) -> Kept | None:
        return self.outputs.get(attempt)

    async def stored(self, wanted: Sequence[Attempt]) -> bytes:
        return b""


@dataclass
class Scene:
    """One replica, one node in memory, and a commission whose first step may be run by hand."""

    cluster: MemoryCluster = field(default_factory=lambda: MemoryCluster(["r1"]))
    executor: MemoryExecutor = field(default_factory=MemoryExecutor)
    node: MemoryNode = field(default_factory=lambda: MemoryNode(name="n1"))
    host: Host = field(init=False)
    kept: FakeKept = field(default_factory=FakeKept)
    count: int = 0

    def __post_init__(self) -> None:
        self.host = self.executor.attach(self.node, ADDRESS)

    async def do(self, command: type, **fields: object) -> Accepted:
        self.count += 1
        outcome = await self.cluster.replica("r1").propose(
            command(request_id=RequestId(f"q{self.count}"), at=float(self.count), actor="test", **fields),
            timeout_s=5.0,
        )
        assert isinstance(outcome, Accepted), outcome
        return outcome

    async def begin(self) -> None:
        await self.cluster.replica("r1").start()
        endpoint = Endpoint(address=ADDRESS)
        steps = (StepSpec(name="one"), StepSpec(name="two"))
        app = ComponentSpec(
            name="app",
            version="1",
            verbs={Verb.COMMISSION: steps, Verb.VERIFY: (StepSpec(name="v", check=True),)},
        )
        manifest = Manifest(roles={"app": RoleSpec(name="app", components=("app",))}, components={"app": app})
        await self.do(FoundCluster, cluster="abcd1234")
        await self.do(CommitBundle, digest=DIGEST, manifest=manifest, size_bytes=1)
        await self.do(SubmitDiscovery, endpoints=(endpoint,))
        sighting = Sighting(
            endpoint=endpoint, name="n1", machine_id="m", host_key=self.host.host_key, epoch=0
        )
        await self.do(ReportSighting, job=JobId("j-1"), task=NodeName(str(endpoint)), sighting=sighting)
        await self.do(SubmitJob, kind=JobKind.COMMISSION, nodes=(NODE,), role="app")
        await self.do(ClaimTask, job=JOB, node=NODE, claimant="test")

    async def announce(self) -> AttemptKey:
        await self.do(StartAttempt, job=JOB, node=NODE, epoch=1, step=STEP, attempt=1)
        return AttemptKey(job="abcd1234-j-2", step=STEP, attempt=1)

    async def record(self, tail: str = "") -> None:
        result = Result(step=STEP, attempt=1, ending=Ending.EXITED, exit_code=0, output_tail=tail)
        await self.do(FinishAttempt, job=JOB, node=NODE, epoch=1, result=result)

    @property
    def logs(self) -> NodeLogs:
        return NodeLogs(replica=self.cluster.replica("r1"), executor=self.executor, kept=self.kept)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    found = Scene()
    await found.begin()
    yield found
    await found.cluster.replica("r1").stop()


async def collect(scene: Scene, *, follow: bool) -> list[LogLine]:
    return [line async for line in scene.logs.follow(JOB, LogQuery(follow=follow))]


async def test_the_backlog_of_an_ended_attempt_is_read_from_the_node(scene: Scene) -> None:
    scene.node.behaviour = lambda _key, _script: (0.0, 0, b"hello\n" * 400 + b"world\n")
    await scene.executor.run(scene.host, 1, await scene.announce(), b"x", wait_s=1.0)
    await scene.record(tail=("hello\n" * 400 + "world\n")[-1024:])
    lines = await collect(scene, follow=False)
    assert b"".join(line.data for line in lines) == b"hello\n" * 400 + b"world\n"
    assert {(line.node, line.step, line.attempt, line.note) for line in lines} == {(NODE, STEP, 1, "")}


async def test_following_brings_a_running_attempt_once_and_ends_with_the_job(scene: Scene) -> None:
    scene.node.behaviour = lambda _key, _script: (0.3, 0, b"0123456789" * 50)
    key = await scene.announce()
    following = asyncio.create_task(collect(scene, follow=True))
    await scene.executor.run(scene.host, 1, key, b"x", wait_s=5.0)
    await scene.record()
    await asyncio.sleep(0.05)
    following_ended = following.done()
    finish = Result(step="work.01.app.two", attempt=1, ending=Ending.CANCELLED)
    await scene.do(FinishAttempt, job=JOB, node=NODE, epoch=1, result=finish)
    lines = await asyncio.wait_for(following, 5.0)
    assert not following_ended
    assert b"".join(line.data for line in lines) == b"0123456789" * 50
    assert [line.offset for line in lines] == sorted({line.offset for line in lines})


async def test_a_node_that_cannot_be_read_gives_the_tail_that_is_kept_and_says_so(scene: Scene) -> None:
    await scene.executor.run(scene.host, 1, await scene.announce(), b"x", wait_s=1.0)
    await scene.record(tail=f"{'the end':>1023}\n")
    scene.executor.detach(ADDRESS)
    lines = await collect(scene, follow=False)
    assert [line.data for line in lines] == [b"the end\n".rjust(1024)]
    assert "the last part only" in lines[0].note


async def test_an_unknown_node_gives_nothing_and_a_discovery_has_no_log(scene: Scene) -> None:
    await scene.do(AddNode, node=NodeName("other"), endpoint=Endpoint(address="10.0.0.2"))
    assert [line async for line in scene.logs.follow(JOB, LogQuery(node=NodeName("other")))] == []
    assert [line async for line in scene.logs.follow(JobId("j-1"), LogQuery())] == []
