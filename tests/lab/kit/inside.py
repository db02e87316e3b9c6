"""The way into a lab: who its hosts are, and what runs in them and on their network."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.lab.kit.machine import JOIN_CGROUP, Machine
from tests.lab.kit.needs import cgroup_root
from tests.lab.kit.network import HUB, Network, number
from tests.lab.kit.processes import LabError, Process, in_network_namespace

LABS = Path("/var/tmp/hamgr-lab")
CHECKOUT = Path(__file__).parents[3]
RUN_TIMEOUT_S = 30.0


def default_binds() -> tuple[str, ...]:
    """Return this checkout and this interpreter, which hosts see live, whatever else they hide."""
    paths = sorted({str(CHECKOUT), sys.prefix, sys.base_prefix})
    inner = {path for path in paths for outer in paths if path.startswith(f"{outer}/")}
    return tuple(path for path in paths if path not in inner and path not in {"/", "/usr", "/usr/local"})


class Inside:
    """The hosts of a lab, as they are.

    Attributes:
        name: Unique on this machine; part of the names of namespaces and cgroups.
        directory: Disks, keys and what is needed to clean up.
        ssh_key: Private key that every host accepts for root.
    """

    def __init__(
        self,
        *,
        name: str = "lab",
        directory: Path | None = None,
        network: str = "10.77.0",
        lower: str = "/",
        binds: Sequence[str] | None = None,
    ) -> None:
        """Nothing is made or read until the first verb.

        Args:
            directory: `/var/tmp/hamgr-lab/NAME` when not given; not on an overlay or a tmpfs.
            network: The first three bytes of its addresses.
            lower: The root below every disk: this machine's, or a tree made by debootstrap.
            binds: Paths that hosts see live, read-only; the checkout and the interpreter when not given.
        """
        self.name = name
        self.directory = directory or LABS / name
        self.ssh_key = self.directory / "id_ed25519"
        self._network = Network(name, network)
        self._lower = lower
        self._binds = default_binds() if binds is None else tuple(binds)
        self._processes: list[Process] = []

    @property
    def hosts(self) -> list[str]:
        """The hosts that have a disk, in order, on or off."""
        names = (path.name for path in self.directory.glob("n[0-9]*") if path.is_dir())
        return sorted(names, key=number)

    def address(self, name: str) -> str:
        """Return the IPv4 address of a host, or of the hub."""
        return self._network.address(name)

    def host_key(self, name: str) -> str:
        """Return the host's public SSH key (`ssh-ed25519 AAAA...`); it lives as long as the disk."""
        return self._machine(name).host_key()

    def running(self, name: str) -> bool:
        """Say whether the host has power (it may be booting)."""
        return self._machine(name).power_pid() is not None

    def command(self, name: str, *argv: str, env: Mapping[str, str] | None = None) -> list[str]:
        """Return what to run here so that `argv` runs in the host or the hub; needs no shell."""
        if name != HUB:
            return self._machine(name).enter(argv, env or {})
        variables = [f"{key}={value}" for key, value in (env or {}).items()]
        inside = ["nsenter", f"--net=/run/netns/{self._network.hub}", "env", *variables, *argv]
        return [*JOIN_CGROUP, str(self._cgroup / HUB / "cgroup.procs"), *inside]

    def run(
        self,
        name: str,
        *argv: str,
        stdin: str = "",
        timeout_s: float = RUN_TIMEOUT_S,
        check: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in a host (as root, environment clean) or in the hub.

        Raises:
            LabError: The host is off; or the command failed and `check` is set.
            subprocess.TimeoutExpired: It was still running; what was started here was killed.
        """
        done = subprocess.run(
            self.command(name, *argv, env=env),
            input=stdin,
            text=True,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode:
            raise LabError(f"{name}: {' '.join(argv)}: {done.stderr.strip() or done.returncode}")
        return done

    def ssh_command(self, name: str, *argv: str) -> list[str]:
        """Return the same over SSH, from the hub; the host's key is not looked at."""
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
        flags = [f"-o{option}" for option in options]
        return self.command(
            HUB, "ssh", "-F", "none", "-i", str(self.ssh_key), *flags, f"root@{self.address(name)}", *argv
        )

    def spawn(self, name: str, *argv: str, log: Path, env: Mapping[str, str] | None = None) -> Process:
        """Start a long-running program in a host or the hub; `end_processes` ends it at the latest.

        In the hub it has this process's environment with `env` on top, in a host a clean one.
        """
        process = Process(self.command(name, *argv, env=env), forks=name != HUB, env=os.environ, log=log)
        self._processes.append(process)
        return process

    def read(self, name: str, path: str) -> bytes:
        """Return the content of a file in a running host.

        Raises:
            LabError: It cannot be read, or the host is off.
        """
        argv = self.command(name, "cat", "--", path)
        done = subprocess.run(argv, capture_output=True, timeout=RUN_TIMEOUT_S, check=False)
        if done.returncode:
            raise LabError(f"{name}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def write(self, name: str, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Write a file in a running host, with the directories above it."""
        script = 'mkdir -p "$(dirname "$1")" && cat > "$1" && chmod "$2" "$1"'
        argv = self.command(name, "sh", "-c", script, "sh", path, f"{mode:o}")
        done = subprocess.run(argv, input=data, capture_output=True, timeout=RUN_TIMEOUT_S, check=False)
        if done.returncode:
            raise LabError(f"{name}: {done.stderr.decode(errors='replace').strip()}")

    @contextlib.contextmanager
    def in_hub(self) -> Iterator[None]:
        """Move the calling thread onto the lab's network: its new sockets and processes are there."""
        with in_network_namespace(self._network.hub):
            yield

    @staticmethod
    def wait(what: str, holds: Callable[[], object], *, timeout_s: float = RUN_TIMEOUT_S) -> None:
        """Poll until `holds()` is true.

        Raises:
            LabError: It was not in time; the message has `what`.
        """
        deadline = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline:
                raise LabError(f"waited {timeout_s} s for {what}")
            time.sleep(0.02)

    def end_processes(self) -> None:
        """Kill every program that `spawn` started, and what else runs in the hub."""
        with contextlib.suppress(OSError):
            (self._cgroup / HUB / "cgroup.kill").write_text("1")
        for process in self._processes:
            process.kill()
        self._processes.clear()

    @property
    def _cgroup(self) -> Path:
        root = cgroup_root()
        if root is None:
            raise LabError("cgroup v2 is not mounted")
        return root / self.name

    def _machine(self, name: str) -> Machine:
        number(name)
        return Machine(
            name=name,
            network=self._network,
            directory=self.directory / name,
            cgroup=self._cgroup / name,
            lower=self._lower,
            binds=self._binds,
            login_key=self._login_key(),
        )

    def _login_key(self) -> str:
        with contextlib.suppress(OSError):
            return self.ssh_key.with_suffix(".pub").read_text()
        return ""
