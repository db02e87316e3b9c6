"""What the rules of this room need to know of a replica, so that each can be tested without one."""

from collections import Counter
from typing import Protocol

from hamgr.raft.protocol.membership import Configuration, ReplicaId
from hamgr.raft.protocol.messages import Message

LogEntry = tuple[bytes, int, int]
"""Command, index, term."""


class Log(Protocol):
    """The entries that a replica has, the first of which stands for all before it."""

    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...
    @property
    def last_term(self) -> int: ...

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at `index`; None when it is not there."""

    def entries_from(self, index: int, bytes_max: int, count_max: int) -> list[LogEntry]:
        """Return entries from `index` on: at least one if there is one, then as many as the bounds allow."""


class Raft(Protocol):
    """One replica."""

    counters: Counter[str]

    @property
    def me(self) -> ReplicaId: ...
    @property
    def term(self) -> int: ...
    @property
    def leads(self) -> bool: ...
    @property
    def leader(self) -> ReplicaId | None: ...
    @property
    def commit(self) -> int: ...
    @property
    def log(self) -> Log: ...
    @property
    def configuration(self) -> Configuration: ...

    def now(self) -> float:
        """Return the clock's seconds; they never go back."""

    def is_up(self, peer: ReplicaId) -> bool:
        """Say whether there is a link to `peer`."""

    def send(self, to: ReplicaId, message: Message) -> None:
        """Send at once: the message promises nothing that a crash could take back."""
