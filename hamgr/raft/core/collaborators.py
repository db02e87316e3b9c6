"""What a core is given: links to the other replicas, and somebody who keeps the state."""

from collections.abc import Mapping
from typing import Protocol

from hamgr.raft.protocol.membership import Member, ReplicaId
from hamgr.raft.protocol.messages import Message
from statemachine.model import State


class Network(Protocol):
    """The links to the other replicas."""

    def send(self, to: ReplicaId, message: Message) -> None:
        """Send, in order; drop it when there is no link."""

    def reconcile(self, members: Mapping[ReplicaId, Member]) -> None:
        """Keep links to these replicas, let them in, and nobody else."""


class Machine(Protocol):
    """Whoever keeps the state."""

    def obey(self, index: int, entry: bytes) -> bool:
        """Apply a command; False: it is of a later version, and nothing after it can be applied."""

    def passed(self, index: int) -> None:
        """Note an entry that is no command."""

    def restore(self, state: State, index: int) -> None:
        """Take a snapshot's state in place of everything up to `index`."""

    def take_digest(self, sender: ReplicaId, index: int, digest: bytes) -> None:
        """Note what another replica's state at `index` hashes to."""
