"""What one replica on stock pysyncobj needs to know, and what it refuses to run with.

1. Only loopback addresses, its own and its peers'. The stock library unpickles what it receives, so
   whoever reaches the port and knows the password runs code; no machine but this one may reach it.
2. A password of full strength all the same: other users of this machine can reach loopback too.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PASSWORD_CHARS_MIN = 43
"""The length of 32 random bytes as base64 text (`secrets.token_urlsafe(32)`)."""
PASSWORD_DISTINCT_CHARS_MIN = 10
"""32 random bytes have more distinct characters than this, even written as hexadecimal digits."""


class InvalidSettings(ValueError):
    """A setting that a replica must not run with; the message names it and the way out."""


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
