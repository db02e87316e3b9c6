"""What asyncssh and the system say -> the port's errors: who, what happened, what to do about it.

Text that came from a node is cut and stripped of control characters before it is repeated.
"""

import errno
import socket

import asyncssh

from backends.ports import BackendError, Host, Refused, Unreachable
from backends.ssh.settings import SSHSettings
from backends.ssh.wire import GreetingTooLongError, Stage

_QUOTE_CHARS_MAX = 200
_NO_ROUTE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
_OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE})
_LOST = (asyncssh.ConnectionLost, ConnectionResetError, ConnectionAbortedError, BrokenPipeError)

DIAL_ERRORS = (OSError, asyncssh.Error)
"""Everything that a dial may raise; `TimeoutError` is an `OSError`."""


def quoted(text: str | bytes) -> str:
    """Return text of a node as one short printable line."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    line = "".join(char if char.isprintable() else " " for char in text[: 4 * _QUOTE_CHARS_MAX])
    return " ".join(line.split())[:_QUOTE_CHARS_MAX]


def where(host: Host) -> str:
    """Return address and port as people write them."""
    return f"[{host.address}]:{host.port}" if ":" in host.address else f"{host.address}:{host.port}"


def is_passing(failure: Exception) -> bool:
    """Say whether a busy sshd does this (MaxStartups, a full backlog), so that a later dial may succeed."""
    if isinstance(failure, asyncssh.DisconnectError) and failure.code == asyncssh.DISC_TOO_MANY_CONNECTIONS:
        return True
    return isinstance(failure, _LOST)


def dial_failed(host: Host, failure: Exception, stage: Stage, settings: SSHSettings) -> BackendError:
    """Translate what ended a dial; whatever it is, nothing was started on the node."""
    at = where(host)
    if isinstance(failure, TimeoutError):
        return Unreachable(host.name, _silence(at, stage, settings))
    if isinstance(failure, asyncssh.Error):
        return _ssh_failed(host, failure)
    if isinstance(failure, socket.gaierror):
        return Unreachable(
            host.name, f"the name {host.address} cannot be resolved; correct the node's address or the DNS"
        )
    if isinstance(failure, ConnectionRefusedError):
        return Unreachable(
            host.name,
            f"nothing listens on {at} (connection refused); start sshd there or correct the node's address",
        )
    if isinstance(failure, GreetingTooLongError):
        return Unreachable(host.name, f"what listens on {at} does not speak SSH: {failure}")
    if isinstance(failure, _LOST):
        return Unreachable(host.name, _dropped(at))
    code = failure.errno if isinstance(failure, OSError) else None
    if code in _NO_ROUTE:
        return Unreachable(host.name, f"there is no route to {at}; check the network and the node's address")
    if code in _OUT_OF_FILES:
        return Unreachable(
            host.name, "this replica has no file descriptors left; raise LimitNOFILE of the hamgrd service"
        )
    return Unreachable(host.name, f"no connection to {at}: {quoted(str(failure))}")


def _silence(at: str, stage: Stage, settings: SSHSettings) -> str:
    match stage:
        case Stage.CONNECT:
            return (
                f"no answer from {at} within {settings.connect_timeout_s:g} s;"
                " check that the node is up and that no firewall drops the connection"
            )
        case Stage.GREETING:
            return (
                f"{at} accepted the connection and said nothing for {settings.connect_timeout_s:g} s;"
                " sshd there hangs, or something else listens"
            )
        case Stage.TURN:
            return "too many other logins were under way on this replica; try again later"
        case Stage.LOGIN:
            return (
                f"{at} began the login and did not finish it within {settings.login_timeout_s:g} s;"
                " look at the load and the sshd log of the node"
            )


def _dropped(at: str) -> str:
    return (
        f"{at} closed the connection before the login was complete;"
        " sshd there is overloaded (MaxStartups) or blocks this replica's address"
    )


def _ssh_failed(host: Host, failure: asyncssh.Error) -> BackendError:
    at = where(host)
    said = quoted(failure.reason)
    if isinstance(failure, asyncssh.HostKeyNotVerifiable):
        return host_key_differs(host)
    if isinstance(failure, asyncssh.KeyExchangeFailed):
        if "host key" in failure.reason.lower():
            return host_key_differs(host)
        return Refused(host.name, f"{at} shares no SSH algorithm with hamgr ({said}); update sshd there")
    too_many_tries = "authentication failures" in failure.reason
    if isinstance(failure, asyncssh.PermissionDenied) or too_many_tries:
        return Refused(
            host.name,
            f"{at} did not accept the login as {host.user};"
            f" add hamgr's key to ~{host.user}/.ssh/authorized_keys",
        )
    if isinstance(failure, asyncssh.ProtocolError | asyncssh.ProtocolNotSupported):
        return Unreachable(host.name, f"what listens on {at} does not speak SSH: {said}")
    if is_passing(failure):
        return Unreachable(host.name, _dropped(at))
    return Unreachable(host.name, f"{at} ended the login: {said}")


def host_key_differs(host: Host) -> Refused:
    """The node is not the one that we know."""
    return Refused(
        host.name,
        f"{where(host)} does not hold the host key that is pinned for this node, and was sent nothing;"
        " if the machine was installed anew, accept its new key, otherwise find out who answers there",
    )


def host_key_unknown(host: Host) -> Refused:
    """We would not know whom we talk to."""
    return Refused(
        host.name,
        f"no host key is pinned for {where(host)}, so it was sent nothing; discover the node first",
    )
