"""Real OpenSSH servers on loopback, one process and one port for each node, as the current user.

Each has its own host key and, through `SetEnv HAMGR_ROOT`, a folder that is the node's root for hamgr. All
sides of a comparison log in to the same servers with the same key.
"""

import contextlib
import os
import pwd
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.demo.layout import LOOPBACK, free_ports, make_ssh_key
from tests.bench.account import Account

START_TIMEOUT_S = 30.0
CONFIG = """\
Port {port}
ListenAddress {address}
HostKey {directory}/host_key
PidFile {directory}/sshd.pid
AuthorizedKeysFile {authorized}
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
MaxStartups 100:30:200
MaxSessions 100
PrintMotd no
PermitUserRC no
SetEnv HAMGR_ROOT={directory}/root HOME={directory}/home
Subsystem sftp internal-sftp
LogLevel ERROR
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One server.

    Attributes:
        host_key: Its public key, as known_hosts has it.
        root: The folder that is the node's root.
    """

    name: str
    port: int
    host_key: str
    root: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Running servers.

    Attributes:
        key: The private key that they accept.
        account: Knows what they cost, sessions and all that is started in them included.
    """

    nodes: tuple[Endpoint, ...]
    key: Path
    account: Account


@contextlib.contextmanager
def endpoints(directory: Path, count: int, *, listen: str = LOOPBACK) -> Iterator[Fleet]:
    """Run `count` servers for as long as the context is open; 0.0.0.0 has them listen on every address."""
    sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if sshd is None:
        raise SystemExit("sshd is missing; install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd's privilege separation wants it
    key = directory / "id_ed25519"
    authorized = make_ssh_key(key)
    ports = free_ports(count)
    nodes = tuple(_prepare(directory, i, port, authorized, listen) for i, port in enumerate(ports))
    with Account(directory) as account:
        for node in nodes:
            home = node.root.parent
            account.start([sshd, "-D", "-E", home / "sshd.log", "-f", home / "sshd_config"])
        for node in nodes:
            _wait_for(node.port)
        yield Fleet(nodes=nodes, key=key, account=account)


def _prepare(directory: Path, number: int, port: int, authorized: Path, listen: str) -> Endpoint:
    name = f"node-{number + 1:03}"
    home = directory / name
    (home / "root" / "etc").mkdir(parents=True)
    (home / "home").mkdir()
    (home / "root" / "etc" / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
    (home / "root" / "etc" / "hostname").write_text(f"{name}\n")
    public = make_ssh_key(home / "host_key")
    (home / "sshd_config").write_text(
        CONFIG.format(port=port, address=listen, directory=home, authorized=authorized)
    )
    host_key = " ".join(public.read_text().split()[:2])
    return Endpoint(name=name, port=port, host_key=host_key, root=home / "root")


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            with socket.create_connection((LOOPBACK, port), 1.0) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise SystemExit(f"sshd on port {port} did not start")
        time.sleep(0.02)


def user() -> str:
    """Return the name of the user as whom the servers run."""
    return pwd.getpwuid(os.geteuid()).pw_name
