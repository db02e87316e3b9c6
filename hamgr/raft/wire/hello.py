"""What two replicas tell each other first on a connection, and what is made of it.

The certificate proves which replica speaks. The hello says with which data folder it runs, so that a replica
that lost its folder, or lives twice, is not taken for the one that has made promises (Raft's servers never
forget what they have synced).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hamgr.raft.protocol.membership import ReplicaId

TYPE = "hello"
PROTOCOL = 1
"""Raised when replicas of the version before could not understand; both sides must name the same."""
FOLDER_BYTES = 16
NONCE_BYTES = 16
COMMANDS_MAX = 512
TEXT_CHARS_MAX = 128


class BadHello(ValueError):
    """The peer is not who it should be, or not as it was; the message is half a sentence about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """One replica, in one run of its process.

    Attributes:
        folder: Random, made with the data folder.
        starts: How often a replica was started with that folder.
        nonce: Random, made with the process.
        version: Of hamgr, for people.
        commands: The names of the commands that it can obey.
    """

    cluster: str
    replica: ReplicaId
    folder: bytes
    starts: int
    nonce: bytes
    version: str
    commands: frozenset[str]

    def encode(self) -> dict[str, Any]:
        """Return the message."""
        return {
            "type": TYPE,
            "protocol": PROTOCOL,
            "cluster": self.cluster,
            "replica": self.replica,
            "folder": self.folder,
            "starts": self.starts,
            "nonce": self.nonce,
            "version": self.version,
            "commands": sorted(self.commands),
        }


def decode(message: Any) -> Hello:
    """Return what a peer's first message says.

    Raises:
        BadHello: It is no hello, or one of another protocol.
    """
    if type(message) is not dict or message.get("type") != TYPE:
        raise BadHello("it does not begin with a hello")
    if message.get("protocol") != PROTOCOL:
        raise BadHello(
            f"it speaks protocol {message.get('protocol')!a:.20}, we speak {PROTOCOL}; run versions that fit"
        )
    texts = [message.get(name) for name in ("cluster", "replica", "version")]
    folder, starts, nonce, commands = (
        message.get(name) for name in ("folder", "starts", "nonce", "commands")
    )
    if (
        not all(type(text) is str and len(text) <= TEXT_CHARS_MAX for text in texts)
        or type(folder) is not bytes
        or len(folder) != FOLDER_BYTES
        or type(nonce) is not bytes
        or len(nonce) != NONCE_BYTES
        or type(starts) is not int
        or not 0 <= starts < 1 << 62
        or type(commands) is not list
        or len(commands) > COMMANDS_MAX
        or not all(type(name) is str and len(name) <= TEXT_CHARS_MAX for name in commands)
    ):
        raise BadHello("its hello is malformed")
    return Hello(
        cluster=message["cluster"],
        replica=ReplicaId(message["replica"]),
        folder=folder,
        starts=starts,
        nonce=nonce,
        version=message["version"],
        commands=frozenset(commands),
    )


class Acquaintances:
    """What is known of every replica that was met, for as long as this process runs."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self.hellos: dict[ReplicaId, Hello] = {}

    def meet(self, hello: Hello, proven: str) -> None:
        """Take note of a replica whose certificate says `proven`.

        Raises:
            BadHello: It must not take part; nothing is noted.
        """
        if hello.cluster != self._cluster:
            raise BadHello(f"it belongs to cluster {hello.cluster!a}, not to {self._cluster}")
        if hello.replica != proven:
            raise BadHello(f"it says that it is {hello.replica!a}, and its certificate says {proven!a}")
        before = self.hellos.get(hello.replica)
        if before is not None:
            if hello.folder != before.folder:
                raise BadHello("it comes with another data folder than before; remove it and add it anew")
            same = (hello.starts, hello.nonce) == (before.starts, before.nonce)
            if not same and hello.starts <= before.starts:
                raise BadHello("a later start of it was seen: its data folder was copied or set back")
        self.hellos[hello.replica] = hello

    def forget_others_than(self, members: Iterable[ReplicaId]) -> None:
        """Forget whoever is not a member any more; it may come back as a new one."""
        for gone in self.hellos.keys() - set(members):
            del self.hellos[gone]
