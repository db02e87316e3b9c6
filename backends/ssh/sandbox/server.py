"""The SSH servers of all practice nodes in one process, and what can befall a node."""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh

from backends.ssh.keys import openssh_form
from backends.ssh.sandbox.nodes import SandboxNode, environment, new_boot, prepare
from backends.ssh.sandbox.processes import stop_processes
from backends.ssh.sandbox.sessions import Command

_ADDRESS = "127.0.0.1"
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com")
_BACKLOG = 256


class _Server(asyncssh.SSHServer):
    """One connection to one node; lets exactly one key in."""

    def __init__(self, machine: "_Machine") -> None:
        self._machine = machine
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._machine.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncssh's signature)
        if self._connection is not None:
            self._machine.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002 (asyncssh's signature)
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002 (asyncssh's signature)
        return key == self._machine.authorized_key

    def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
        return Command(self._machine.root, self._machine.commands)


class _Machine:
    """One node: its folder, its listening socket, its connections and commands."""

    def __init__(self, name: str, root: Path, authorized_key: asyncssh.SSHKey) -> None:
        self.name = name
        self.root = root
        self.authorized_key = authorized_key
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self.commands: set[Command] = set()
        self.key = prepare(root, name)
        self._acceptor: asyncssh.SSHAcceptor | None = None

    async def start(self, port: int) -> int:
        """Listen on `port` (0: any) and return it."""
        self._acceptor = await asyncssh.listen(
            _ADDRESS,
            port,
            server_factory=lambda: _Server(self),
            server_host_keys=[self.key],
            config=None,
            encoding=None,
            encryption_algs=_CIPHERS,
            compression_algs=["none"],
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_host=None,
            agent_forwarding=False,
            allow_pty=False,
            reuse_address=True,
            backlog=_BACKLOG,
        )
        return self._acceptor.get_port()

    async def stop(self) -> None:
        """Stop listening, cut every connection, end the commands of logins (not what they detached)."""
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.wait_closed()
            self._acceptor = None
        await self.drop_connections()
        for command in tuple(self.commands):
            command.kill()

    async def drop_connections(self) -> None:
        for connection in tuple(self.connections):
            connection.abort()
            await connection.wait_closed()


class Sandbox:
    """Running practice nodes."""

    def __init__(self, machines: Sequence[_Machine], nodes: Sequence[SandboxNode]) -> None:
        self._machines = {machine.name: machine for machine in machines}
        self._ports = {node.name: node.port for node in nodes}
        self.nodes = tuple(nodes)

    def node(self, name: str) -> SandboxNode:
        """Return the node of this name."""
        return next(node for node in self.nodes if node.name == name)

    async def stop(self, name: str) -> None:
        """Take the node's SSH server away; what it runs detached goes on."""
        await self._machines[name].stop()

    async def start(self, name: str) -> None:
        """Bring the node's SSH server back, on the same port."""
        await self._machines[name].start(self._ports[name])

    async def drop_connections(self, name: str) -> None:
        """Cut every connection of the node, as a failing switch does."""
        await self._machines[name].drop_connections()

    async def reboot(self, name: str) -> None:
        """End everything that runs on the node and boot it: another boot id, enabled services started."""
        await self.stop(name)
        root = self._machines[name].root
        stop_processes(root)
        new_boot(root)
        boot = await asyncio.create_subprocess_exec(root / "bin/systemctl", "default", env=environment(root))
        await boot.wait()
        await self.start(name)


@asynccontextmanager
async def sandbox(
    names: Sequence[str], *, root: Path, authorized_key: str, port_first: int = 0, reap: bool = False
) -> AsyncIterator[Sandbox]:
    """Run one node for each name until the block ends.

    Args:
        root: The nodes' folders are made below it, `root/NAME`; they are kept.
        authorized_key: The one public key, in OpenSSH form, that may log in (as any user).
        port_first: The first node's port, the others follow; 0 lets the system choose.
        reap: At the end, also end what the nodes' services and steps left running.

    Raises:
        OSError: A port is taken, or `root` cannot be written.
        ValueError: `authorized_key` is none.
    """
    _raise_file_limit()
    machines = _machines(names, root.resolve(), authorized_key)  # noqa: ASYNC240  (once, before anything is served)
    try:
        nodes = []
        for place, machine in enumerate(machines):
            port = await machine.start(port_first + place if port_first else 0)
            nodes.append(
                SandboxNode(
                    name=machine.name,
                    address=_ADDRESS,
                    port=port,
                    host_key=openssh_form(machine.key),
                    root=machine.root,
                )
            )
        yield Sandbox(machines, nodes)
    finally:
        for machine in machines:
            await machine.stop()
        if reap:
            stop_processes(*(machine.root for machine in machines))


def _machines(names: Sequence[str], root: Path, authorized_key: str) -> list[_Machine]:
    try:
        authorized = asyncssh.import_public_key(authorized_key)
    except asyncssh.KeyImportError as failure:
        raise ValueError(f"not a public key: {failure}") from failure
    return [_Machine(name, root / name, authorized) for name in names]


def _raise_file_limit() -> None:
    """A node with a running command needs some six descriptors; the usual soft limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a container may forbid it; few nodes need it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
