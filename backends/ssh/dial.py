"""Opens one connection: paced, patient with a busy sshd, strict about who answers.

1. A node's key is compared exactly with the pinned one during the key exchange, before anything else is
   sent. Only a host without a pinned key (`probe`) may show any key, which it then has proved to hold.
2. hamgr logs in with its own keys and nothing else: no password, no agent, no user's configuration.
3. What a busy sshd does to a dial (reset, closed before the login) is met with a pause and another dial,
   inside the deadline; any other failure ends the dial at once.
"""

import asyncio
from contextlib import AsyncExitStack

import asyncssh

from backends.ports import BackendError, Host, Refused
from backends.ssh import errors, keys
from backends.ssh.pacing import Pacing
from backends.ssh.settings import SSHSettings
from backends.ssh.wire import Connector, Stage, Wire

_KEX = (
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group14-sha256",
)
# AES-128-GCM first: with AES-NI it costs us some 40 % less processor time than ChaCha20 for the same bytes.
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes256-ctr",
)


_WIRE = "hamgr_wire"


def heard_at(connection: asyncssh.SSHClientConnection) -> float:
    """Return when the last byte of a dialled connection came, on the loop's clock."""
    wire = connection.get_extra_info(_WIRE)
    return wire.heard_at if isinstance(wire, Wire) else asyncio.get_running_loop().time()


class _Client(asyncssh.SSHClient):
    """Asked by asyncssh about a key that is not the pinned one."""

    def __init__(self, *, learn: bool) -> None:
        self._learn = learn

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002 (asyncssh's signature)
        return self._learn


class _DialFailedError(Exception):
    """One dial ended; `passing` says that the next may not."""

    def __init__(self, error: BackendError, *, passing: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.passing = passing


class Dialer:
    """Opens connections with hamgr's keys."""

    def __init__(self, settings: SSHSettings, pacing: Pacing) -> None:
        """Load the client keys.

        Raises:
            ValueError: There is none, or one cannot be used; the message says which and why.
        """
        self._settings = settings
        self._keys = keys.client_keys(settings.client_key_paths)
        self._pacing = pacing

    async def dial(self, host: Host, *, deadline: float) -> asyncssh.SSHClientConnection:
        """Open a connection and log in.

        Args:
            deadline: On the loop's clock.

        Raises:
            Unreachable, Refused: Nothing was started on the node.
        """
        try:
            pinned = keys.pinned_key(host.host_key) if host.host_key else None
        except ValueError as failure:
            raise Refused(host.name, f"the host key pinned for it is not valid: {failure}") from failure
        now = asyncio.get_running_loop().time
        give_up_at = deadline
        failures = 0
        while True:
            try:
                return await self._once(host, pinned, deadline)
            except _DialFailedError as failed:
                failures += 1
                if failures == 1:
                    give_up_at = min(deadline, now() + self._settings.dial_timeout_s)
                pause_s = self._pacing.pause_s(failures)
                if not failed.passing or now() + pause_s >= give_up_at:
                    raise failed.error from failed
            await asyncio.sleep(pause_s)

    async def _once(
        self, host: Host, pinned: asyncssh.SSHKey | None, deadline: float
    ) -> asyncssh.SSHClientConnection:
        now = asyncio.get_running_loop().time
        limit = asyncio.timeout_at(deadline)

        async def admit() -> None:
            limit.reschedule(deadline)  # waiting for our own turn is not held against the node
            await stack.enter_async_context(self._pacing.handshakes)
            limit.reschedule(min(deadline, now() + self._settings.login_timeout_s))

        connector = Connector(self._settings.greeting_bytes_max, admit)
        try:
            # The stack holds the handshake's place until the login has ended, well or not.
            async with limit, self._pacing.dial(host.address, host.port), AsyncExitStack() as stack:
                limit.reschedule(min(deadline, now() + self._settings.connect_timeout_s))
                connector.stage = Stage.CONNECT
                connection = await self._connect(host, pinned, connector)
        except errors.DIAL_ERRORS as failure:
            raise _DialFailedError(
                errors.dial_failed(host, failure, connector.stage, self._settings),
                passing=errors.is_passing(failure),
            ) from failure
        connector.trust()
        connection.set_extra_info(**{_WIRE: connector.wire})
        return connection

    async def _connect(
        self, host: Host, pinned: asyncssh.SSHKey | None, connector: Connector
    ) -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(
            host.address,
            host.port,
            tunnel=connector,
            config=None,
            client_factory=lambda: _Client(learn=pinned is None),
            known_hosts=([pinned] if pinned else [], [], []),
            server_host_key_algs=keys.signature_algorithms(pinned),
            kex_algs=_KEX,
            encryption_algs=_CIPHERS,
            compression_algs=["none"],
            username=host.user,
            client_keys=list(self._keys),
            client_certs=(),
            preferred_auth=("publickey",),
            password=None,
            agent_path=None,
            agent_forwarding=False,
            x11_forwarding=False,
            host_based_auth=False,
            kbdint_auth=False,
            password_auth=False,
            gss_auth=False,
            gss_kex=False,
            gss_host=None,
            login_timeout=0,  # ours is the limit around this call
            keepalive_interval=self._settings.keepalive_interval_s,
            keepalive_count_max=self._settings.keepalive_count_max,
        )
