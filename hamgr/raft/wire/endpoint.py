"""One replica's end of its links: who it is, its certificates, whom it knows, and what has happened."""

import random
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hamgr.raft.port import CannotStart
from hamgr.raft.protocol.membership import Member, ReplicaId
from hamgr.raft.wire.channel import Channel
from hamgr.raft.wire.hello import Acquaintances, Hello
from hamgr.raft.wire.tls import RENEW, Credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """All times in seconds.

    Attributes:
        connect_timeout_s: For a TCP connection and its TLS handshake, when we dial.
        welcome_timeout_s: For a stranger to prove who it is, and for a peer to answer our hello.
        retry_s_min, retry_s_max: The pause before dialling again doubles from one to the other.
        strangers_max: Connections that have not proved who they are; beyond that the oldest is closed. There
            are as many again for those that come from hosts of members.
        buffer_bytes_max: What may wait to be sent to one peer; beyond that the link is cut.
    """

    connect_timeout_s: float = 1.0
    welcome_timeout_s: float = 2.0
    retry_s_min: float = 0.05
    retry_s_max: float = 1.0
    strangers_max: int = 64
    buffer_bytes_max: int = 64 * 1024 * 1024


class Endpoint:
    """What the listening side and the diallers share.

    Attributes:
        members: Whom we dial and let in.
        receive, up, down: The owner's, as `Links` has them.
        expires_at: When our certificate runs out, in seconds since 1970.
    """

    server_tls: ssl.SSLContext
    client_tls: ssl.SSLContext
    expires_at: float

    def __init__(
        self,
        own: Hello,
        credentials: Credentials,
        settings: LinkSettings,
        *,
        receive: Callable[[ReplicaId, Any], None],
        up: Callable[[ReplicaId], None],
        down: Callable[[ReplicaId, bool], None],
    ) -> None:
        """Raise `CannotStart` when the credentials cannot be used."""
        self.own = own
        self.settings = settings
        self.counters: Counter[str] = Counter()
        self.members: Mapping[ReplicaId, Member] = {}
        self.acquaintances = Acquaintances(own.cluster)
        self.receive, self.up, self.down = receive, up, down
        self.use(credentials)

    def use(self, credentials: Credentials) -> None:
        """Take these for new connections; raises `CannotStart`, and then nothing has changed."""
        found = credentials.identity()
        if (found.cluster, found.id) != (self.own.cluster, self.own.replica):
            raise CannotStart(
                f"{credentials.certificate} is for replica {found.id} of cluster {found.cluster}, "
                f"but this is {self.own.replica} of {self.own.cluster}; {RENEW}"
            )
        server, client = credentials.server_context(), credentials.client_context()
        self.server_tls, self.client_tls = server, client
        self.expires_at = found.not_after.timestamp()

    def is_host_of_a_member(self, host: str) -> bool:
        """Say whether a member is expected at this IP address."""
        return any(member.raft.rpartition(":")[0].strip("[]") == host for member in self.members.values())

    def pause_s(self, attempt: int) -> float:
        """Return how long to wait before dialling for the `attempt`th time without success."""
        settings = self.settings
        longest = min(settings.retry_s_max, settings.retry_s_min * 2.0 ** min(attempt - 1, 16))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads attempts, guards nothing

    def refuse(self, channel: Channel, reason: str, what: str) -> None:
        """Tell a peer why it is not let in, and close."""
        self.counters[reason] += 1
        channel.send({"type": "goodbye", "reason": what})
        channel.close()
