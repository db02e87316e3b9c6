"""The parts of dialling, each by itself: pace, wire, sentences, keys."""

import asyncio
import errno
import socket
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random

import asyncssh
import pytest

from backends.ports import BackendError, Host, Refused, Unreachable
from backends.ssh.connections import Connections
from backends.ssh.errors import dial_failed, quoted
from backends.ssh.pacing import Pacing
from backends.ssh.settings import SSHSettings
from backends.ssh.wire import Stage, Wire
from tests.backends.worlds import client_key, settings

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK0wmN/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9q"


async def test_one_target_is_dialled_by_few_at_once_and_the_others_do_not_wait(tmp_path: Path) -> None:
    paces = SSHSettings(client_key_paths=(), start_interval_s=0.001)
    pacing = Pacing(paces, Random(1))
    inside = most = 0
    starts: list[float] = []

    async def dial() -> None:
        nonlocal inside, most
        async with pacing.dial("10.0.0.1", 22):
            starts.append(asyncio.get_running_loop().time())
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.05)
            inside -= 1

    async def other() -> float:
        async with pacing.dial("10.0.0.2", 22):
            return asyncio.get_running_loop().time()

    async with asyncio.TaskGroup() as group:
        dials = [group.create_task(dial()) for _ in range(60)]
        elsewhere = group.create_task(other())
    assert all(dial.done() for dial in dials)
    assert most == paces.handshakes_per_target_max
    assert min(later - earlier for earlier, later in pairwise(starts)) > 0.0005
    assert elsewhere.result() < starts[20]


def test_pauses_double_up_to_a_bound_and_come_from_the_given_source() -> None:
    def pauses(seed: int) -> list[float]:
        pacing = Pacing(SSHSettings(client_key_paths=()), Random(seed))
        return [pacing.pause_s(failures) for failures in range(1, 40)]

    assert pauses(1) == pauses(1) != pauses(2)
    assert 0.05 <= pauses(1)[0] <= 0.1
    assert max(pauses(1)) <= 2.0


async def test_every_read_asks_for_quick_acknowledgements() -> None:
    class Spy:
        def __init__(self) -> None:
            self.options: list[tuple[int, int, int]] = []

        def setsockopt(self, *option: int) -> None:
            self.options.append(option)  # type: ignore[arg-type]  # three integers

    class Transport(asyncio.Transport):
        def get_extra_info(self, name: str, default: object = None) -> object:
            return spy if name == "socket" else default

    spy = Spy()
    wire = Wire(1000)
    wire.connection_made(Transport())
    for _ in range(3):
        wire.data_received(b"SSH")
    assert spy.options == [(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)] * 4


async def test_a_greeting_beyond_its_bound_ends_the_connection_until_the_login_is_done() -> None:
    class Transport(asyncio.Transport):
        aborted = False

        def abort(self) -> None:
            self.aborted = True

    for trusted in (False, True):
        wire, transport = Wire(10), Transport()
        wire.connection_made(transport)
        if trusted:
            wire.trust()
        wire.data_received(bytes(10))
        assert not transport.aborted
        wire.data_received(b"!")
        assert transport.aborted is not trusted


@pytest.mark.parametrize(
    ("failure", "kind", "says"),
    [
        (
            ConnectionRefusedError(),
            Unreachable,
            "nothing listens on 10.0.0.9:22 (connection refused); start sshd",
        ),
        (TimeoutError(), Unreachable, "no answer from 10.0.0.9:22 within 10 s; check"),
        (socket.gaierror(-2, "?"), Unreachable, "cannot be resolved; correct the node's address"),
        (OSError(errno.EHOSTUNREACH, "?"), Unreachable, "no route to 10.0.0.9:22; check the network"),
        (OSError(errno.EMFILE, "?"), Unreachable, "raise LimitNOFILE"),
        (ConnectionResetError(), Unreachable, "overloaded (MaxStartups) or blocks this replica's address"),
        (asyncssh.ConnectionLost("lost"), Unreachable, "overloaded (MaxStartups)"),
        (asyncssh.PermissionDenied("no"), Refused, "did not accept the login as ops; add hamgr's key"),
        (asyncssh.HostKeyNotVerifiable("no"), Refused, "does not hold the host key that is pinned"),
        (asyncssh.KeyExchangeFailed("No matching key exchange"), Refused, "shares no SSH algorithm"),
        (asyncssh.KeyExchangeFailed("No matching host key algorithm"), Refused, "does not hold the host key"),
        (asyncssh.DisconnectError(2, "Too many authentication failures"), Refused, "authorized_keys"),
        (asyncssh.ProtocolError("bad\x1b[2J\nline"), Unreachable, "does not speak SSH: bad [2J line"),
    ],
)
def test_each_failure_becomes_one_sentence_with_its_remedy(
    failure: Exception, kind: type[BackendError], says: str
) -> None:
    host = Host(name="n", address="10.0.0.9", user="ops", host_key=KEY)
    error = dial_failed(host, failure, Stage.CONNECT, SSHSettings(client_key_paths=()))
    assert type(error) is kind
    assert says in error.message
    assert "\n" not in error.message


def test_text_of_a_node_is_repeated_as_one_short_printable_line() -> None:
    assert quoted(b"a\r\n\x1b[31mb\xff" + b"x" * 10_000).startswith("a [31mb\ufffdx")
    assert len(quoted("y" * 10_000)) == 200


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.chmod(0o644), "can be read by others; run chmod 600"),
        (lambda path: path.write_text("nonsense"), "is not a private key"),
        (lambda path: path.unlink(), "cannot be read"),
    ],
)
def test_a_client_key_that_cannot_be_used_is_named(
    tmp_path: Path, spoil: Callable[[Path], object], says: str
) -> None:
    client_key(tmp_path / "client")
    spoil(tmp_path / "client")
    with pytest.raises(ValueError, match=says):
        Connections(settings(tmp_path / "client"), Random(1))
