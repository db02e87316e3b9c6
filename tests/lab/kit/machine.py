"""Powers one host on and off, freezes it, and gives the way into it.

Nothing is kept in memory: what a host is doing is read from its directory and from /proc, so that any
process, also one of a later run, can see and stop it.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.kit.delay import clear_delay
from tests.lab.kit.disk import HOST_KEY, make_disk
from tests.lab.kit.network import HUB, Network
from tests.lab.kit.processes import (
    HOST_ENVIRONMENT,
    PATH,
    TOOL_TIMEOUT_S,
    LabError,
    alive,
    children,
    in_network_namespace,
)

BOOT = Path(__file__).with_name("boot.sh")
BOOT_TIMEOUT_S = 30.0
SSH_CONNECT_TIMEOUT_S = 1.0
EMPTY_TIMEOUT_S = 20.0
DROP_CAPABILITIES = ("setpriv", "--bounding-set=-sys_time,-sys_module,-sys_rawio")
"""The clock, the modules and the memory are this machine's."""

POWER = """
echo $$ > "$PID_FILE.new"
mv "$PID_FILE.new" "$PID_FILE"
while :; do
  "$@"
  ended=$?
  ip link set eth0 down
  [ $ended = 129 ] || break
done
ip link del eth0
"""
"""A reboot(2) in a PID namespace ends its first process by SIGHUP (129): boot again. Power off is SIGINT.

The kernel would go on answering pings for a host that is off, so its network goes with it.
"""
JOIN_CGROUP = ("sh", "-c", 'echo $$ > "$0" && exec "$@"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One host of a lab.

    Attributes:
        directory: Its disk, its console and its process id.
        cgroup: Holds every process of the host, those that were started from outside included.
        lower: The root below its disk; this machine's, or a tree made by debootstrap.
        binds: Paths of this machine that the host sees live and cannot write.
        login_key: The public key that may log in as root.
    """

    name: str
    network: Network
    directory: Path
    cgroup: Path
    lower: str
    binds: Sequence[str]
    login_key: str

    def power_pid(self) -> int | None:
        """Return the process that boots the host, and boots it again after a reboot; None when it is off."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.directory / "pid").read_text())
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if str(self.directory).encode() in arguments and alive(pid):  # process ids are used again
                return pid
        return None

    def init_pid(self) -> int | None:
        """Return this machine's number of the host's first process; None when off or between two boots."""
        pid = self.power_pid()
        for _ in range(2):  # the power process starts unshare, which starts the first process
            below = children(pid) if pid else []
            pid = below[0] if below else None
        return pid

    def start(self) -> None:
        """Power on and wait until sshd answers; a host that is on is only waited for.

        Raises:
            LabError: It did not come up; the message has the end of its console.
        """
        if not self.power_pid():
            self.cut_power()  # what is left of a host that powered itself off
            make_disk(self.directory, self.name, self.network, self.login_key)
            shutil.rmtree(self.directory / "work", ignore_errors=True)
            (self.directory / "work").mkdir()
            self.cgroup.mkdir(exist_ok=True)
            self.network.plug(self.name)
            self._press_power()
        if not self.answers(timeout_s=BOOT_TIMEOUT_S):
            console = (self.directory / "console.log").read_text(errors="replace")
            raise LabError(f"{self.name} did not come up: {console[-600:]}")

    def answers(self, *, timeout_s: float) -> bool:
        """Wait until sshd greets; False when it has not in time, or the host is off."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not self.power_pid():
                return False
            # Not before eth0 has its address: an unanswered ARP request costs a second.
            if self._booted() and self._greets():
                return True
            time.sleep(0.02)
        return False

    def cut_power(self) -> None:
        """Take the power away: its peers see neither FIN nor RST, its disk stays; nothing if it is off."""
        clear_delay(self.network, self.name, self.directory)
        self.network.unplug(self.name)  # first, so that the kernel cannot say good-bye for it
        init = self.init_pid()
        if power := self.power_pid():
            os.kill(power, signal.SIGKILL)
        with contextlib.suppress(OSError):
            (self.cgroup / "cgroup.kill").write_text("1")
        if init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(init, signal.SIGKILL)  # the whole PID namespace ends with its first process
        deadline = time.monotonic() + TOOL_TIMEOUT_S
        while init and alive(init):
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} survived its power cut")
            time.sleep(0.005)
        (self.directory / "pid").unlink(missing_ok=True)
        self.network.forget(self.name)
        remove_cgroup(self.cgroup)

    def wipe(self) -> None:
        """Cut the power and throw the disk away: the next start makes another machine of this name."""
        self.cut_power()
        shutil.rmtree(self.directory, ignore_errors=True)

    def freeze(self, *, frozen: bool) -> None:
        """Stop (or let go on) every process at once; the kernel still answers ARP, ping and SYN for it."""
        if not self.power_pid():
            raise LabError(f"{self.name} is off")
        (self.cgroup / "cgroup.freeze").write_text(str(int(frozen)))
        deadline = time.monotonic() + TOOL_TIMEOUT_S
        while f"frozen {int(frozen)}" not in (self.cgroup / "cgroup.events").read_text():
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} is not yet {'frozen' if frozen else 'thawed'}")
            time.sleep(0.002)

    def frozen(self) -> bool:
        with contextlib.suppress(OSError):
            return (self.cgroup / "cgroup.freeze").read_text().strip() == "1"
        return False

    def enter(self, argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
        """Return what to run here so that `argv` runs in the host, as root, in a clean environment.

        Raises:
            LabError: The host is off, or between two boots.
        """
        if not (init := self.init_pid()):
            raise LabError(f"{self.name} is not running")
        namespaces = ["-m", "-p", "-u", "-i", "-n", "-C", "-r", "-w"]
        variables = [f"{key}={value}" for key, value in {**HOST_ENVIRONMENT, **env}.items()]
        return [
            *JOIN_CGROUP,
            str(self.cgroup / "cgroup.procs"),
            "nsenter",
            "-t",
            str(init),
            *namespaces,
            *DROP_CAPABILITIES,
            "env",
            "-i",
            *variables,
            *argv,
        ]

    def host_key(self) -> str:
        """Return the public host key in OpenSSH form, without comment."""
        # Written when the disk was made; a key that a test has changed since is read in the host instead.
        return " ".join((self.directory / "upper" / f"{HOST_KEY}.pub").read_text().split()[:2])

    def use(self) -> str:
        """Return how many processes the host has and the memory that is theirs alone or in part."""
        pids: set[str] = set()
        for path, _, _ in os.walk(self.cgroup):
            with contextlib.suppress(OSError):
                pids.update((Path(path) / "cgroup.procs").read_text().split())
        memory_kib = 0
        for pid in pids:
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                memory_kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return f"processes={len(pids)} memory={memory_kib // 1024} MiB"

    def _press_power(self) -> None:
        env = {
            "PATH": PATH,
            "PID_FILE": str(self.directory / "pid"),
            "NAME": self.name,
            "ADDRESS": self.network.address(self.name),
            "GATEWAY": self.network.address(HUB),
            "CGROUP": str(self.cgroup),
            "LOWER": self.lower,
            "BINDS": ":".join(self.binds),
            "DROP": " ".join(DROP_CAPABILITIES),
        }
        unshare = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--propagation", "private"]
        boot = [*unshare, "sh", str(BOOT), str(self.directory)]
        with (
            in_network_namespace(self.network.namespace(self.name)),
            (self.directory / "console.log").open("ab") as console,
        ):
            # setsid --fork: the host outlives this process, and somebody else waits for its end.
            argv = ["setsid", "--fork", "sh", "-c", POWER, "lab-host", *boot]
            subprocess.run(
                argv, env=env, stdin=subprocess.DEVNULL, stdout=console, stderr=console, check=True
            )
        deadline = time.monotonic() + TOOL_TIMEOUT_S
        while not (self.directory / "pid").exists():
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} does not power on")
            time.sleep(0.002)

    def _booted(self) -> bool:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.init_pid()}/comm").read_text() == "systemd\n"
        return False

    def _greets(self) -> bool:
        address = (self.network.address(self.name), 22)
        with (
            contextlib.suppress(OSError),
            in_network_namespace(self.network.hub),
            socket.create_connection(address, SSH_CONNECT_TIMEOUT_S) as ssh,
        ):
            return ssh.recv(4) == b"SSH-"
        return False


def remove_cgroup(cgroup: Path) -> None:
    """Kill what is in a cgroup and below, and remove it: that may take a moment, and some may still come in.

    A program whose starter was killed joins the cgroup by itself, whenever the machine gets round to it.
    """
    deadline = time.monotonic() + EMPTY_TIMEOUT_S
    while cgroup.exists():
        with contextlib.suppress(OSError):
            (cgroup / "cgroup.kill").write_text("1")
        inside = [Path(path) for path, _, _ in os.walk(cgroup, topdown=False)]  # deepest first, itself last
        for path in inside:
            with contextlib.suppress(OSError):
                path.rmdir()
        if time.monotonic() > deadline:
            return
        if cgroup.exists():
            time.sleep(0.02)
