"""The folder of a practice cluster: keys, secrets, ports, certificates, and one configuration per replica.

Everything lives below one directory with mode 0700; nothing outside of it is changed. Certificates and data
folders are made by `hamgrd`, as on real machines.
"""

import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

LOOPBACK = "127.0.0.1"
PORTS = range(20_000, 32_000)
PORT_TRIES_MAX = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaPlan:
    """Where one replica lives."""

    name: str
    raft: str
    api: str
    config: Path
    log: Path

    @property
    def url(self) -> str:
        return f"http://{self.api}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A practice cluster on paper; nothing of it runs yet."""

    directory: Path
    replicas: tuple[ReplicaPlan, ...]
    token: str
    token_file: Path
    ssh_key: Path
    ssh_public_key: Path

    @property
    def urls(self) -> list[str]:
        return [replica.url for replica in self.replicas]


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that were free a moment ago.

    They lie below those that the kernel gives to outgoing connections (ip(7), ip_local_port_range), so that
    nothing takes one by chance before it is used.
    """
    found: list[int] = []
    with ExitStack() as stack:
        for _ in range(PORT_TRIES_MAX):
            if len(found) == count:
                return found
            one = stack.enter_context(socket.socket())
            port = PORTS.start + secrets.randbelow(len(PORTS))
            with suppress(OSError):
                one.bind((LOOPBACK, port))
                found.append(port)
    raise OSError(f"no {count} free ports between {PORTS.start} and {PORTS.stop} on {LOOPBACK}")


def make_ssh_key(path: Path) -> Path:
    """Write a new ed25519 key pair; return the path of the public half."""
    key = Ed25519PrivateKey.generate()
    _private(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode())
    public = path.with_suffix(".pub")
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    public.write_text(f"{line} hamgr practice key\n")
    return public


def lay_out(
    directory: Path, *, replicas: int = 3, ssh_key: Path | None = None, unreachable_deadline_s: float = 20.0
) -> Layout:
    """Write keys, secrets and configurations of a new practice cluster below `directory`."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    ports = free_ports(2 * replicas)
    names = [f"r{number + 1}" for number in range(replicas)]
    token = f"hamgr_{secrets.token_urlsafe(32)}"
    _private(directory / "token", token)
    key = ssh_key or directory / "id_ed25519"
    public = make_ssh_key(key) if ssh_key is None else ssh_key.with_suffix(".pub")
    plans = tuple(
        ReplicaPlan(
            name=name,
            raft=f"{LOOPBACK}:{ports[2 * i]}",
            api=f"{LOOPBACK}:{ports[2 * i + 1]}",
            config=directory / f"{name}.yaml",
            log=directory / f"{name}.log",
        )
        for i, name in enumerate(names)
    )
    peers = make_certificates(directory / "pki", plans)
    for plan in plans:
        settings = {
            "name": plan.name,
            "data_dir": str(directory / plan.name),
            "raft": plan.raft,
            "api": plan.api,
            "tls": {
                "ca": str(directory / "pki" / "ca.crt"),
                "certificate": str(directory / "pki" / f"{plan.name}.crt"),
                "key": str(directory / "pki" / f"{plan.name}.key"),
            },
            "token_file": str(directory / "token"),
            "peers": peers,
            "ssh": {"keys": [str(key)], "unreachable_deadline_s": unreachable_deadline_s},
        }
        plan.config.write_text(json.dumps(settings, indent=2) + "\n")  # JSON is YAML too
    hamgrd("init", *(word for plan in plans for word in ("--config", str(plan.config))))
    return Layout(
        directory=directory,
        replicas=plans,
        token=token,
        token_file=directory / "token",
        ssh_key=key,
        ssh_public_key=public,
    )


def make_certificates(directory: Path, plans: Sequence[ReplicaPlan]) -> dict[str, dict[str, str]]:
    """Make an authority and a certificate for each replica; return the `peers` of their configurations."""
    wanted = (word for plan in plans for word in ("--replica", f"{plan.name}={plan.raft},{plan.api}"))
    answer = json.loads(hamgrd("make-certificates", str(directory), *wanted, "-o", "json"))
    peers: dict[str, dict[str, str]] = answer["peers"]
    return peers


def hamgrd(*words: str) -> str:
    """Run a command of `hamgrd` to its end and return what it printed.

    Raises:
        RuntimeError: It refused; the message is its own.
    """
    command = [sys.executable, "-m", "hamgr.commands", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip() or f"hamgrd {words[0]} ended with status {done.returncode}")
    return done.stdout


def _private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
