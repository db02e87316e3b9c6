"""hamgr's side of the comparison: three real `hamgrd`, asked through their HTTP API like the peer."""

import json
import signal
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from tests.bench import etcd
from tests.bench.consensus_client import Address
from tests.cluster.harness import Cluster


class Side(Protocol):
    """One of the clusters that are compared; all are started when the bench begins, and stay up."""

    name: str
    members: Sequence[str]

    def address(self, member: str) -> Address: ...

    def pid(self, member: str) -> int: ...

    def leader(self) -> str:
        """Return the member that leads; empty when none is known to."""

    def prepare(self, keys: int) -> None:
        """Make what `write` and `read` are about."""

    def write(self, key: int, number: int, value: str) -> bytes:
        """Return a request that gives one of the keys a new value of about 100 bytes."""

    def read(self, key: int) -> bytes:
        """Return a request for a linearizable read of one key."""

    def kill(self, member: str) -> None:
        """SIGKILL; may return before the process is gone."""

    def revive(self, member: str) -> None:
        """Start a member that was killed; may return before it answers."""

    def wait_until_caught_up(self) -> None:
        """Return when all members answer and have applied what is committed."""


class Hamgr:
    """Three replicas; a key is a node, a write changes one of its variables, a read shows it."""

    name = "hamgr"

    def __init__(self, directory: Path) -> None:
        self.cluster = Cluster(directory / "hamgr")
        self.members: Sequence[str] = self.cluster.names
        self._addresses: dict[str, Address] = {}
        for plan in self.cluster.layout.replicas:
            where = urlsplit(plan.url)
            assert where.hostname is not None
            assert where.port is not None
            self._addresses[plan.name] = (where.hostname, where.port)
        self._run = uuid.uuid4().hex[:8]
        self._head = (
            f"HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self.cluster.layout.token}\r\n".encode()
        )

    def __enter__(self) -> Self:
        try:
            self.cluster.start()
        except BaseException:
            self.cluster.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cluster.stop()

    def address(self, member: str) -> Address:
        return self._addresses[member]

    def pid(self, member: str) -> int:
        return self.cluster.processes.pid(member)

    def leader(self) -> str:
        return self.cluster.leader()

    def prepare(self, keys: int) -> None:
        for key in range(keys):
            self.cluster.ask("POST", "/v1/nodes", {"name": _node(key), "address": "192.0.2.1"}).ok()

    def write(self, key: int, number: int, value: str) -> bytes:
        """Return a PATCH of one node, under an Idempotency-Key of its own."""
        return self.request(
            "PATCH",
            f"/v1/nodes/{_node(key)}",
            {"variables": {"value": f"{number:012d}{value}"}},
            key=f"{self._run}-{number}",
        )

    def read(self, key: int) -> bytes:
        return self.request("GET", f"/v1/nodes/{_node(key)}")

    def request(self, method: str, path: str, body: Any = None, *, key: str = "") -> bytes:
        """Return any request, ready to be sent on a kept connection."""
        head = f"{method} {path} ".encode() + self._head
        if body is None:
            return head + b"\r\n"
        data = json.dumps(body).encode()
        return b"%bIdempotency-Key: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
            *(head, key.encode()),
            *(len(data), data),
        )

    def kill(self, member: str) -> None:
        self.cluster.processes.signal_replica(member, signal.SIGKILL)

    def revive(self, member: str) -> None:
        self.cluster.wait(f"the end of {member}", lambda: self.cluster.processes.ended(member) is not None)
        self.cluster.processes.start_replica(member)

    def wait_until_caught_up(self) -> None:
        self.cluster.wait("agreement of all replicas", self._is_caught_up)

    def ready(self, member: str) -> bool:
        """Say whether a replica can work."""
        return self.cluster.on(member, "GET", "/readyz", timeout_s=1.0).status == 200

    def applied(self, member: str) -> int:
        """Return the index that a replica has applied; -1 when it does not answer."""
        answer = self.cluster.on(member, "GET", "/v1/replica", timeout_s=1.0)
        return int(answer.body["applied_index"]) if answer.status == 200 else -1

    def folder(self, member: str) -> Path:
        """Return where a replica keeps its data."""
        return self.cluster.directory / member

    def _is_caught_up(self) -> bool:
        applied = {self.applied(member) for member in self.members}
        return len(applied) == 1 and applied != {-1} and all(map(self.ready, self.members))


def _node(key: int) -> str:
    return f"node-{key:03d}"


@contextmanager
def sides(directory: Path, *, alone: bool) -> Iterator[Mapping[str, Side]]:
    """Run the clusters; `alone` leaves the peer out."""
    with ExitStack() as stack:
        found: dict[str, Side] = {}
        if not alone:
            peer = stack.enter_context(etcd.Etcd(directory))
            found[peer.name] = peer
        own = stack.enter_context(Hamgr(directory))
        found[own.name] = own
        yield found
