"""Real OpenSSH servers on loopback, one process and one port for each node, as the current user.

Each has its own host key and, through `SetEnv HAMGR_ROOT`, a folder that is the node's root for hamgr. Both
sides of a comparison log in to the same servers with the same key.
"""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.demo.layout import LOOPBACK, free_ports, make_ssh_key

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
    name: str
    port: int
    root: Path


@contextlib.contextmanager
def endpoints(directory: Path, count: int) -> Iterator[tuple[list[Endpoint], Path]]:
    """Run `count` servers; yield them and the private key that they accept."""
    sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if sshd is None:
        raise SystemExit("sshd is missing; install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd's privilege separation wants it
    key = directory / "id_ed25519"
    authorized = make_ssh_key(key)
    found = [_prepare(directory, i, port, authorized) for i, port in enumerate(free_ports(count))]
    running = [
        subprocess.Popen(
            [
                sshd,
                "-D",
                "-E",
                str(node.root.parent / "sshd.log"),
                "-f",
                str(node.root.parent / "sshd_config"),
            ]
        )
        for node in found
    ]
    try:
        for node in found:
            _wait_for(node.port)
        yield found, key
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def _prepare(directory: Path, number: int, port: int, authorized: Path) -> Endpoint:
    name = f"node-{number + 1:03}"
    home = directory / name
    (home / "root" / "etc").mkdir(parents=True)
    (home / "home").mkdir()
    (home / "root" / "etc" / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
    (home / "root" / "etc" / "hostname").write_text(f"{name}\n")
    make_ssh_key(home / "host_key")
    (home / "sshd_config").write_text(
        CONFIG.format(port=port, address=LOOPBACK, directory=home, authorized=authorized)
    )
    return Endpoint(name=name, port=port, root=home / "root")


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
