"""The folder of one practice node: what makes it look like a machine, kept over restarts."""

import shutil
import uuid
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import asyncssh

from backends.ports import Host

_FOLDERS = ("bin", "etc/ssh", "etc/systemd/system", "run", "tmp", "var/lib", "var/log")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxNode:
    """One practice node. `host_key` is in OpenSSH form; any user name may log in."""

    name: str
    address: str
    port: int
    host_key: str
    root: Path

    @property
    def host(self) -> Host:
        """Return the node as executors take it."""
        return Host(
            name=self.name, address=self.address, port=self.port, user="hamgr", host_key=self.host_key
        )


def prepare(root: Path, name: str) -> asyncssh.SSHKey:
    """Create or complete a node's folder and return its private host key.

    What is there already stays: a sandbox that is started again is made of the same machines.
    """
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "etc/hostname").write_text(f"{name}\n")
    machine_id = root / "etc/machine-id"
    if not machine_id.exists():
        machine_id.write_text(f"{uuid.uuid4().hex}\n")
    if not (root / "etc/os-release").exists() and Path("/etc/os-release").exists():
        shutil.copyfile("/etc/os-release", root / "etc/os-release")
    if not (root / "run/boot_id").exists():
        new_boot(root)
    systemctl = root / "bin/systemctl"
    systemctl.write_bytes(resources.files(__package__).joinpath("systemctl.sh").read_bytes())
    systemctl.chmod(0o755)
    key_path = root / "etc/ssh/ssh_host_ed25519_key"
    if not key_path.exists():
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(key_path)
        key_path.chmod(0o600)
    return asyncssh.read_private_key(key_path)


def new_boot(root: Path) -> None:
    """Give the node another boot id: for everything that asks, it has been restarted."""
    (root / "run/boot_id").write_text(f"{uuid.uuid4()}\n")


def environment(root: Path) -> dict[str, str]:
    """Return the environment in which a login's commands run on the node."""
    return {
        "HAMGR_ROOT": str(root),
        "HAMGR_BOOT_ID": (root / "run/boot_id").read_text().strip(),
        "PATH": f"{root}/bin:{_PATH}",
        "HOME": str(root),
        "USER": "hamgr",
        "LOGNAME": "hamgr",
        "SHELL": "/bin/sh",
        "LC_ALL": "C.UTF-8",
        "TMPDIR": str(root / "tmp"),
    }
