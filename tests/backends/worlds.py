"""One node behind each adapter, with the same handles: what the contract suite runs over.

Scripts mean the same everywhere: they are shell, and their first line says to the node in memory what they
would do.
"""

import asyncio
import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Protocol

import asyncssh

from backends.memory.executor import MemoryExecutor
from backends.memory.node import MemoryNode
from backends.ports import AttemptKey, Host, NodeExecutor
from backends.ssh.executor import SSHExecutor
from backends.ssh.keys import openssh_form
from backends.ssh.sandbox.nodes import new_boot, prepare
from backends.ssh.sandbox.processes import stop_processes
from backends.ssh.sandbox.server import Sandbox, sandbox
from backends.ssh.settings import SSHSettings
from backends.ssh.threaded import ThreadedSSHExecutor

_DEADLINE_S = 15.0


def work(*, lasts_s: float = 0.0, exit_code: int = 0, output: str = "") -> bytes:
    """Return a script that lasts so long, then says `output`, then exits."""
    say = f"printf %s {output}\n" if output else ""
    return f"# {lasts_s} {exit_code} {output}\nsleep {lasts_s}\n{say}exit {exit_code}\n".encode()


def large_work(output_bytes: int) -> bytes:
    """Return a script that says `output_bytes` bytes, the last of which are `end`."""
    return f"# large {output_bytes}\nhead -c {output_bytes - 3} /dev/zero\nprintf end\n".encode()


def in_memory(_key: AttemptKey, script: bytes) -> tuple[float, int, bytes]:
    """Do in memory what the script's first line says."""
    words = script.decode().splitlines()[0].split(" ")
    if words[1] == "large":
        return 0.0, 0, bytes(int(words[2]) - 3) + b"end"
    return float(words[1]), int(words[2]), words[3].encode()


def looked(script: bytes) -> tuple[float, int, bytes]:
    """See in memory what the script's first line says."""
    return in_memory(AttemptKey(job="look", step="look", attempt=1), script)


class World(Protocol):
    """A node, the executor that reaches it, and what can befall it."""

    executor: NodeExecutor
    stranger: NodeExecutor
    """An executor whose login the node does not accept."""
    host: Host

    def launches(self) -> list[str]: ...
    def traces(self) -> list[str]:
        """Return whatever the runner keeps on the node."""

    async def stop(self) -> None: ...
    async def start(self) -> None: ...
    async def drop_connections(self) -> None: ...
    async def reboot(self) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.node = MemoryNode(
            name="one", behaviour=in_memory, sight=looked, facts={"os": "memory", "cpus": 1}
        )
        memory = MemoryExecutor(answer_timeout_s=2.0)
        self.memory = memory
        self.executor: NodeExecutor = memory
        self.host = memory.attach(self.node, "10.0.0.1")
        closed = MemoryNode(name="one", host_key=self.node.host_key, lets_us_in=False)
        stranger = MemoryExecutor()
        stranger.attach(closed, "10.0.0.1")
        self.stranger: NodeExecutor = stranger

    def launches(self) -> list[str]:
        return [f"{epoch} {key.job} {key.step} {key.attempt}" for epoch, key in self.node.launches]

    def traces(self) -> list[str]:
        return self.launches()

    async def stop(self) -> None:
        self.memory.set_up(self.node, False)

    async def start(self) -> None:
        self.memory.set_up(self.node, True)

    async def drop_connections(self) -> None:
        self.memory.set_up(self.node, False)
        await asyncio.sleep(0.01)
        self.memory.set_up(self.node, True)

    async def reboot(self) -> None:
        self.memory.reboot(self.node)


def settings(key_path: Path, **changes: float) -> SSHSettings:
    """Return the settings of the tests: as shipped, but for `changes`."""
    return SSHSettings(client_key_paths=(key_path,), **changes)  # type: ignore[arg-type]  # floats and ints alike


def client_key(path: Path) -> asyncssh.SSHKey:
    """Create a client's private key at `path` and return it."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(path)
    path.chmod(0o600)
    return key


def launches_of(root: Path) -> list[str]:
    """Return the node's own evidence: a line per launch."""
    path = root / "var/lib/hamgr/launches"
    return path.read_text().splitlines() if path.exists() else []


class _SSHWorld:
    def __init__(self, folder: Path, root: Path, host: Host) -> None:
        client_key(folder / "stranger")
        self.root = root
        self.host = host
        self.executor: NodeExecutor = ThreadedSSHExecutor(settings(folder / "client"), random=Random(1))
        self.stranger: NodeExecutor = SSHExecutor(settings(folder / "stranger"), random=Random(2))

    def launches(self) -> list[str]:
        return launches_of(self.root)

    def traces(self) -> list[str]:
        """Return every file of the runner, with its size."""
        folder = self.root / "var/lib/hamgr"
        return sorted(f"{path.name} {path.stat().st_size}" for path in folder.rglob("*") if path.is_file())


class SandboxWorld(_SSHWorld):
    def __init__(self, folder: Path, running: Sandbox) -> None:
        node = running.nodes[0]
        super().__init__(folder, node.root, node.host)
        self._running = running

    async def stop(self) -> None:
        await self._running.stop(self.host.name)

    async def start(self) -> None:
        await self._running.start(self.host.name)

    async def drop_connections(self) -> None:
        await self._running.drop_connections(self.host.name)

    async def reboot(self) -> None:
        await self._running.reboot(self.host.name)


class OpenSSHWorld(_SSHWorld):
    """A real sshd of the current user, on loopback."""

    def __init__(self, folder: Path, sshd: str, key: asyncssh.SSHKey) -> None:
        root = folder / "root"
        host_key = prepare(root, "one")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        host = Host(
            name="one",
            address="127.0.0.1",
            port=port,
            user=getpass.getuser(),
            host_key=openssh_form(host_key),
        )
        super().__init__(folder, root, host)
        (folder / "authorized_keys").write_bytes(key.export_public_key())
        wrapper = folder / "login"
        wrapper.write_text(
            f"#!/bin/sh\nread -r HAMGR_BOOT_ID < {root}/run/boot_id\nHAMGR_ROOT={root}\n"
            f"PATH={root}/bin:/usr/sbin:/usr/bin:/sbin:/bin\nexport HAMGR_BOOT_ID HAMGR_ROOT PATH\n"
            'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'
        )
        wrapper.chmod(0o755)
        (folder / "sshd_config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {root}/etc/ssh/ssh_host_ed25519_key\n"
            f"PidFile none\nAuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
            f"PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
            f"PermitUserRC no\nPrintMotd no\nLogLevel ERROR\nForceCommand {wrapper}\n"
        )
        self._command = [sshd, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "sshd.log")]
        self._daemon: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # its privilege separation wants it
        self._daemon = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        give_up_at = time.monotonic() + _DEADLINE_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex((self.host.address, self.host.port)) == 0:
                    return
            assert time.monotonic() < give_up_at, "sshd did not start"
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        if self._daemon is not None:
            await self.drop_connections()
            self._daemon.terminate()
            self._daemon.wait()
            self._daemon = None

    async def drop_connections(self) -> None:
        assert self._daemon is not None
        for pid in _descendants(self._daemon.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended by itself
                if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                    os.kill(pid, signal.SIGKILL)

    async def reboot(self) -> None:
        await self.stop()
        stop_processes(self.root)
        new_boot(self.root)
        await self.start()


def _descendants(parent: int) -> list[int]:
    try:
        children = [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return children + [deeper for child in children for deeper in _descendants(child)]


def sshd_path() -> str | None:
    """Return where sshd is, if it is installed."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@asynccontextmanager
async def world(kind: str, folder: Path) -> AsyncIterator[World]:
    """Run a world of the kind `memory`, `sandbox` or `openssh`."""
    if kind == "memory":
        yield MemoryWorld()
        return
    key = client_key(folder / "client")
    public = key.export_public_key().decode()
    if kind == "sandbox":
        async with sandbox(["one"], root=folder / "nodes", authorized_key=public, reap=True) as running:
            there: World = SandboxWorld(folder, running)
            yield there
            await there.executor.close()
            await there.stranger.close()
        return
    sshd = sshd_path()
    assert sshd is not None
    real = OpenSSHWorld(folder, sshd, key)
    await real.start()
    try:
        yield real
    finally:
        await real.executor.close()
        await real.stranger.close()
        await real.stop()
        stop_processes(real.root)
