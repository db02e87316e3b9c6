"""What the API's tests stand on: replicas in this process, real HTTP servers on loopback, a client."""

import asyncio
import contextlib
import hashlib
import io
import itertools
import tarfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp

from backends.blobs import BlobStore
from backends.ports import NodeExecutor
from hamgr import api
from hamgr.bundles import load
from hamgr.jobs.adhoc import Adhoc
from hamgr.logs.masking import Mask
from hamgr.raft.figures import Figures
from hamgr.raft.port import Leadership, Membership, NoLeader, NotCommitted, OutcomeUnknown, Peer, Replica
from hamgr.raft.protocol.membership import ChangeRefused, Configuration, Member, ReplicaId
from statemachine import machine
from statemachine.commands import AddNode, ClaimTask
from statemachine.discovery_commands import ReportSighting, Sighting, SubmitDiscovery
from statemachine.model import Endpoint, Event, State
from tests.hamgr.api.fakes import FakeLogs, FakeLookout, FakeNodes

TOKEN = "t" * 40
TOKENS = {"operator": TOKEN, "bob": "b" * 40}
NOW = 1_700_000_000.0


class Clock:
    """A clock that stands still."""

    ahead_s = 0.0

    def now(self) -> float:
        return NOW + self.ahead_s


class Cluster:
    """One log, applied by every replica at once; a replica can be told to misbehave."""

    def __init__(self) -> None:
        self.state = State(cluster="testcluster")
        self.version = 0
        self.term = 1
        self.leader = "r1"
        self.moved = asyncio.Event()

    def bump(self) -> None:
        self.version += 1
        self.moved.set()
        self.moved = asyncio.Event()

    def apply(self, command: Any) -> Any:
        self.state, outcome = machine.apply(self.state, command)
        self.bump()
        return outcome


class LocalReplica:
    """A `Replica` over the shared log."""

    def __init__(self, cluster: Cluster, name: str = "r1") -> None:
        self.cluster = cluster
        self.name = name
        self.peers: tuple[Peer, ...] = ()
        self.fault = ""
        self.frozen: State | None = None
        self.staleness_s: float | None = 0.0
        self.more: dict[str, Any] = {}

    @property
    def state(self) -> State:
        return self.frozen or self.cluster.state

    @property
    def version(self) -> int:
        return self.cluster.version

    @property
    def leadership(self) -> Leadership:
        leader = self.cluster.leader
        return Leadership(term=self.cluster.term, leader=leader, leads=leader == self.name)

    @property
    def figures(self) -> Figures:
        leadership = self.leadership
        return Figures(
            term=leadership.term,
            leader=leadership.leader,
            leads=leadership.leads,
            staleness_s=self.staleness_s,
            **self.more,
        )

    async def propose(self, command: Any, *, timeout_s: float) -> Any:
        if self.fault == "not-committed":
            raise NotCommitted("no leader took the command")
        if self.fault == "unknown-before":
            raise OutcomeUnknown("no answer in time")
        if self.fault == "bug":
            raise ZeroDivisionError("secret details")
        outcome = self.cluster.apply(command)
        if self.fault == "unknown-after":
            raise OutcomeUnknown("no answer in time")
        return outcome

    async def read(self, *, timeout_s: float) -> State:
        if not self.cluster.leader:
            raise NoLeader("no leader was found in time")
        return self.cluster.state

    async def changed(self, version: int) -> int:
        while self.version == version:
            await self.cluster.moved.wait()
        return self.version

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class NoMembers:
    """The members of a shared log: nobody asks for them but the tests of `replicas`, which have real ones."""

    configuration = Configuration()
    settled = True

    async def add_learner(self, member: Member, *, timeout_s: float) -> None:
        raise ChangeRefused("a shared log has no members")

    async def promote(self, replica: ReplicaId, *, timeout_s: float) -> None:
        raise ChangeRefused("a shared log has no members")

    async def remove(self, replica: ReplicaId, *, timeout_s: float) -> None:
        raise ChangeRefused("a shared log has no members")

    async def transfer(self, to: ReplicaId | None, *, timeout_s: float) -> None:
        raise ChangeRefused("a shared log has no members")


@dataclass
class Server:
    url: str
    replica: LocalReplica
    logs: FakeLogs
    lookout: FakeLookout
    nodes: FakeNodes
    blobs: BlobStore
    session: aiohttp.ClientSession
    clock: Clock = field(default_factory=Clock)

    @property
    def state(self) -> State:
        return self.replica.cluster.state

    async def call(
        self, method: str, path: str, body: Any = None, **kwargs: Any
    ) -> tuple[int, Any, aiohttp.typedefs.LooseHeaders]:
        if body is not None:
            kwargs["json"] = body
        async with self.session.request(method, self.url + path, **kwargs) as answer:
            is_json = "json" in answer.content_type
            return answer.status, await answer.json() if is_json else await answer.read(), answer.headers


def context(
    replica: Replica,
    blobs: BlobStore,
    logs: FakeLogs,
    limits: api.Limits,
    *,
    members: Membership | None = None,
    lookout: FakeLookout | None = None,
    nodes: FakeNodes | None = None,
    clock: Clock | None = None,
    **more: Any,
) -> api.ApiContext:
    numbers = itertools.count(1)
    return api.ApiContext(
        replica=replica,
        members=members or NoMembers(),
        blobs=blobs,
        load_bundle=load,
        logs=logs,
        lookout=lookout or FakeLookout(),
        adhoc=Adhoc(executor=cast("NodeExecutor", nodes or FakeNodes())),
        token=TOKEN,
        actors={hashlib.sha256(text.encode()).digest(): actor for actor, text in TOKENS.items()},
        name=replica.name,
        version="0.0.test",
        clock=clock or Clock(),
        new_request_id=lambda: f"{replica.name}-{next(numbers)}",
        limits=limits,
        **more,
    )


@contextlib.asynccontextmanager
async def serving(
    path: Path,
    cluster: Cluster,
    name: str = "r1",
    limits: api.Limits | None = None,
    prepare: Callable[[LocalReplica], None] = lambda replica: None,
    **more: Any,
) -> AsyncIterator[Server]:
    replica, logs, lookout, nodes = LocalReplica(cluster, name), FakeLogs(), FakeLookout(), FakeNodes()
    prepare(replica)
    blobs = BlobStore(path / name)
    clock = Clock()
    app = api.build_app(
        context(
            replica, blobs, logs, limits or api.Limits(), lookout=lookout, nodes=nodes, clock=clock, **more
        )
    )
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        api.serving(app, "127.0.0.1:0") as url,
        aiohttp.ClientSession(headers=headers) as session,
    ):
        yield Server(url, replica, logs, lookout, nodes, blobs, session, clock)


def link(*servers: Server) -> None:
    """Make the servers know each other."""
    for one in servers:
        one.replica.peers = tuple(
            Peer(name=s.replica.name, api=s.url, connected=True) for s in servers if s is not one
        )


_ids = itertools.count(1)


def rid() -> str:
    return f"setup-{next(_ids)}"


def discovered(cluster: Cluster, *names: str) -> None:
    """Have nodes that were discovered, bypassing HTTP."""
    for name in names:
        cluster.apply(
            AddNode(
                request_id=rid(), at=NOW, actor="test", node=name, endpoint=Endpoint(address=f"{name}.test")
            )
        )
        sight(cluster, name)


def sight(cluster: Cluster, name: str, facts: dict[str, Any] | None = None) -> None:
    """Have a node be seen by a discovery of its own."""
    endpoint = Endpoint(address=f"{name}.test")
    found = cluster.apply(SubmitDiscovery(request_id=rid(), at=NOW, actor="test", endpoints=(endpoint,)))
    sight_in(cluster, found.ref, name, facts)


def sight_in(cluster: Cluster, job: str, name: str, facts: dict[str, Any] | None = None) -> None:
    """Have a node be seen by a discovery that runs."""
    endpoint = Endpoint(address=f"{name}.test")
    sighting = Sighting(
        endpoint=endpoint,
        name=name,
        machine_id=f"machine-{name}",
        host_key=f"ssh-ed25519 {name}",
        epoch=0,
        facts=facts or {"os": "Debian", "cpus": 2},
    )
    cluster.apply(
        ReportSighting(request_id=rid(), at=NOW, actor="test", job=job, task=str(endpoint), sighting=sighting)
    )


def claim(cluster: Cluster, job: str, *nodes: str) -> None:
    """Have a leader begin a job's tasks."""
    for node in nodes:
        cluster.apply(ClaimTask(request_id=rid(), at=NOW, actor="r1", job=job, node=node, claimant="r1/1"))


BUNDLE = {
    "hamgr.yaml": """version: 1
variables: {port: 8080}
roles:
  web:
    components: [web]
  gateway:
    components: [web]
    requires:
      - {role: web, min: 1}
""",
    "components/web/component.yaml": """version: "1.0"
commission:
  - name: page
    file: {path: /srv/index.html, content: "hello"}
""",
}


def archive(files: dict[str, str] | None = None) -> bytes:
    """Return a tar of `files`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in (files or BUNDLE).items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


def event(index: int, message: str) -> Event:
    """Return an event as the state keeps them."""
    return Event(index=index, part=0, at=NOW, kind="test", subject="s", message=message)


def mask(*secrets: str) -> Mask:
    return Mask(secrets)
