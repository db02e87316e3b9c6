"""A lab keeps track of its programs, comes back to order after every fault, and leaves no trace."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.kit import Lab, LabError
from tests.lab.kit.inside import CHECKOUT
from tests.lab.kit.needs import cgroup_root
from tests.lab.kit.processes import alive
from tests.lab.kit.slots import claimed_lab
from tests.lab.observe import reaches


def traces(name: str) -> list[Path]:
    """Return what a lab of this name has left outside its directory."""
    root = cgroup_root()
    assert root is not None
    return [*Path("/run/netns").glob(f"{name}-*"), *root.glob(name)]


@contextlib.contextmanager
def second_lab(lab: Lab, directory: Path) -> Iterator[Lab]:
    second = Lab(name=f"{lab.name}-second", directory=directory / "second", network=lab.address("hub")[:-2])
    try:
        yield second
    finally:
        second.down()


@pytest.mark.parametrize("place", ["hub", "n1"])
def test_a_program_is_stopped_resumed_and_killed_where_it_runs(lab: Lab, place: str, tmp_path: Path) -> None:
    count = "i=0; while :; do i=$((i+1)); echo $GREETING $i; sleep 0.02; done"
    program = lab.spawn(place, "sh", "-c", count, log=tmp_path / "log", env={"GREETING": "hello"})
    lab.wait("a greeting", lambda: "hello 2\n" in program.tail())
    program.stop()
    lab.wait("the stop", lambda: Path(f"/proc/{program.pid}/stat").read_text().split()[2] == "T")
    stopped_at = program.tail()
    time.sleep(0.1)
    assert program.tail() == stopped_at
    program.resume()
    lab.wait("more", lambda: program.tail() != stopped_at)
    program.stop()
    program.kill()
    assert program.returncode == -signal.SIGKILL
    with pytest.raises(LabError, match="ended with -9"):
        _ = program.pid


@pytest.mark.parametrize("place", ["hub", "n1"])
def test_a_program_that_is_asked_to_end_says_how(lab: Lab, place: str, tmp_path: Path) -> None:
    polite = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done"
    program = lab.spawn(place, "sh", "-c", polite, log=tmp_path / "log")
    lab.wait("it", lambda: "ready" in program.tail())
    program.stop()
    lab.wait("the stop", lambda: Path(f"/proc/{program.pid}/stat").read_text().split()[2] == "T")
    program.resume()
    assert program.terminate() == 7


def test_a_power_cut_ends_the_programs_of_its_host_and_no_others(lab: Lab, tmp_path: Path) -> None:
    there = lab.spawn("n2", "sleep", "60", log=tmp_path / "there")
    here = lab.spawn("hub", "sleep", "60", log=tmp_path / "here")
    lab.kill("n2")
    there.wait()
    assert here.returncode is None


def test_a_program_can_be_killed_in_a_frozen_host(lab: Lab, tmp_path: Path) -> None:
    program = lab.spawn("n1", "sleep", "60", log=tmp_path / "log")
    pid = program.pid
    lab.freeze("n1")
    program.kill()
    assert not alive(pid)
    assert program.returncode == -signal.SIGKILL


def test_a_host_that_cannot_be_brought_back_is_replaced(lab: Lab) -> None:
    machine = lab.read("n5", "/etc/machine-id")
    lab.write("n5", "/etc/ssh/sshd_config", b"Port none")
    lab.run("n5", "systemctl", "stop", "ssh", check=True)
    lab.repair()
    assert lab.read("n5", "/etc/machine-id") != machine


def test_renewed_hosts_are_other_machines(lab: Lab) -> None:
    keys = {lab.host_key("n1"), lab.host_key("n2")}
    lab.renew("n1", "n2")
    assert not keys & {lab.host_key("n1"), lab.host_key("n2")}


def test_repair_undoes_every_fault_and_keeps_the_machines(lab: Lab) -> None:
    machines = [lab.read(host, "/etc/machine-id") for host in lab.hosts]
    lab.kill("n1")
    lab.freeze("n2")
    lab.link("n3", up=False)
    lab.delay("n4", 150)
    lab.partition(["n5"], ["hub"])
    lab.repair()
    for host in lab.hosts:
        lab.wait(f"{host} to be back", lambda host=host: reaches(lab, "hub", host))

    def quickly() -> bool:
        start = time.monotonic()
        return reaches(lab, "hub", "n4") and time.monotonic() - start < 0.3

    lab.wait("n4 without its delay", quickly)
    assert [lab.read(host, "/etc/machine-id") for host in lab.hosts] == machines


def test_a_name_that_is_no_host_is_refused_and_nothing_is_made(lab: Lab) -> None:
    before = lab.status()
    for name in ("n0", "n180", "web", "n1/../n2", ""):
        with pytest.raises(LabError, match="no such host"):
            lab.start(name)
    with pytest.raises(LabError, match="no such host"):
        lab.kill("n99")
    with pytest.raises(LabError, match="itself"):
        lab.block("n1", "n1")
    assert len(lab.status()) == len(before)


def test_two_labs_with_the_same_addresses_do_not_meet(lab: Lab, tmp_path: Path) -> None:
    with second_lab(lab, tmp_path) as second:
        second.up(1)
        assert second.address("n1") == lab.address("n1")
        assert second.host_key("n1") != lab.host_key("n1")
        assert second.run("n1", "ping", "-q", "-c1", "-W1", lab.address("n2")).returncode != 0
        second.partition(["n1"], ["hub"])
        assert reaches(lab, "hub", "n1")
        assert traces(second.name)
    assert not traces(second.name)
    assert not second.directory.exists()
    assert reaches(lab, "hub", "n1")


def test_the_lab_of_a_killed_run_is_taken_down_by_the_next(lab: Lab, tmp_path: Path) -> None:
    maker = """
import os, signal, sys
from pathlib import Path
from tests.lab.kit import Lab
lab = Lab(name=sys.argv[1], directory=Path(sys.argv[2]), network="10.78.0")
lab.up(2)
lab.delay("n1", 10)
lab.freeze("n2")
print(lab.spawn("hub", "sleep", "60", log=lab.directory / "log").pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    with second_lab(lab, tmp_path) as second:
        argv = [sys.executable, "-c", maker, second.name, str(second.directory)]
        made = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=CHECKOUT)
        assert made.returncode == -signal.SIGKILL, made.stderr
        assert second.running("n1")
        assert second.running("n2")
        second.down()
        assert not traces(second.name)
        assert not second.directory.exists()
        lab.wait("the hub's program to end", lambda: not Path("/proc", made.stdout.strip(), "cwd").exists())


def test_the_labs_of_killed_test_runs_are_gone_before_a_run_begins(lab: Lab) -> None:
    killed = """
import os, signal
from tests.lab.kit.slots import claimed_lab
with claimed_lab() as lab:
    lab.up(1)
    print(lab.name, lab.spawn("n1", "sleep", "60", log=lab.directory / "log").pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    argv = [sys.executable, "-c", killed]
    made = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=CHECKOUT)
    assert made.returncode == -signal.SIGKILL, made.stderr
    name, pid = made.stdout.split()
    assert name != lab.name
    assert alive(int(pid))
    with claimed_lab() as next_lab:
        assert next_lab.name != lab.name
        assert not next_lab.hosts
        assert not alive(int(pid))
    assert reaches(lab, "hub", "n1")


def test_the_command_line_does_the_same(lab: Lab, tmp_path: Path) -> None:
    def command(*words: str) -> subprocess.CompletedProcess[str]:
        where = ["--name", f"{lab.name}-second", "--directory", str(tmp_path / "second")]
        argv = [sys.executable, "-m", "tests.lab", *where, *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=CHECKOUT)

    with second_lab(lab, tmp_path):
        assert command("status").stdout == "no hosts\n"
        assert command("--network", "10.78.1", "up", "1").returncode == 0
        assert command("status").stdout.startswith("n1 10.78.1.11 on pid=")
        assert command("exec", "n1", "sh", "-c", "exit 7").returncode == 7
        assert command("ssh", "n1", "hostname").stdout == "n1\n"
        assert command("kill", "n1").returncode == 0
        assert command("status").stdout == "n1 10.78.1.11 off\n"
        refused = command("kill", "n9")
        assert (refused.returncode, refused.stderr) == (1, "lab: no such host: n9\n")
        assert command("explode").returncode == command("delay", "n1", "soon").returncode == 2
        assert command("down").returncode == 0
        assert not traces(f"{lab.name}-second")
    assert not list(tmp_path.iterdir())
