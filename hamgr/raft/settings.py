"""What one replica needs to know, and the relations between its timers without which it must not run."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HEARTBEATS_LOST_MIN = 3
"""A follower must miss more than this many heartbeats before it may doubt its leader."""
TIMER_S_MAX = 60.0


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


PASSWORD_CHARS_MIN = 43
"""The length of 32 random bytes as base64 text (`secrets.token_urlsafe(32)`)."""
PASSWORD_DISTINCT_CHARS_MIN = 10
"""32 random bytes have more distinct characters than this, even written as hexadecimal digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StockSettings:
    """One replica: who it is, who the others are, where it stores, and its timers.

    Attributes:
        address: `127.0.0.1:PORT`; where the other replicas reach this one.
        peers: The others by name: raft address and base URL of the HTTP API.
        password: Shared by all replicas of the cluster; `secrets.token_urlsafe(32)` makes one.
        data_dir: Belongs to this replica alone; made with mode 0700 when it is not there.
        heartbeat_s: How often an idle leader speaks; news are sent at once.
        election_s_min, election_s_max: A follower that hears nothing for a random time between them
            stands for election.
        quorum_lost_s: A leader that hears no majority for this long steps down.
        link_silent_s_max: A connection without a byte for this long is closed.
        reconnect_s: The pause between two attempts to reach a peer.
        resend_s: A proposal without an answer for this long is sent again, and then ever more rarely.
        resend_s_max: The longest pause between two of them.
        snapshot_entries, snapshot_bytes: The log is compacted after as many entries, or as many bytes.

    Raises:
        InvalidSettings: On construction.
    """

    name: str
    address: str
    peers: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    password: str = field(repr=False)
    data_dir: Path
    heartbeat_s: float = 0.06
    election_s_min: float = 0.4
    election_s_max: float = 0.8
    quorum_lost_s: float = 0.6
    link_silent_s_max: float = 2.0
    reconnect_s: float = 0.3
    resend_s: float = 0.5
    resend_s_max: float = 2.0
    snapshot_entries: int = 4_096
    snapshot_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        _check_names(self)
        _check_addresses(self)
        _check_password(self.password)
        _check_timers(self)


def _check_names(settings: StockSettings) -> None:
    if not settings.name:
        raise InvalidSettings("name: a replica must have one")
    if settings.name in settings.peers:
        raise InvalidSettings(f"peers: {settings.name} is this replica itself; name only the others")
    if "" in settings.peers:
        raise InvalidSettings("peers: a replica must have a name")


def _check_addresses(settings: StockSettings) -> None:
    owners: dict[str, str] = {}
    for name, address in (
        (settings.name, settings.address),
        *((n, a) for n, (a, _) in settings.peers.items()),
    ):
        _check_address(name, address)
        if address in owners:
            raise InvalidSettings(f"{name}: {address} is the address of {owners[address]} too")
        owners[address] = name


def _check_address(name: str, address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        loopback = ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise InvalidSettings(
            f"{name}: {address!r} is not 127.x.y.z:PORT; "
            "replicas must stay on loopback until their links are protected by TLS"
        )
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise InvalidSettings(f"{name}: {address!r} lacks a port between 1 and 65535")


def _check_password(password: str) -> None:
    if len(password) < PASSWORD_CHARS_MIN:
        raise InvalidSettings(
            f"password: {len(password)} characters are fewer than {PASSWORD_CHARS_MIN}; "
            "use 32 random bytes as text, for example from `openssl rand -hex 32`"
        )
    if len(set(password)) < PASSWORD_DISTINCT_CHARS_MIN:
        raise InvalidSettings("password: it is not random; use `openssl rand -hex 32`")


def _check_timers(settings: StockSettings) -> None:
    if not 0 < settings.heartbeat_s * 3 < settings.election_s_min < settings.election_s_max:
        raise InvalidSettings("timers: 3 * heartbeat_s < election_s_min < election_s_max must hold")
    if settings.quorum_lost_s <= settings.heartbeat_s * 3:
        raise InvalidSettings("timers: quorum_lost_s must be more than three heartbeats")
    if settings.link_silent_s_max < settings.election_s_max:
        raise InvalidSettings("timers: link_silent_s_max must not be less than election_s_max")
    if settings.snapshot_entries < 8 or settings.snapshot_bytes <= 0:
        raise InvalidSettings("snapshot_entries must be 8 at least, snapshot_bytes more than 0")
