"""The other members as one replica sees them: names, links, and what they can obey."""

from collections.abc import Container, Mapping
from typing import Any

from hamgr.raft.port import Peer
from hamgr.raft.protocol import messages
from hamgr.raft.protocol.membership import Member, ReplicaId
from hamgr.raft.protocol.messages import Message
from hamgr.raft.wire.hello import Hello
from statemachine import codec


class Roster:
    """Written by the thread of consensus, read by any.

    Attributes:
        peers: Sorted by name.
        known: The commands that this replica and all that are connected can obey.
    """

    def __init__(self, me: ReplicaId, name: str) -> None:
        self.peers: tuple[Peer, ...] = ()
        self.known = codec.COMMAND_NAMES
        self._me = me
        self._name = name
        self._members: Mapping[ReplicaId, Member] = {}
        self._earlier: Mapping[str, frozenset[str]] = {}

    def adopt(self, members: Mapping[ReplicaId, Member]) -> None:
        """Take over who the others are; `look` publishes it."""
        self._members = dict(members)

    def look(self, up: Container[ReplicaId], hellos: Mapping[ReplicaId, Hello]) -> None:
        """Publish who is connected, and what all of them know."""
        members = sorted(self._members.values(), key=lambda member: member.name)
        self._earlier = {
            member.name: frozenset(hellos[member.id].commands)
            for member in members
            if member.id in up and member.id in hellos
        }
        self.known = codec.COMMAND_NAMES.intersection(*self._earlier.values())
        self.peers = tuple(
            Peer(name=member.name, api=member.api, connected=member.id in up) for member in members
        )

    def gone(self) -> None:
        """Publish that this replica takes part in nothing."""
        self.look((), {})

    def name_of(self, replica: ReplicaId | None) -> str:
        """Return a member's name; empty for nobody and for strangers."""
        if replica == self._me:
            return self._name
        member = None if replica is None else self._members.get(replica)
        return "" if member is None else member.name

    def refusal_of(self, entry: bytes) -> str:
        """Say why an entry must not get into the log yet; empty when it may."""
        name = codec.command_name(entry)
        if not name or name in self.known:
            return ""
        without = sorted(peer for peer, commands in self._earlier.items() if name not in commands)
        if name not in codec.COMMAND_NAMES:
            without = [self._name]
        return f"{' and '.join(without)} cannot obey {name}, being of an earlier version; upgrade it first"

    def answer_to(self, message: Any) -> Message | None:
        """Return the answer to a peer's proposal that must not get into the log yet; None to all else.

        Raises:
            messages.BadMessage: It is malformed.
        """
        if type(message) is not dict or message.get("type") != "propose":
            return None
        checked = messages.check(message)
        if checked is None or not self.refusal_of(checked["entry"]):
            return None
        return {"type": "propose_answer", "request": checked["request"], "taken": False}
