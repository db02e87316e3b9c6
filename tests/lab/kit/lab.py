"""A lab and its verbs: hosts that are switched on and off, cut off, slowed down and looked into.

1. Hosts are called n1, n2, ...; `hub` is this machine's files on the lab's network.
2. Everything that must be known to take a lab down is on disk: a lab whose maker was killed is cleaned by
   `down` on another `Lab` of the same name and directory.
3. Labs of different names and directories do not meet, not even with the same addresses.
"""

import concurrent.futures
import contextlib
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.lab.kit.delay import clear_delay, set_delay
from tests.lab.kit.disk import make_key
from tests.lab.kit.machine import JOIN_CGROUP, Machine, remove_cgroup
from tests.lab.kit.needs import cgroup_root
from tests.lab.kit.network import HUB, Network, number
from tests.lab.kit.processes import LabError, Process, in_network_namespace

LABS = Path("/var/tmp/hamgr-lab")
CHECKOUT = Path(__file__).parents[3]
STARTS_AT_ONCE_MAX = 4
ANSWER_TIMEOUT_S = 5.0
RUN_TIMEOUT_S = 30.0
INOTIFY_INSTANCES_MIN = 2048
"""The kernel's own 128 stop the 28th systemd without a word."""


def default_binds() -> tuple[str, ...]:
    """Return this checkout and this interpreter, which hosts see live, whatever else they hide."""
    paths = sorted({str(CHECKOUT), sys.prefix, sys.base_prefix})
    inner = {path for path in paths for outer in paths if path.startswith(f"{outer}/")}
    return tuple(path for path in paths if path not in inner and path not in {"/", "/usr", "/usr/local"})


class Lab:
    """A set of hosts on a network of their own.

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

    # Power

    def up(self, hosts: int) -> None:
        """Switch on n1 to n`hosts`, those that are new included, and wait for their sshd."""
        self._make_hub()
        self._each(Machine.start, [f"n{i}" for i in range(1, hosts + 1)])

    def start(self, *names: str) -> None:
        """Switch on again and wait for sshd; hosts that are on are only waited for."""
        self._each(Machine.start, names)

    def kill(self, *names: str) -> None:
        """Cut the power: nothing says good-bye for the host, its disk stays."""
        if unknown := sorted({*names} - {*self.hosts}):
            raise LabError(f"no such host: {', '.join(unknown)}")
        self._each(Machine.cut_power, names)

    def wipe(self, name: str) -> None:
        """Cut the power and throw the disk away; the next start is another machine of this name."""
        self._machine(name).wipe()

    def reboot(self, name: str) -> None:
        """Reboot the host in order, from the inside, and wait for its sshd."""
        before = self._machine(name).init_pid()
        self.run(name, "systemctl", "--no-block", "reboot", check=True)
        self.wait(f"{name} to go down", lambda: self._machine(name).init_pid() != before)
        self._machine(name).start()

    def freeze(self, name: str) -> None:
        """Stop every process of the host at once; its kernel still answers ARP, ping and SYN."""
        self._machine(name).freeze(frozen=True)

    def thaw(self, name: str) -> None:
        self._machine(name).freeze(frozen=False)

    def crash(self, name: str, unit: str) -> None:
        """SIGKILL every process of one service in the host; its kernel closes the sockets."""
        self.run(name, "systemctl", "kill", "--signal=KILL", unit, check=True)

    # Network

    def link(self, name: str, *, up: bool) -> None:
        """Pull the host's cable, or plug it back."""
        self._network.link(name, up=up)

    def partition(self, *groups: Iterable[str]) -> None:
        """Cut groups of hosts (and `hub`) off from each other, instead of every earlier cut."""
        self._network.partition([list(group) for group in groups])

    def block(self, source: str, target: str) -> None:
        """Drop what goes from `source` to `target`; the other direction passes."""
        self._network.block(source, target)

    def heal(self) -> None:
        """Undo every partition and block."""
        self._network.heal()

    def delay(self, name: str, delay_ms: float, *, loss_percent: float = 0.0) -> None:
        """Delay every frame from and to a running host, each way; 0 and 0 undo it."""
        if not self.running(name):
            raise LabError(f"{name} is off")
        directory = self._machine(name).directory
        set_delay(self._network, name, directory, delay_ms=delay_ms, loss_percent=loss_percent)

    # Inside

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

    # Order

    def end_processes(self) -> None:
        """Kill every program that `spawn` started, and what else runs in the hub."""
        with contextlib.suppress(OSError):
            (self._cgroup / HUB / "cgroup.kill").write_text("1")
        for process in self._processes:
            process.kill()
        self._processes.clear()

    def repair(self) -> None:
        """Undo every fault: cuts, delays, pulled cables, frozen and dead hosts.

        A host that does not answer although it has power is replaced by a new one.
        """
        self.heal()
        self._each(self._repair, self.hosts)

    def status(self) -> list[str]:
        """Return one line for each host."""
        lines = []
        for name in self.hosts:
            machine = self._machine(name)
            state = "off"
            if machine.power_pid():
                state = f"{'frozen' if machine.frozen() else 'on'} pid={machine.init_pid()} {machine.use()}"
            lines.append(f"{name} {self.address(name)} {state}")
        return lines

    def down(self) -> None:
        """Take the lab away without a trace, also one that a killed run has left; nothing if there is none.

        Raises:
            LabError: Something is still mounted below the directory; nothing was deleted.
        """
        self.end_processes()
        self._each(Machine.cut_power, self.hosts)
        if self._network.exists():
            self._network.remove()
        remove_cgroup(self._cgroup)
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        below = [line.split()[4] for line in mounts if line.split()[4].startswith(f"{self.directory}/")]
        if below:  # deleting through a mount would delete this machine's files
            raise LabError(f"still mounted: {' '.join(below)}")
        shutil.rmtree(self.directory, ignore_errors=True)
        if self.directory.parent == LABS:
            with contextlib.suppress(OSError):  # others may be there
                LABS.rmdir()

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

    def _make_hub(self) -> None:
        for directory in (self.directory.parent, self.directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = self.directory.lstat()
        if owner.st_uid != os.geteuid() or owner.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise LabError(f"{self.directory} belongs to somebody else")  # /var/tmp is everybody's
        (self._cgroup / HUB).mkdir(parents=True, exist_ok=True)
        if not self.ssh_key.exists():
            make_key(self.ssh_key, self.name)
        limit = Path("/proc/sys/fs/inotify/max_user_instances")
        if int(limit.read_text()) < INOTIFY_INSTANCES_MIN:
            limit.write_text(str(INOTIFY_INSTANCES_MIN))
        if not self._network.exists():
            self._network.make()

    def _repair(self, machine: Machine) -> None:
        if machine.power_pid():
            machine.freeze(frozen=False)
            if (machine.directory / "relay.pid").exists():
                clear_delay(self._network, machine.name, machine.directory)
            self._network.link(machine.name, up=True)
            if machine.answers(timeout_s=ANSWER_TIMEOUT_S):
                return
            machine.wipe()
        machine.start()

    def _each(self, act: Callable[[Machine], None], names: Iterable[str]) -> None:
        machines = [self._machine(name) for name in names]
        with concurrent.futures.ThreadPoolExecutor(STARTS_AT_ONCE_MAX) as pool:
            list(pool.map(act, machines))
