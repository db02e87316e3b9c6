"""The practice nodes, as a program and as a block, and their service manager."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

import asyncssh
import pytest

from backends.ports import AttemptKey, AttemptState, Refused
from backends.ssh.executor import SSHExecutor
from backends.ssh.sandbox.nodes import SandboxNode, environment, prepare
from backends.ssh.sandbox.processes import processes_of, stop_processes
from backends.ssh.sandbox.server import sandbox
from tests.backends.worlds import client_key, settings, work

KEY = AttemptKey(job="c1.1", step="a", attempt=1)
UNIT = """\
[Unit]
Description=A service
[Service]
Environment=GREETING=hello
Environment="NAME=wide world"
ExecStart=echo "$GREETING $NAME in $PWD" >> said; trap '' TERM; while :; do sleep 0.1; done
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def client(tmp_path: Path) -> asyncssh.SSHKey:
    key = client_key(tmp_path / "client")
    key.write_public_key(tmp_path / "client.pub")
    return key


@pytest.fixture
async def executor(client: asyncssh.SSHKey, tmp_path: Path) -> AsyncIterator[SSHExecutor]:
    made = SSHExecutor(settings(tmp_path / "client"), random=Random(1))
    yield made
    await made.close()


@contextlib.contextmanager
def program(tmp_path: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], list[SandboxNode]]]:
    command = [sys.executable, "-W", "error", "-m", "backends.ssh.sandbox", "--root", str(tmp_path / "nodes")]
    command += ["--authorized-key", str(tmp_path / "client.pub"), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        count = int(words[words.index("--nodes") + 1])
        lines = [json.loads(process.stdout.readline()) for _ in range(count)]
        try:
            yield process, [SandboxNode(**{**line, "root": Path(line["root"])}) for line in lines]
        finally:
            process.terminate()
            assert process.wait(10) == 0


async def test_the_program_serves_its_nodes_and_they_stay_themselves_over_a_restart(
    executor: SSHExecutor, tmp_path: Path
) -> None:
    with program(tmp_path, "--nodes", "3", "--reap") as (_, nodes):
        reports = [await executor.probe(node.host, timeout_s=10) for node in nodes]
        await executor.run(nodes[0].host, 3, KEY, work(exit_code=5), wait_s=10)
    assert [report.hostname for report in reports] == ["node-01", "node-02", "node-03"]
    assert len({report.machine_id for report in reports}) == len({node.host_key for node in nodes}) == 3
    with program(tmp_path, "--nodes", "3", "--reap") as (_, again):
        assert [node.host_key for node in again] == [node.host_key for node in nodes]
        assert (await executor.probe(again[0].host, timeout_s=10)).machine_id == reports[0].machine_id
        assert (await executor.status(again[0].host, 3, KEY)).exit_code == 5


async def test_what_a_step_runs_outlives_the_program_until_it_is_reaped(
    executor: SSHExecutor, tmp_path: Path
) -> None:
    with program(tmp_path, "--nodes", "1") as (process, nodes):
        node = nodes[0]
        await executor.run(node.host, 1, KEY, b'sleep 0.5; touch "$HAMGR_ROOT/finished"; sleep 60', wait_s=0)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 10) == 0
    await _until((node.root / "finished").exists)
    assert processes_of([node.root]) != []
    reap = [sys.executable, "-m", "backends.ssh.sandbox", "--root", str(tmp_path / "nodes")]
    subprocess.run([*reap, "--nodes", "1", "--reap-now"], check=True)
    assert processes_of([node.root]) == []


async def _until(condition: object, deadline_s: float = 10.0) -> None:
    assert callable(condition)
    give_up_at = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < give_up_at
        await asyncio.sleep(0.02)


def test_a_wrong_invocation_is_explained_and_makes_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "backends.ssh.sandbox", "--root", str(tmp_path / "nodes")]
    for words in (["--nodes", "1"], ["--names", "../up", "--authorized-key", "x"]):
        refused = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
        assert refused.returncode == 2
        assert "error:" in refused.stderr
    missing = [*command, "--nodes", "1", "--authorized-key", str(tmp_path / "none")]
    failed = subprocess.run(missing, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("sandbox: ")
    assert not (tmp_path / "nodes").exists()


async def test_only_the_authorized_key_gets_in(client: asyncssh.SSHKey, tmp_path: Path) -> None:
    client_key(tmp_path / "other")
    stranger = SSHExecutor(settings(tmp_path / "other"), random=Random(1))
    async with sandbox(["a"], root=tmp_path, authorized_key=client.export_public_key().decode()) as running:
        with pytest.raises(Refused):
            await stranger.probe(running.nodes[0].host, timeout_s=10)
    await stranger.close()


async def test_a_process_carries_hundreds_of_nodes(
    client: asyncssh.SSHKey, executor: SSHExecutor, tmp_path: Path
) -> None:
    names = [f"n{number}" for number in range(120)]
    public = client.export_public_key().decode()
    async with sandbox(names, root=tmp_path, authorized_key=public, reap=True) as running:
        calls = [executor.run(node.host, 1, KEY, b"exit 0", wait_s=60) for node in running.nodes]
        ends = await asyncio.gather(*calls)
    assert {(end.state, end.exit_code) for end in ends} == {(AttemptState.DONE, 0)}


async def test_a_step_may_start_a_service_and_the_node_is_free_afterwards(
    client: asyncssh.SSHKey, executor: SSHExecutor, tmp_path: Path
) -> None:
    public = client.export_public_key().decode()
    async with sandbox(["a"], root=tmp_path, authorized_key=public, reap=True) as running:
        node = running.nodes[0]
        (node.root / "etc/systemd/system/web.service").write_text(UNIT)
        step = b"systemctl daemon-reload && systemctl enable --now web && systemctl is-active web"
        done = await executor.run(node.host, 1, KEY, step, wait_s=20)
        assert (done.exit_code, done.output) == (0, b"active\n")
        second = AttemptKey(job="c1.1", step="b", attempt=1)
        check = await executor.run(node.host, 1, second, b"systemctl is-active web", wait_s=20)
        assert (check.exit_code, check.output) == (0, b"active\n")
        await running.reboot("a")
        third = AttemptKey(job="c1.1", step="c", attempt=1)
        booted = await executor.run(node.host, 1, third, b"systemctl is-active web", wait_s=20)
        assert (booted.exit_code, booted.output) == (0, b"active\n"), "an enabled service starts at boot"


class Machine:
    """A node's folder with the unit `web`, and its service manager."""

    def __init__(self, root: Path) -> None:
        prepare(root, "m")
        self.root = root
        self.unit = root / "etc/systemd/system/web.service"
        self.unit.write_text(UNIT)

    def ctl(self, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            [self.root / "bin/systemctl", *words],
            env=environment(self.root),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        return done.returncode, (done.stdout + done.stderr).strip()

    def pid(self) -> int:
        return int((self.root / "run/web.pid").read_text().split()[0])


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path / "with space")
    yield made
    stop_processes(made.root)


def test_a_service_is_started_once_and_stopped_though_it_ignores_the_signal(machine: Machine) -> None:
    assert machine.ctl("is-active", "web") == (3, "inactive")
    assert machine.ctl("start", "web") == (0, "")
    first = machine.pid()
    assert machine.ctl("start", "web.service") == (0, "")
    assert machine.pid() == first
    assert machine.ctl("is-active", "web") == (0, "active")
    assert machine.ctl("is-active", "--quiet", "web") == (0, "")
    assert machine.ctl("stop", "web") == (0, "")
    assert machine.ctl("is-active", "web") == (3, "inactive")
    assert processes_of([machine.root]) == []
    assert machine.ctl("stop", "web") == (0, "")
    assert (machine.root / "said").read_text() == f"hello wide world in {machine.root}\n"


def test_a_restart_replaces_the_process(machine: Machine) -> None:
    machine.unit.write_text("[Service]\nExecStart=while :; do sleep 0.1; done\n")
    machine.ctl("start", "web")
    first = machine.pid()
    for verb in ("restart", "reload-or-restart", "try-restart"):
        assert machine.ctl(verb, "web")[0] == 0
        assert machine.ctl("is-active", "web") == (0, "active")
        assert machine.pid() != first
        first = machine.pid()


def test_a_reload_keeps_the_process_where_the_unit_says_how(machine: Machine) -> None:
    machine.unit.write_text(
        "[Service]\nExecStart=while :; do sleep 0.1; done\nExecReload=echo $MAINPID > reloaded\n"
    )
    machine.ctl("start", "web")
    first = machine.pid()
    assert machine.ctl("reload-or-restart", "web")[0] == 0
    assert machine.pid() == first
    assert (machine.root / "reloaded").read_text() == f"{first}\n"


def test_a_service_that_ended_or_whose_number_was_reused_is_not_active(machine: Machine) -> None:
    machine.ctl("start", "web")
    os.killpg(machine.pid(), signal.SIGKILL)
    give_up_at = time.monotonic() + 20
    while machine.ctl("is-active", "web") != (3, "inactive"):  # death takes a moment
        assert time.monotonic() < give_up_at
    (machine.root / "run/web.pid").write_text(f"{os.getpid()} 12345\n")
    assert machine.ctl("is-active", "web") == (3, "inactive")
    assert machine.ctl("stop", "web") == (0, "")
    assert machine.ctl("start", "web") == (0, "")
    assert machine.ctl("is-active", "web") == (0, "active")


def test_enabling_lasts_and_unknown_units_are_told(machine: Machine) -> None:
    assert machine.ctl("is-enabled", "web") == (1, "disabled")
    assert machine.ctl("enable", "web") == (0, "")
    assert machine.ctl("is-enabled", "web") == (0, "enabled")
    assert machine.ctl("disable", "--now", "web") == (0, "")
    assert machine.ctl("is-enabled", "web") == (1, "disabled")
    assert machine.ctl("start", "nosuch") == (5, "Unit nosuch.service not found.")
    assert machine.ctl("is-active", "nosuch") == (4, "inactive")
    code, said = machine.ctl("start", "../web")
    assert (code, said) == (1, "not a unit's name: ../web")
    assert machine.ctl("explode", "web") == (1, "unknown verb explode")
    assert machine.ctl()[0] == 1
    assert processes_of([machine.root]) == []


def test_many_starts_at_once_start_one_process(machine: Machine) -> None:
    command = [machine.root / "bin/systemctl", "start", "web"]
    started = [subprocess.Popen(command, env=environment(machine.root)) for _ in range(8)]
    assert [process.wait(20) for process in started] == [0] * 8
    give_up_at = time.monotonic() + 5
    while not (machine.root / "said").exists():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
    assert (machine.root / "said").read_text().count("hello") == 1
