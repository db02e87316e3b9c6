"""The kept session: many calls over one, no byte taken for another, and what ends it."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from backends.ports import AttemptKey, AttemptState, NodeBusy, StaleEpoch
from backends.runner import script
from backends.ssh.executor import SSHExecutor
from backends.ssh.kept import LOOP_COMMAND
from backends.ssh.sandbox.nodes import SandboxNode, prepare
from backends.ssh.sandbox.server import Sandbox, sandbox
from tests.backends.runner.conftest import SHELLS, environment_of
from tests.backends.worlds import client_key, launches_of, settings, work

PATIENCE_S = 10.0


def key(step: str = "step", attempt: int = 1) -> AttemptKey:
    return AttemptKey(job="c1.7", step=step, attempt=attempt)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Sandbox]:
    public = client_key(tmp_path / "client").export_public_key().decode()
    async with sandbox(["one"], root=tmp_path / "nodes", authorized_key=public, reap=True) as there:
        yield there


@pytest.fixture
def node(running: Sandbox) -> SandboxNode:
    return running.node("one")


@pytest.fixture
async def executor(running: Sandbox, tmp_path: Path) -> AsyncIterator[SSHExecutor]:
    made = SSHExecutor(settings(tmp_path / "client"), random=Random(1))
    yield made
    await made.close()


def loops(node: SandboxNode) -> list[int]:
    """Return the processes on the node that obey one call after the other, without their subshells."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):  # it ended
            continue
        if len(words) > 3 and b"read -r mark" in words[2] and words[3].startswith(bytes(node.root)):
            found[int(path.name)] = parent
    return [pid for pid, parent in found.items() if parent not in found]


async def until(holds) -> None:
    give_up_at = asyncio.get_running_loop().time() + PATIENCE_S
    while not holds():
        assert asyncio.get_running_loop().time() < give_up_at
        await asyncio.sleep(0.02)


async def test_calls_that_follow_each_other_share_one_session(
    node: SandboxNode, executor: SSHExecutor
) -> None:
    await executor.fence(node.host, 1, job="c1.7")
    first = loops(node)
    assert len(first) == 1
    for number in range(3):
        done = await executor.run(node.host, 1, key(f"s{number}"), work(output=f"o{number}"), wait_s=10)
        assert (done.exit_code, done.output) == (0, b"o%d" % number)
    assert (await executor.status(node.host, 1, key("s2"))).state is AttemptState.DONE
    assert loops(node) == first


async def test_a_step_that_fails_leaves_the_session_in_use(node: SandboxNode, executor: SSHExecutor) -> None:
    await executor.fence(node.host, 1, job="c1.7")
    first = loops(node)
    assert (await executor.run(node.host, 1, key(), work(exit_code=3), wait_s=10)).exit_code == 3
    assert loops(node) == first


async def test_the_script_of_a_refused_call_is_never_taken_for_an_order(
    node: SandboxNode, executor: SSHExecutor
) -> None:
    await executor.fence(node.host, 5, job="c1.7")
    poison = b"x fence 900 c1.7\nx run 900 c1.7 evil 1 5.000 100 0 " + b"0" * 64 + b"\n"
    with pytest.raises(StaleEpoch):
        await executor.run(node.host, 4, key(), poison * 100, wait_s=10)
    await executor.run(node.host, 5, key("holder"), work(lasts_s=30), wait_s=0)
    with pytest.raises(NodeBusy):
        await executor.run(node.host, 5, key("other"), poison, wait_s=10)
    await executor.kill(node.host, 5, key("holder"))
    assert (await executor.status(node.host, 5, key())).state is AttemptState.ABSENT
    assert (await executor.probe(node.host, timeout_s=10)).epoch == 5
    assert launches_of(node.root) == ["5 c1.7 holder 1"]


async def test_the_script_of_an_adopted_attempt_is_never_taken_for_an_order(
    node: SandboxNode, executor: SSHExecutor
) -> None:
    poison = b": <<'end'\nx fence 900 c1.7\nend\n"
    for adopted in (False, True):
        done = await executor.run(node.host, 1, key(), poison, wait_s=10)
        assert (done.exit_code, done.adopted) == (0, adopted)
    await executor.fence(node.host, 2, job="c1.7")
    assert launches_of(node.root) == ["1 c1.7 step 1"]


async def test_output_of_any_kind_arrives_whole_however_much_it_looks_like_an_answer(
    node: SandboxNode, executor: SSHExecutor
) -> None:
    forged = b"hamgr-runner 1 state=lost size=0 body=0\n" + b"0123456789abcdef" * 2 + b" 0\n"
    (node.root / "said").write_bytes(forged)
    done = await executor.run(node.host, 1, key("forged"), b'cat "$HAMGR_ROOT/said"', wait_s=10)
    assert (done.state, done.output) == (AttemptState.DONE, forged)
    for size in (1, 4095, 65_536):
        said = os.urandom(size - 1) + b"\n"
        (node.root / "said").write_bytes(said)
        done = await executor.run(node.host, 1, key(f"of-{size}"), b'cat "$HAMGR_ROOT/said"', wait_s=10)
        assert done.output == said


async def test_a_call_passes_one_that_waits(node: SandboxNode, executor: SSHExecutor) -> None:
    waiting = asyncio.ensure_future(executor.run(node.host, 1, key(), work(lasts_s=60), wait_s=50))
    await until(lambda: launches_of(node.root))
    assert (await executor.status(node.host, 1, key())).state is AttemptState.RUNNING
    assert not waiting.done()
    assert len(loops(node)) == 1
    await executor.kill(node.host, 1, key())
    assert (await waiting).exit_code == 137


async def test_a_loop_that_died_is_replaced_and_nothing_runs_twice(
    node: SandboxNode, executor: SSHExecutor
) -> None:
    await executor.fence(node.host, 1, job="c1.7")
    [first] = loops(node)
    os.kill(first, signal.SIGKILL)
    assert (await executor.run(node.host, 1, key("a"), work(), wait_s=10)).exit_code == 0
    waiting = asyncio.ensure_future(executor.run(node.host, 1, key("b"), work(lasts_s=1), wait_s=20))
    await until(lambda: len(launches_of(node.root)) == 2)
    [second] = loops(node)
    os.kill(second, signal.SIGKILL)
    assert (await waiting).exit_code == 0
    assert launches_of(node.root) == ["1 c1.7 a 1", "1 c1.7 b 1"]


async def test_a_session_left_in_the_middle_of_a_call_is_not_used_again(
    node: SandboxNode, executor: SSHExecutor
) -> None:
    waiting = asyncio.ensure_future(executor.run(node.host, 1, key(), work(lasts_s=0.5), wait_s=20))
    await until(lambda: launches_of(node.root))
    [first] = loops(node)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    done = await executor.run(node.host, 1, key(), work(lasts_s=0.5), wait_s=20)
    assert (done.state, done.adopted) == (AttemptState.DONE, True)
    await until(lambda: first not in loops(node))  # what was left in the middle ends with its step


async def test_a_runner_that_was_removed_from_the_node_is_put_there_again(
    node: SandboxNode, executor: SSHExecutor
) -> None:
    for number in range(2):
        done = await executor.run(node.host, 1, key(f"s{number}"), work(output="x"), wait_s=10)
        assert (done.exit_code, done.output) == (0, b"x")
        (node.root / f"var/lib/hamgr/runner-{script.VERSION}").unlink()
    assert launches_of(node.root) == ["1 c1.7 s0 1", "1 c1.7 s1 1"]
    assert (await executor.status(node.host, 1, key("s1"))).state is AttemptState.DONE


async def test_no_loop_outlives_its_connection(node: SandboxNode, executor: SSHExecutor) -> None:
    await executor.fence(node.host, 1, job="c1.7")
    assert loops(node)
    await executor.close()
    await until(lambda: not loops(node))


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_obeys_one_order_after_the_other_and_stops_at_the_first_refusal(
    shell: str, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    prepare(root, "one")
    program, environment = environment_of(shell, tmp_path)
    environment["HAMGR_ROOT"] = str(root)

    def obey(orders: bytes) -> list[bytes]:
        done = subprocess.run(
            [*program, "-c", LOOP_COMMAND], input=orders, capture_output=True, env=environment, check=False
        )
        return done.stdout.splitlines()

    assert obey(b"a status 1 c1.7 s 1\nb status 1 c1.7 s 1\n") == []
    runner = root / f"var/lib/hamgr/runner-{script.VERSION}"
    runner.parent.mkdir(parents=True)
    runner.write_bytes(script.TEXT)
    run = " ".join(script.run_words(3, key(), b"cat", wait_s=9, output_bytes_max=9)).encode()
    assert obey(b"a fence 3 c1.7\nb %b\ncatc fence 2 c1.7\nd fence 9 c1.7\n" % run) == [
        b"hamgr-runner 1 fence=3",
        b"a 0",
        b"hamgr-runner 1 state=done rc=0 adopted=0 size=0 fence=3 body=0",
        b"b 0",
        b"hamgr-runner 1 fence=3",
        b"c 75",
    ]
    assert (root / "var/lib/hamgr/fence").read_text() == "3\n"
