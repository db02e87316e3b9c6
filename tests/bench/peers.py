"""The peers of `fan_out`: Ansible, pyinfra and clush, each with the settings that are best for one command.

1. All log in to the same servers as the same user with the same key, and none checks host keys, which saves
   them a little that hamgr does not save.
2. Cold is a new program and new connections; warm is whatever a peer can keep: masters of OpenSSH
   (ControlPersist) for Ansible and clush, a program with open connections for pyinfra.
3. They are installed for the run, with pinned versions; nothing is left on the machine, and what they keep
   running ends with their accounts.
"""

import json
import os
import socket
import subprocess
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from cli.demo.layout import LOOPBACK
from tests.bench.account import Account
from tests.bench.endpoints import Fleet, user

PACKAGES = ("ansible-core==2.19.*", "pyinfra==3.10.0", "ClusterShell==1.10.1")
"""The newest that run on Python 3.11."""
AT_ONCE_MAX = 64
"""Forks, greenlets or clients at once: on a few cores more of them only wait, and for Ansible cost memory."""
KEX = "curve25519-sha256"
"""What hamgr asks for first too; OpenSSH's own first choice costs each side some 20 ms of processor more."""
START_TIMEOUT_S = 60.0
PYINFRA_PROGRAM = Path(__file__).with_name("pyinfra_program.py")


def install(home: Path) -> Path:
    """Install the peers into `home`, unless they are there; return the folder of their programs."""
    programs = home / "bin"
    if not (programs / "clush").exists():
        venv.create(home, with_pip=True)
        words = [programs / "pip", "install", "-qq", "--disable-pip-version-check", *PACKAGES]
        subprocess.run(words, check=True, env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"})
    return programs


class Peer:
    """What they have in common: a folder, an account of what they cost, the configuration of their ssh."""

    name = ""

    def __init__(self, directory: Path, fleet: Fleet, programs: Path) -> None:
        self.directory = directory / self.name
        self.directory.mkdir()
        self.fleet = fleet
        self.programs = programs
        self.at_once = min(len(fleet.nodes), AT_ONCE_MAX)
        self._account = Account(self.directory)

    def __enter__(self) -> Self:
        self._account.__enter__()
        self.prepare()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._account.__exit__(kind, error, trace)

    def cpu_s(self) -> float:
        """Return the processor seconds of everything that was started here."""
        return self._account.cpu_s()

    def prepare(self) -> None:
        """Open what is kept for warm runs."""

    def spawn(self, program: str | Path, *words: str | Path, **environment: str) -> str:
        """Run a program of the peer to its end and return its output."""
        ended = self._account.run([self.programs / program, *words], {"LC_ALL": "C.UTF-8", **environment})
        assert ended.exit_code == 0, ended.output[-4000:]
        return ended.output

    def start(self, *words: str | Path) -> None:
        """Start a program that runs until the end."""
        self._account.start(words)

    def ssh_config(self, name: str, *, keep: bool) -> Path:
        """Write a configuration for OpenSSH's client with all nodes; `keep` shares kept connections."""
        common = (
            f"  HostName {LOOPBACK}\n  User {user()}\n  IdentityFile {self.fleet.key}\n  IdentitiesOnly yes\n"
            "  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
            f"  KexAlgorithms {KEX}\n  PreferredAuthentications publickey\n  GSSAPIAuthentication no\n"
        )
        if keep:
            # %p tells the nodes apart and keeps the path below what a socket's name may have (unix(7)).
            common += f"  ControlMaster auto\n  ControlPersist 600\n  ControlPath {self.directory}/%p\n"
        path = self.directory / name
        hosts = "".join(f"Host {node.name}\n  Port {node.port}\n" for node in self.fleet.nodes)
        path.write_text(f"{hosts}Host *\n{common}")
        return path


class Clush(Peer):
    """ClusterShell's `clush`: an `ssh` for each node, many at once."""

    name = "clush"

    def prepare(self) -> None:
        self._configs = {kept: self.ssh_config(f"ssh-{kept}", keep=kept) for kept in (False, True)}
        self._clush("true", kept=True)

    def cold(self, command: str) -> Callable[[], object]:
        return lambda: self._clush(command, kept=False)

    def warm(self, command: str) -> Callable[[], object]:
        return lambda: self._clush(command, kept=True)

    def _clush(self, command: str, *, kept: bool) -> None:
        names = ",".join(node.name for node in self.fleet.nodes)
        options = f"-F {self._configs[kept]}"
        self.spawn("clush", "-S", "-n", "-f", str(self.at_once), "-o", options, "-w", names, command)


class Ansible(Peer):
    """`ansible -m raw`: no Python on the nodes, no file transfer; the quickest thing that it has."""

    name = "ansible"

    def prepare(self) -> None:
        hosts = "".join(f"{node.name} ansible_port={node.port}\n" for node in self.fleet.nodes)
        (self.directory / "inventory").write_text(
            f"{hosts}\n[all:vars]\nansible_host={LOOPBACK}\nansible_user={user()}\n"
            f"ansible_ssh_private_key_file={self.fleet.key}\n"
        )
        for kept in (False, True):
            control = "-o ControlMaster=auto -o ControlPersist=600s" if kept else "-o ControlMaster=no"
            (self.directory / f"{kept}.cfg").write_text(
                f"[defaults]\nforks={self.at_once}\nhost_key_checking=False\ngathering=explicit\n"
                f"[ssh_connection]\npipelining=True\ncontrol_path={self.directory}/%%p\n"
                f"ssh_args={control} -o KexAlgorithms={KEX} -o PreferredAuthentications=publickey"
                " -o UserKnownHostsFile=/dev/null\n"
            )
        self._ansible("true", kept=True)

    def cold(self, command: str) -> Callable[[], object]:
        return lambda: self._ansible(command, kept=False)

    def warm(self, command: str) -> Callable[[], object]:
        return lambda: self._ansible(command, kept=True)

    def _ansible(self, command: str, *, kept: bool) -> None:
        environment = {
            "ANSIBLE_CONFIG": str(self.directory / f"{kept}.cfg"),
            "ANSIBLE_HOME": str(self.directory / "home"),
        }
        words = ("-i", "inventory", "all", "-m", "ansible.builtin.raw", "-a", command)
        self.spawn("ansible", *words, **environment)


class Pyinfra(Peer):
    """`pyinfra exec`; it keeps no connections, so what is warm is its library in a program of ours."""

    name = "pyinfra"

    def prepare(self) -> None:
        data = {
            "ssh_user": user(),
            "ssh_key": str(self.fleet.key),
            "ssh_strict_host_key_checking": "off",
            "ssh_known_hosts_file": "/dev/null",
            "ssh_allow_agent": False,
            "ssh_look_for_keys": False,
        }
        nodes = [(node.name, {"ssh_hostname": LOOPBACK, "ssh_port": node.port}) for node in self.fleet.nodes]
        (self.directory / "inventory.py").write_text(f"nodes = ({nodes!r}, {data!r})\n")
        settings = self.directory / "settings.json"
        settings.write_text(json.dumps({"nodes": nodes, "data": data, "at_once": self.at_once}))
        self._door = self.directory / "door"
        self.start(self.programs / "python", PYINFRA_PROGRAM, settings, self._door)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._door.exists():
            assert time.monotonic() < deadline, (self.directory / "started.log").read_text()[-4000:]
            time.sleep(0.02)
        self._kept = socket.socket(socket.AF_UNIX)
        self._kept.connect(str(self._door))
        self._ask("true")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kept.close()
        super().__exit__(kind, error, trace)

    def cold(self, command: str) -> Callable[[], object]:
        words = ("-y", "--parallel", str(self.at_once), "inventory.py", "exec", "--", command)
        return lambda: self.spawn("pyinfra", *words)

    def warm(self, command: str) -> Callable[[], object]:
        return lambda: self._ask(command)

    def _ask(self, command: str) -> None:
        self._kept.sendall(f"{command}\n".encode())
        answer = self._kept.recv(1)
        assert answer == b".", (self.directory / "started.log").read_text()[-4000:]


PEERS: Sequence[type[Clush | Ansible | Pyinfra]] = (Clush, Ansible, Pyinfra)
