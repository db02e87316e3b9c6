"""The daemon's configuration file: what it may say, its defaults, and errors that name file and key."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

CONFIG_BYTES_MAX = 64 * 1024
SECRET_CHARS_MIN = 32


class ConfigError(Exception):
    """The configuration cannot be used; the message names the file, the key and the way out."""


def _loopback_address(text: str) -> str:
    host, _, port = text.rpartition(":")
    try:
        loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError as error:
        raise ValueError(f"{text!r} is not ADDRESS:PORT") from error
    if not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError(f"{text!r} is not ADDRESS:PORT")
    if not loopback:
        raise ValueError(
            f"{text!r} is not a loopback address; until replicas speak mutual TLS, hamgrd refuses any other"
        )
    return text


LoopbackAddress = Annotated[str, AfterValidator(_loopback_address)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PeerSection(_Section):
    """Another replica."""

    raft: LoopbackAddress
    api: LoopbackAddress


class SSHSection(_Section):
    """How nodes are reached."""

    keys: tuple[Path, ...] = Field(min_length=1)
    unreachable_deadline_s: float = Field(default=60.0, gt=0, le=3600)
    """For how long a silent node is tried before its task gives up."""


class Config(_Section):
    """One replica."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")
    data_dir: Path
    raft: LoopbackAddress
    api: LoopbackAddress
    password_file: Path
    """The cluster's secret; the same on all replicas, at least 32 characters, readable by the owner only."""
    token_file: Path
    """The API's bearer token; the same on all replicas."""
    peers: Mapping[str, PeerSection] = Field(default_factory=dict)
    ssh: SSHSection


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
        lines = [f"{path}: {'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors()]
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
