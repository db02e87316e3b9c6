"""The other replicas as a core needs them: whom to keep links to, and who has to know whom."""

from hamgr.raft.core.collaborators import Network
from hamgr.raft.core.whole import Whole
from hamgr.raft.protocol import membership
from hamgr.raft.protocol.membership import Configuration, ReplicaId


class Peers:
    """The peers of one replica.

    Attributes:
        up: Those that there is a link to.
    """

    def __init__(self, core: Whole, network: Network) -> None:
        self.up: set[ReplicaId] = set()
        self._core = core
        self._network = network
        self._later: tuple[int, Configuration] = (-1, Configuration())

    def make_acquainted(self, configuration: Configuration, index: int) -> None:
        """Let in whom a later configuration names; who votes is for the log alone to say."""
        if index > max(self._later[0], self._core.configuration_index):
            self._later = (index, configuration)
            self.reconcile()

    def introduce(self, peer: ReplicaId) -> None:
        """Tell a peer whom to let in: who was away may be led by somebody it has never heard of."""
        core = self._core
        known = membership.encode(core.configuration)
        core.send(peer, {"type": "members", "index": core.configuration_index, "configuration": known})

    def reconcile(self) -> None:
        """Keep links to whom any configuration names that is in force, or may be in force again."""
        core, (index, later) = self._core, self._later
        named = [core.configurations.at(core.commit), core.configuration]
        if index > core.configuration_index:
            named.append(later)
        known = {member.id: member for configuration in named for member in configuration.members}
        known.pop(core.me, None)
        self._network.reconcile(known)
