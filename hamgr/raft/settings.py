"""What one replica needs to know, and the relations between its timers without which it must not run."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from hamgr.raft.protocol.membership import Configuration, ReplicaId
from hamgr.raft.wire.endpoint import LinkSettings
from hamgr.raft.wire.tls import Credentials

HEARTBEATS_LOST_MIN = 3
"""A follower must miss more than this many heartbeats before it may doubt its leader."""
TIMER_S_MAX = 60.0
SNAPSHOT_ENTRIES_MIN = 8


class InvalidSettings(ValueError):
    """A setting that a replica must not run with; the message names it and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timers:
    """When a silence means something; all in seconds. The defaults suit a LAN and busy hosts.

    Attributes:
        heartbeat_s: How often an idle leader speaks; news are sent at once.
        election_s_min, election_s_max: A follower that hears nothing for a random time between them asks
            whether it may lead (Raft, section 5.2). They must be many times a round trip and a sync.
        quorum_lost_s: A leader that hears no majority for this long steps down.

    Raises:
        InvalidSettings: On construction, when they cannot work together.
    """

    heartbeat_s: float = 0.05
    election_s_min: float = 0.2
    election_s_max: float = 0.4
    quorum_lost_s: float = 0.4

    def __post_init__(self) -> None:
        if not self.heartbeat_s > 0:
            raise InvalidSettings(f"timers: heartbeat_s is {self.heartbeat_s:g}; it must be more than 0")
        if not self.heartbeat_s * HEARTBEATS_LOST_MIN < self.election_s_min:
            raise InvalidSettings(
                f"timers: election_s_min is {self.election_s_min:g}; "
                f"it must be more than {HEARTBEATS_LOST_MIN} times heartbeat_s ({self.heartbeat_s:g})"
            )
        if not self.election_s_min * 1.25 <= self.election_s_max <= TIMER_S_MAX:
            raise InvalidSettings(
                f"timers: election_s_max is {self.election_s_max:g}; it must be between 1.25 times "
                f"election_s_min ({self.election_s_min:g}) and {TIMER_S_MAX:g}, or votes are split too often"
            )
        if not self.election_s_min <= self.quorum_lost_s <= TIMER_S_MAX:
            raise InvalidSettings(
                f"timers: quorum_lost_s is {self.quorum_lost_s:g}; "
                f"it must be between election_s_min ({self.election_s_min:g}) and {TIMER_S_MAX:g}"
            )

    @property
    def stall_s(self) -> float:
        """A loop that is late by more than this endangers leadership: half the least election time-out."""
        return self.election_s_min / 2


def check_address(what: str, address: str) -> None:
    """Return if `address` is `HOST:PORT` with an IP address; names are not looked up while Raft waits.

    Raises:
        InvalidSettings: It is not; the message begins with `what`.
    """
    host, _, port = address.rpartition(":")
    try:
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        version = ipaddress.ip_address(bare).version
    except ValueError as error:
        raise InvalidSettings(f"{what}: {address!r} is not ADDRESS:PORT with an IP address") from error
    if (version == 6) != host.startswith("["):
        raise InvalidSettings(f"{what}: {address!r}: an IPv6 address must stand in brackets, like [::1]:7001")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise InvalidSettings(f"{what}: {address!r} lacks a port between 1 and 65535")


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftSettings:
    """One replica: who it is, who begins with it, where it stores, and when.

    Attributes:
        me, cluster: As the certificate says; they never change.
        name, address, api: What the others call it, where they reach it, and base URL of its HTTP API.
        initial: The members as long as neither log nor snapshot says otherwise; the same on all that begin
            together. A replica that is to be added later is not among its voters.
        data_dir: Made by `store.identity.create`, for this replica alone.
        credentials: Certificate, key and CA of the links.
        version: Of hamgr, told to the peers.
        resend_s, resend_s_max: A proposal without an answer for so long is sent again, and then ever more
            rarely, up to the longest pause.
        snapshot_entries, snapshot_bytes: The log is compacted after as many entries, or as many bytes.

    Raises:
        InvalidSettings: On construction.
    """

    me: ReplicaId
    cluster: str
    name: str
    address: str
    api: str = ""
    initial: Configuration
    data_dir: Path
    credentials: Credentials
    version: str = ""
    timers: Timers = field(default_factory=Timers)
    links: LinkSettings = field(default_factory=LinkSettings)
    resend_s: float = 0.5
    resend_s_max: float = 2.0
    snapshot_entries: int = 4_096
    snapshot_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        check_address(self.name, self.address)
        for member in self.initial.members:
            check_address(member.name, member.raft)
        own = self.initial.member(self.me)
        if own is not None and (own.name, own.raft) != (self.name, self.address):
            raise InvalidSettings(
                f"{self.name}: the initial members call {self.me} {own.name} at {own.raft}, "
                f"and not {self.name} at {self.address}; give every replica the same list"
            )
        if not self.initial.voters:
            raise InvalidSettings("the initial members have no voter; a cluster needs one")
        if self.snapshot_entries < SNAPSHOT_ENTRIES_MIN or self.snapshot_bytes <= 0:
            raise InvalidSettings(
                f"snapshot_entries must be {SNAPSHOT_ENTRIES_MIN} at least, snapshot_bytes more than 0"
            )
        if not 0 < self.resend_s <= self.resend_s_max:
            raise InvalidSettings("resend_s must be more than 0, and not more than resend_s_max")
