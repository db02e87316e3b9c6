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
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.lab.kit.delay import clear_delay, set_delay
from tests.lab.kit.disk import make_key
from tests.lab.kit.inside import LABS, Inside
from tests.lab.kit.machine import Machine, remove_cgroup
from tests.lab.kit.network import HUB
from tests.lab.kit.processes import LabError

STARTS_AT_ONCE_MAX = 4
ANSWER_TIMEOUT_S = 5.0
INOTIFY_INSTANCES_MIN = 2048
"""The kernel's own 128 stop the 28th systemd without a word."""


class Lab(Inside):
    """A set of hosts on a network of their own, and everything that can befall them."""

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

    def renew(self, *names: str) -> None:
        """Put new machines, with empty disks and other identities, in the place of hosts."""
        self._each(Machine.wipe, names)
        self._each(Machine.start, names)

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

    # Order

    def repair(self) -> None:
        """Undo every fault: cuts, delays, pulled cables, frozen and dead hosts.

        A host that cannot be brought back is replaced by a new one.
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
        try:
            machine.start()
        except LabError:  # a test has broken its disk
            machine.wipe()
            machine.start()

    def _each(self, act: Callable[[Machine], None], names: Iterable[str]) -> None:
        machines = [self._machine(name) for name in names]
        with concurrent.futures.ThreadPoolExecutor(STARTS_AT_ONCE_MAX) as pool:
            list(pool.map(act, machines))
