"""What the tests of the wire share: certificates, replicas that note what they are told, and strangers."""

import asyncio
import contextlib
import random
import socket
import ssl
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hamgr.raft.protocol.membership import Member, ReplicaId
from hamgr.raft.wire.endpoint import LinkSettings
from hamgr.raft.wire.hello import Hello
from hamgr.raft.wire.links import Links
from hamgr.raft.wire.tls import Credentials
from hamgr.security.authority import Authority, Issued
from tests.ports import free_ports

QUICK = LinkSettings(welcome_timeout_s=0.6, retry_s_max=0.2, strangers_max=16)
EXPIRED = {
    "not_before": datetime.now(UTC) - timedelta(days=9),
    "not_after": datetime.now(UTC) - timedelta(days=1),
}
NOT_YET = {"not_before": datetime.now(UTC) + timedelta(days=1)}
FOLDER = b"f" * 16


class Certificates:
    """The authority of a cluster, a foreign one that calls itself the same, and what they sign."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ours = Authority.create("test")
        self.foreign = Authority.create("test")
        for name, authority in (("ours", self.ours), ("foreign", self.foreign)):
            (folder / name).mkdir()
            authority.save(folder / name)
        self._made: dict[str, Credentials] = {}

    def save(self, issued: Issued, *, ca: str = "ours") -> Credentials:
        name = uuid.uuid4().hex
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        issued.save(certificate, key)
        return Credentials(ca=self.folder / ca / "ca.crt", certificate=certificate, key=key)

    def replica(self, replica: str) -> Credentials:
        """The credentials of a replica; the same ones when asked again."""
        if replica not in self._made:
            self._made[replica] = self.save(self.ours.issue_replica("r", replica))
        return self._made[replica]


def member(name: str) -> Member:
    """A new member on a loopback port that was free a moment ago."""
    return Member(id=ReplicaId(str(uuid.uuid4())), name=name, raft=f"127.0.0.1:{free_ports(1)[0]}")


class Replica:
    """Links, with what they told their owner."""

    def __init__(
        self,
        certificates: Certificates,
        me: Member,
        *,
        starts: int = 1,
        folder: bytes = FOLDER,
        address: str = "",
        settings: LinkSettings = QUICK,
    ) -> None:
        self.me = me
        self.received: list[tuple[ReplicaId, object]] = []
        self.events: list[tuple[str, ReplicaId]] = []
        self.answers = False
        self.hello = Hello(
            cluster="test",
            replica=me.id,
            folder=folder,
            starts=starts,
            nonce=random.randbytes(16),
            version="1",
            commands=frozenset({"AddNode"}),
        )
        self.links = Links(
            own=self.hello,
            address=address or me.raft,
            credentials=certificates.replica(me.id),
            receive=self._receive,
            up=lambda peer: self.events.append(("up", peer)),
            down=lambda peer, refused: self.events.append(("refused" if refused else "down", peer)),
            settings=settings,
        )

    def _receive(self, sender: ReplicaId, message: object) -> None:
        self.received.append((sender, message))
        if message == "bad":
            raise ValueError("this is not a message")
        if self.answers:
            self.links.send(sender, {"type": "answer"})

    def count(self, event: str, peer: Member) -> int:
        return self.events.count((event, peer.id))

    def know(self, *peers: Member) -> None:
        self.links.reconcile({peer.id: peer for peer in peers if peer.id != self.me.id})


async def until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    """Return once `condition` holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.002)


async def talk(one: Replica, other: Replica) -> None:
    """Assert that each can tell the other something, now."""
    for here, there in ((one, other), (other, one)):
        said = {"type": "said", "number": random.getrandbits(50)}
        here.links.send(there.me.id, said)
        await until(lambda said=said, here=here, there=there: (here.me.id, said) in there.received, 2.0)


def context(
    credentials: Credentials | None, *, tls: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    """What somebody else might dial with."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.maximum_version = tls
    if credentials is not None:
        made.load_cert_chain(credentials.certificate, credentials.key)
    return made


def knock(
    address: str, tls: ssl.SSLContext | None, *parts: bytes, pause_s: float = 0.0, ends: bool = False
) -> bytes:
    """Connect, send, and return what came until the other side closed; blocking.

    Args:
        pause_s: Before each part but the first.
        ends: Close after the last part instead of waiting.

    Raises:
        TimeoutError: The other side did not close.
    """
    host, _, port = address.rpartition(":")
    heard = b""
    with socket.create_connection((host, int(port)), timeout=5) as plain:
        connection = plain if tls is None else tls.wrap_socket(plain)
        with connection:
            connection.settimeout(5)
            with contextlib.suppress(ConnectionError, ssl.SSLError, BrokenPipeError):
                for number, part in enumerate(parts):
                    time.sleep(pause_s if number else 0)
                    connection.sendall(part)
                while not ends and (data := connection.recv(65_536)):
                    heard += data
    return heard
