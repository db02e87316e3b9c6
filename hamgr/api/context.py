"""What the API is given: its collaborators and its limits; it makes none of them itself."""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from hamgr.backup.files import Kept
from hamgr.bundles import LoadedBundle
from hamgr.clock import Clock
from hamgr.jobs.adhoc import Ran
from hamgr.jobs.sights import NodeSeen
from hamgr.logs.asking import LogLine, LogQuery
from hamgr.logs.figures import LogFigures
from hamgr.logs.pieces import Attempt
from hamgr.raft.port import Membership, Replica
from statemachine.model import Job, State
from statemachine.words import Digest, JobId, NodeName


class VirtualAddress(Protocol):
    """This replica's part in the address that follows the leader."""

    @property
    def figures(self) -> Mapping[str, float]: ...

    @property
    def summary(self) -> dict[str, Any]:
        """`addresses`, whether they are `held` here, and the `trouble` if there is one."""

    def check(self, local: str) -> None:
        """Return when a request to the address `local` may be answered; else `ConnectionAbortedError`."""

    def view(self) -> dict[str, Any]:
        """Return what this replica knows, as JSON."""


class Steering(Protocol):
    """What sees to the voters while this replica leads; see `hamgr.autopilot`."""

    @property
    def dead_s(self) -> float:
        """After such a silence a voter may be let go."""

    def reasons(self) -> Mapping[str, str]:
        """Return in words why replicas are what they are, and what they wait for, by name."""


class Admission(Protocol):
    """What a replica needs to let another machine join; see `hamgr.admission`."""

    @property
    def certificate_pem(self) -> bytes:
        """The authority's certificate."""

    @property
    def fingerprint(self) -> str:
        """Its SHA-256."""

    def sign(self, key: ec.EllipticCurvePublicKey, name: str, replica: str) -> bytes:
        """Return a replica's certificate in PEM form."""

    def dowry(self) -> dict[str, Any]:
        """Return what all replicas have alike, secrets included, as JSON.

        Raises:
            OSError: A file cannot be read.
        """


class Blobs(Protocol):
    """The replica's own store of bundles; calls block on the disk, errors are `backends.blobs.BlobError`."""

    def put(self, digest: Digest, data: bytes) -> None: ...

    def get(self, digest: Digest) -> bytes: ...

    def has(self, digest: Digest) -> bool: ...


class Looks(Protocol):
    """Looks at the nodes of a job that has not begun; see `jobs.lookout`."""

    async def look(
        self, state: State, job: Job, *, timeout_s: float, looked: Callable[[], None]
    ) -> list[NodeSeen]: ...


class JobLogs(Protocol):
    """What the attempts of a job printed."""

    @property
    def figures(self) -> LogFigures: ...

    def follow(self, job: JobId, query: LogQuery) -> AsyncIterator[LogLine]:
        """Yield what there is; with `follow`, go on until the job has ended."""

    async def stored(self, wanted: Sequence[Attempt]) -> bytes:
        """Return the records that this replica has of `wanted`, one after the other."""


class Commands(Protocol):
    """Runs one command on many nodes, outside of any job; see `jobs.adhoc`."""

    def run(
        self,
        state: State,
        nodes: Sequence[NodeName],
        script: bytes,
        *,
        timeout_s: float,
        output_bytes_max: int,
        at_once: int,
    ) -> AsyncGenerator[list[Ran]]: ...


class Probes(Protocol):
    """Looks whether nodes answer, as seen from this replica; see `presence`."""

    async def probe(self, nodes: Sequence[NodeName]) -> tuple[list[NodeName], dict[NodeName, str]]: ...


class Fencing(Protocol):
    """The tests of this replica's fencing command; see `hamgr.fencing.drill`."""

    @property
    def failure(self) -> str:
        """What the last test said, if it failed."""

    @property
    def passed_at(self) -> float | None:
        """When a test went well last, in Unix seconds."""

    def view(self) -> dict[str, Any]: ...

    async def test(self) -> list[dict[str, Any]]:
        """Test it on every other voter now."""


class Backups(Protocol):
    """The backups that this replica makes; see `backup.service`."""

    @property
    def summary(self) -> dict[str, Any]: ...

    def view(self) -> dict[str, Any]:
        """Return those there are; reads the disk."""

    async def make(self) -> Kept: ...


class SelfUpgrade(Protocol):
    """This replica's part in upgrades of hamgr; see `upgrade.service`."""

    @property
    def waits(self) -> str: ...

    def about(self) -> dict[str, Any]:
        """Return what it runs, and what keeps it from running another release; blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of everything one replica gives to its callers."""

    json_bytes_max: int = 1024 * 1024
    bundle_bytes_max: int = 8 * 1024 * 1024
    blob_bytes_max: int = 32 * 1024 * 1024
    body_timeout_s: float = 30.0
    """How long a caller may take to send a body."""
    header_timeout_s: float = 20.0
    """How long a connection may take to send the next request's head."""
    propose_timeout_s: float = 8.0
    read_timeout_s: float = 5.0
    peer_timeout_s: float = 2.0
    blob_peer_timeout_s: float = 10.0
    blob_grace_s: float = 1.0
    """How long a push waits for the remaining replicas once a quorum has the bytes."""
    heartbeat_s: float = 15.0
    slow_reader_s: float = 20.0
    """A stream whose reader takes nothing for this long is closed."""
    streams_max: int = 256
    ready_staleness_s_max: float = 10.0
    """A replica whose state may be older is not ready: it would hold readers up, or tell old news."""
    look_timeout_s: float = 45.0
    """How long a plan may look at its nodes; those that are left then are told."""
    look_node_s: float = 0.4
    """What is added for each node where the caller is told how far it is; a silent one takes 20 s of 64."""
    contact_age_s_max: float = 0.5
    """A leader is healthy as long as its majority was heard of so lately."""
    wait_s_max: float = 30.0
    """The longest that a request may ask to be held until something changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """The collaborators of one replica's API.

    Attributes:
        load_bundle: Checks an uploaded archive, or raises `BundleInvalid`; it blocks.
        token: What this replica shows to other replicas.
        actors: Who the caller is, by the SHA-256 of their token.
        name: This replica's.
        api: Base URL under which others reach this replica; empty when it does not know.
        peer_tls: For calls to other replicas; None for plain HTTP on loopback.
        doctor: Looks at this replica and its machine; blocks.
        admission: None when the authority's key is not here.
        autopilot: None when voters are made and unmade by operators alone.
        backups: None when this replica makes none.
        fencing: None when this replica has no fencing command.
        contact_age_s: How long ago this leader's majority was heard of; None: it does not lead.
    """

    replica: Replica
    members: Membership
    blobs: Blobs
    load_bundle: Callable[[bytes], LoadedBundle]
    logs: JobLogs
    lookout: Looks
    adhoc: Commands
    token: str = field(repr=False)
    actors: Mapping[bytes, str] = field(repr=False)
    name: str
    version: str
    clock: Clock
    new_request_id: Callable[[], str]
    api: str = ""
    presence: Probes | None = None
    peer_tls: ssl.SSLContext | None = None
    vip: VirtualAddress | None = None
    upgrade: SelfUpgrade | None = None
    admission: Admission | None = None
    autopilot: Steering | None = None
    backups: Backups | None = None
    fencing: Fencing | None = None
    doctor: Callable[[], Sequence[Mapping[str, Any]]] = tuple
    contact_age_s: Callable[[], float | None] = lambda: None
    limits: Limits = field(default_factory=Limits)


CONTEXT: web.AppKey[ApiContext] = web.AppKey("context", ApiContext)


def context_of(request: web.Request) -> ApiContext:
    """Return what the application was built with."""
    return request.app[CONTEXT]
