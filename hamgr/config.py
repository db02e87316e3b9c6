"""The daemon's configuration file: what it may say, its defaults, and errors that name file and key."""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from hamgr.autopilot.settings import DEAD_QUORUMS_MIN, AutopilotSection
from hamgr.backup.settings import BackupSection
from hamgr.fencing.settings import FencingSection
from hamgr.logs.pieces import KEPT_BYTES_MAX
from hamgr.presence.settings import PresenceSection
from hamgr.raft.settings import Timers
from hamgr.upgrade.settings import UpgradeSection
from hamgr.vip.settings import VIPSection

CONFIG_BYTES_MAX = 64 * 1024
HTTPS = "https://"
SECRET_CHARS_MIN = 32
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
"""Of a replica."""
_TIMERS = Timers()


class ConfigError(Exception):
    """The configuration cannot be used; the message names the file, the key and the way out."""


def _parts(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError as error:
        raise ValueError(f"{text!r} is not ADDRESS:PORT with an IP address") from error
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65_536:
        raise ValueError(f"{text!r} is not ADDRESS:PORT with a port between 1 and 65535")
    if (address.version == 6) != host.startswith("["):
        raise ValueError(f"{text!r}: an IPv6 address must stand in brackets, like [::1]:7001")
    return address, int(port)


def _reachable_address(text: str) -> str:
    if _parts(text)[0].is_unspecified:
        raise ValueError(f"{text!r} is no address that the other replicas could reach; name one of this host")
    return text


def _api_address(text: str) -> str:
    bare = text.removeprefix(HTTPS)
    address = _parts(bare)[0]
    if bare == text and not address.is_loopback:
        raise ValueError(
            f"{text!r} is not a loopback address, and without TLS hamgrd refuses any other; "
            f"write {HTTPS}{text}, and it is served there with the replica's certificate"
        )
    if address.is_unspecified:
        raise ValueError(f"{text!r} is no address that could be reached; name one of this host")
    return text


def api_url(address: str) -> str:
    """Return the base URL of an `api`: plain HTTP (on loopback) unless it says https."""
    return address if address.startswith(HTTPS) else f"http://{address}"


ReachableAddress = Annotated[str, AfterValidator(_reachable_address)]
ApiAddress = Annotated[str, AfterValidator(_api_address)]
"""`LOOPBACK:PORT` without TLS, or `https://ADDRESS:PORT`."""
ReplicaUuid = Annotated[str, Field(pattern=r"^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PeerSection(_Section):
    """A replica of the cluster: another one, or this one itself, so that all can share one list."""

    id: ReplicaUuid
    """As in its certificate; `hamgrd make-certificates` prints it."""
    raft: ReachableAddress
    api: ApiAddress


class TLSSection(_Section):
    """What this replica shows to its peers, and whom it believes; read again on SIGHUP."""

    ca: Path
    """The cluster's own; whoever has a certificate of it is a replica or a client of this cluster."""
    certificate: Path
    key: Path
    authority_key: Path | None = None
    """The authority's own key: with it, this replica renews its certificate and lets others join."""


class TimersSection(_Section):
    """See `hamgr.raft.settings.Timers`; the same on all replicas."""

    heartbeat_s: float = _TIMERS.heartbeat_s
    election_s_min: float = _TIMERS.election_s_min
    election_s_max: float = _TIMERS.election_s_max
    quorum_lost_s: float = _TIMERS.quorum_lost_s

    @model_validator(mode="after")
    def _check(self) -> "TimersSection":
        self.timers()
        return self

    def timers(self) -> Timers:
        """Return the timers; raises `InvalidSettings`, which is a `ValueError`."""
        return Timers(**self.model_dump())


class SSHSection(_Section):
    """How nodes are reached."""

    keys: tuple[Path, ...] = Field(min_length=1)
    unreachable_deadline_s: float = Field(default=60.0, gt=0, le=3600)
    """For how long a node may be silent, from its last byte on, before its task gives up; how soon a kept
    connection is taken for dead, and for how long it is replaced, follow from it."""


class LogsSection(_Section):
    """What this replica keeps of what steps printed; job logs need not be kept alike on all replicas."""

    attempt_bytes_max: int = Field(default=1024 * 1024, ge=16 * 1024, le=KEPT_BYTES_MAX)
    """Of a longer output, the head and the tail are kept, half of this each."""
    bytes_max: int = Field(default=1024**3, ge=16 * 1024 * 1024)
    """Of all jobs; beyond that, the oldest jobs' logs go."""
    reserve_bytes: int = Field(default=256 * 1024 * 1024, ge=0)
    """Kept free on the disk for what matters more than logs."""


class Config(_Section):
    """One replica."""

    name: str = Field(pattern=f"^{NAME.pattern}$")
    data_dir: Path
    raft: ReachableAddress
    api: ApiAddress
    tls: TLSSection
    token_file: Path
    """The API's bearer tokens; the same on all replicas."""
    peers: Mapping[str, PeerSection] = Field(default_factory=dict)
    join: bool = False
    """This replica is added to a cluster that runs; it is no member until that cluster's log says so."""
    timers: TimersSection = Field(default_factory=TimersSection)
    ssh: SSHSection
    logs: LogsSection = Field(default_factory=LogsSection)
    presence: PresenceSection = Field(default_factory=PresenceSection)
    autopilot: AutopilotSection = Field(default_factory=AutopilotSection)
    fencing: FencingSection | None = None
    """How the other one of two voters is switched off; never, when it is left out."""
    backup: BackupSection | None = None
    """Which backups this replica makes; none when it is left out."""
    upgrade: UpgradeSection = Field(default_factory=UpgradeSection)
    vip: VIPSection | None = None
    """The address that the leader holds; none when it is left out."""

    @property
    def raft_dir(self) -> Path:
        """Where log, snapshot and identity are."""
        return self.data_dir / "raft"

    @property
    def others(self) -> Mapping[str, PeerSection]:
        """The peers without this replica itself."""
        return {name: peer for name, peer in self.peers.items() if name != self.name}

    @model_validator(mode="after")
    def _check_members(self) -> "Config":
        if self.join and not self.others:
            raise ValueError("join needs the replicas of the cluster that runs, under `peers`")
        dead_s_min = DEAD_QUORUMS_MIN * self.timers.quorum_lost_s
        if self.autopilot.dead_s < dead_s_min:
            raise ValueError(
                f"autopilot.dead_s is {self.autopilot.dead_s:g}; it must be at least {dead_s_min:g}, "
                f"which is {DEAD_QUORUMS_MIN} times timers.quorum_lost_s"
            )
        own = self.peers.get(self.name)
        if own is not None and (own.raft, own.api) != (self.raft, self.api):
            raise ValueError(
                f"peers.{self.name} is this replica, so its addresses must be those of `raft` and `api`"
            )
        owners: dict[str, str] = {}
        for name, text in (
            (self.name, self.raft),
            *((name, text) for name, peer in self.others.items() for text in (peer.raft, peer.id)),
        ):
            if owners.setdefault(text, name) != name:
                raise ValueError(f"{owners[text]} and {name} share {text}; each replica has its own")
        return self


def load(path: Path) -> Config:
    """Read the configuration.

    Raises:
        ConfigError: It cannot be read, is not YAML, or says something that hamgrd does not know.
    """
    try:
        text = path.read_bytes()[: CONFIG_BYTES_MAX + 1]
        if len(text) > CONFIG_BYTES_MAX:
            raise ConfigError(f"{path}: larger than {CONFIG_BYTES_MAX} bytes; this is not a configuration")
        return Config.model_validate(yaml.safe_load(text))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    except ValidationError as error:
        lines = [
            f"{path}: {'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from error


def secret(path: Path) -> str:
    """Read a secret that only its owner may read.

    Raises:
        ConfigError: Missing, too short, or readable by others.
    """
    try:
        text = path.read_text().strip()
        mode = path.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the secret cannot be read: {error}") from error
    if mode:
        raise ConfigError(f"{path}: others may read this secret; run: chmod 600 {path}")
    if len(text) < SECRET_CHARS_MIN:
        raise ConfigError(
            f"{path}: a secret needs at least {SECRET_CHARS_MIN} characters; "
            "make one with: openssl rand -hex 32"
        )
    return text
