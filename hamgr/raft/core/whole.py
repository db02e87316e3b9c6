"""What the parts of a core may ask of the whole, so that they need not know each other."""

from collections.abc import Callable
from typing import Protocol

from hamgr.raft.core.library import Library
from hamgr.raft.protocol.configurations import Configurations
from hamgr.raft.protocol.election import Election
from hamgr.raft.protocol.membership import Configuration, ReplicaId
from hamgr.raft.protocol.raft import Raft
from hamgr.raft.protocol.replication import Replicator
from hamgr.raft.store.journal import Journal


class Whole(Raft, Protocol):
    """One replica's core, as `core.Core` is one.

    Attributes:
        renounced: Why it never leads again; empty when it may.
        configurations: Those that are in force, or may be in force again.
    """

    renounced: str
    configurations: Configurations

    @property
    def applied(self) -> int: ...
    @property
    def configuration_index(self) -> int: ...
    @property
    def log(self) -> Journal: ...
    @property
    def library(self) -> Library: ...
    @property
    def election(self) -> Election: ...
    @property
    def replicator(self) -> Replicator: ...

    def lag(self, peer: ReplicaId) -> int | None:
        """Return how many entries `peer` lacks; None when we do not lead or do not know."""

    def next_at(self) -> float:
        """Return when a turn is due, if nothing comes before."""

    def adopt_configuration(self) -> None:
        """Act on the configuration that is in force now."""

    def change(self, after: Configuration, answer: Callable[[str], None], *, fenced: bool = False) -> None:
        """Bring a new configuration about; see `Clients.change`."""
