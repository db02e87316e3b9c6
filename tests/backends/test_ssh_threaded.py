"""What is loaded when; that the verbs are those of `SSHExecutor` is for the contract suite to say."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest

from backends.ports import Unreachable
from backends.ssh.executor import SSHExecutor
from backends.ssh.threaded import ThreadedSSHExecutor
from tests.backends.worlds import client_key, settings, world

PROGRAM = """
import sys
from pathlib import Path
from backends.ssh.threaded import ThreadedSSHExecutor
from backends.ssh.settings import SSHSettings
import hamgr.daemon
ThreadedSSHExecutor(SSHSettings(client_key_paths=(Path(sys.argv[1]),)))
print("asyncssh" in sys.modules)
"""


@pytest.mark.parametrize("openssh", [True, False], ids=["an OpenSSH key", "a key that asyncssh must judge"])
def test_a_replica_that_starts_loads_asyncssh_only_to_judge_its_key(tmp_path: Path, openssh: bool) -> None:
    key = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    path = tmp_path / "client"
    key.write_private_key(path, "openssh" if openssh else "pkcs8-der")
    path.chmod(0o600)
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, path], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert said.strip() == str(not openssh)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.chmod(0o644),
        lambda path: path.write_text("nonsense"),
        lambda path: path.unlink(),
        lambda path: asyncssh.generate_private_key("ssh-ed25519").write_private_key(path, "pkcs8-pem", "p"),
    ],
    ids=["readable by others", "damaged", "missing", "encrypted"],
)
def test_a_key_that_cannot_be_used_is_refused_at_once_and_as_ever(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    path = tmp_path / "client"
    client_key(path)
    spoil(path)
    with pytest.raises(ValueError) as expected:  # noqa: PT011 - the message is compared below
        SSHExecutor(settings(path))
    with pytest.raises(ValueError) as found:  # noqa: PT011 - as above
        ThreadedSSHExecutor(settings(path))
    assert str(found.value) == str(expected.value)


async def test_many_that_ask_first_get_the_same_executor(tmp_path: Path) -> None:
    async with world("sandbox", tmp_path) as there:
        reports = await asyncio.gather(*(there.executor.probe(there.host, timeout_s=30) for _ in range(5)))
        assert len({report.machine_id for report in reports}) == 1
        await there.executor.close()
        with pytest.raises(Unreachable):
            await there.executor.probe(there.host, timeout_s=5)


async def test_one_that_was_never_used_can_be_closed(tmp_path: Path) -> None:
    client_key(tmp_path / "client")
    await ThreadedSSHExecutor(settings(tmp_path / "client")).close()


async def test_the_thread_begins_with_the_first_verb_and_ends_with_close(tmp_path: Path) -> None:
    async with world("sandbox", tmp_path) as there:
        threads = {thread.name for thread in threading.enumerate()}
        assert "ssh" not in threads, "nothing was asked yet"
        await there.executor.probe(there.host, timeout_s=30)
        (made,) = [thread for thread in threading.enumerate() if thread.name == "ssh"]
        await there.executor.close()
        assert not made.is_alive()


async def test_who_is_cancelled_goes_on_at_once_and_what_it_began_ends_too(tmp_path: Path) -> None:
    async with world("sandbox", tmp_path) as there:
        look = asyncio.create_task(
            there.executor.look(there.host, b"sleep 60\n", timeout_s=50.0, output_bytes_max=8192)
        )
        await asyncio.sleep(0.2)
        look.cancel()
        with pytest.raises(asyncio.CancelledError):
            await look
        # The place of the look is free again: more of them than a lane has places get through.
        seen = [
            await there.executor.look(there.host, b"echo here\n", timeout_s=30.0, output_bytes_max=8192)
            for _ in range(3)
        ]
        assert {one.output for one in seen} == {b"here\n"}
