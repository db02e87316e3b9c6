"""The lab keeps its promises: hosts are separate machines, and each fault is what it says it is."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.kit import Lab, LabError
from tests.lab.kit.lab import CHECKOUT
from tests.lab.kit.needs import cgroup_root

UDP_PORT = 9000
RECEIVER = f"""
import socket
receiver = socket.socket(type=socket.SOCK_DGRAM)
receiver.bind(("", {UDP_PORT}))
print("ready", flush=True)
while True:
    print(receiver.recv(100).decode(), flush=True)
"""

HOLDER_PORT = 9001
HOLDER = f"""
import socket
server = socket.create_server(("", {HOLDER_PORT}))
held = []
while True:
    held.append(server.accept())
"""


def reaches(lab: Lab, source: str, target: str) -> bool:
    return lab.run(source, "ping", "-q", "-c1", "-W1", lab.address(target)).returncode == 0


def connect(lab: Lab, host: str, port: int = 22) -> socket.socket:
    with lab.in_hub():
        return socket.create_connection((lab.address(host), port), 2)


def boot_id(lab: Lab, host: str) -> str:
    return lab.run(host, "cat", "/proc/sys/kernel/random/boot_id", check=True).stdout


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


# What a host is


def test_every_host_has_an_identity_of_its_own(lab: Lab) -> None:
    hosts = lab.hosts
    machine_ids = {lab.read(host, "/etc/machine-id") for host in hosts}
    boot_ids = {boot_id(lab, host) for host in hosts}
    assert len(machine_ids) == len(boot_ids) == len({lab.host_key(host) for host in hosts}) == len(hosts) == 5
    assert Path("/proc/sys/kernel/random/boot_id").read_text() not in boot_ids
    assert [lab.run(host, "hostname").stdout.strip() for host in hosts] == hosts


def test_a_host_offers_the_key_that_the_lab_says(lab: Lab) -> None:
    offered = lab.run("hub", "ssh-keyscan", "-t", "ed25519", lab.address("n1"), check=True).stdout
    assert offered.split(maxsplit=1)[1].strip() == lab.host_key("n1")


def test_root_logs_in_by_key_to_a_home_without_anybodys_login_files(lab: Lab) -> None:
    done = subprocess.run(
        lab.ssh_command("n2", "hostname; ls -A /root"), capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.split()[0] == "n2"
    assert not {".bashrc", ".profile", ".ssh/rc"} & set(done.stdout.split())


def test_systemctl_is_the_real_one(lab: Lab) -> None:
    lab.run("n1", "systemd-run", "--unit=napping", "sleep", "60", check=True)
    assert lab.run("n1", "systemctl", "is-active", "napping").stdout == "active\n"
    lab.run("n1", "systemctl", "stop", "napping", check=True)
    assert lab.run("n1", "systemctl", "is-active", "napping").stdout == "inactive\n"
    assert lab.run("n1", "systemctl", "is-system-running", "--wait").stdout == "running\n"


def test_a_host_cannot_set_the_clock_or_the_kernel_of_this_machine(lab: Lab) -> None:
    assert lab.run("n1", "date", "-s", "2030-01-01").returncode != 0
    assert time.time() < 1_890_000_000
    before = Path("/proc/sys/vm/swappiness").read_text()
    assert lab.run("n1", "sh", "-c", "echo 7 > /proc/sys/vm/swappiness").returncode != 0
    assert Path("/proc/sys/vm/swappiness").read_text() == before
    lab.run("n1", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward", check=True)


def test_a_host_sees_the_checkout_live_and_cannot_change_it(lab: Lab) -> None:
    found = lab.run("n1", sys.executable, "-c", "import hamgr; print(hamgr.__file__)", check=True)
    assert Path(found.stdout.strip()).is_file()
    assert lab.run("n1", "touch", f"{CHECKOUT}/written-by-a-host").returncode != 0
    assert not (CHECKOUT / "written-by-a-host").exists()


def test_what_a_host_writes_is_its_own(lab: Lab) -> None:
    lab.write("n1", "/srv/hamgr-test/state", b"\x00forty-two", mode=0o640)
    assert lab.read("n1", "/srv/hamgr-test/state") == b"\x00forty-two"
    assert lab.run("n1", "stat", "-c%a", "/srv/hamgr-test/state").stdout == "640\n"
    with pytest.raises(LabError, match="No such file"):
        lab.read("n2", "/srv/hamgr-test/state")
    assert not Path("/srv/hamgr-test").exists()


# Power


def test_a_power_cut_is_silent_and_the_disk_survives(lab: Lab) -> None:
    lab.write("n2", "/root/state", b"42")
    with connect(lab, "n2") as connection:
        connection.recv(100)
        lab.kill("n2")
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    assert not lab.running("n2")
    lab.start("n2")
    assert lab.read("n2", "/root/state") == b"42"


def test_a_reboot_changes_the_boot_id_and_keeps_the_machine(lab: Lab) -> None:
    lab.write("n1", "/root/kept", b"")
    lab.write("n1", "/run/lost", b"")
    lab.run("n1", "ip", "addr", "add", "192.0.2.7/32", "dev", "eth0", check=True)
    before, machine, key = boot_id(lab, "n1"), lab.read("n1", "/etc/machine-id"), lab.host_key("n1")
    assert boot_id(lab, "n1") == before
    lab.reboot("n1")
    assert boot_id(lab, "n1") != before
    assert (lab.read("n1", "/etc/machine-id"), lab.host_key("n1")) == (machine, key)
    lab.read("n1", "/root/kept")
    with pytest.raises(LabError, match="No such file"):
        lab.read("n1", "/run/lost")
    assert "192.0.2.7" not in lab.run("n1", "ip", "-br", "addr").stdout


def test_a_host_that_powers_itself_off_stays_off_until_it_is_started(lab: Lab) -> None:
    before = boot_id(lab, "n3")
    lab.run("n3", "systemctl", "--no-block", "poweroff")
    lab.wait("n3 to be off", lambda: not lab.running("n3"))
    assert not reaches(lab, "n1", "n3")
    lab.start("n3")
    assert boot_id(lab, "n3") != before


def test_a_wiped_host_comes_back_as_another_machine(lab: Lab) -> None:
    lab.write("n4", "/root/state", b"42")
    machine, key = lab.read("n4", "/etc/machine-id"), lab.host_key("n4")
    lab.wipe("n4")
    lab.start("n4")
    assert lab.read("n4", "/etc/machine-id") != machine
    assert lab.host_key("n4") != key
    with pytest.raises(LabError, match="No such file"):
        lab.read("n4", "/root/state")


def test_a_frozen_host_answers_ping_and_nothing_else_until_it_is_thawed(lab: Lab) -> None:
    lab.freeze("n3")
    assert reaches(lab, "n1", "n3")
    with connect(lab, "n3") as connection:
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.recv(4)
        lab.thaw("n3")
        connection.settimeout(10)
        assert connection.recv(4) == b"SSH-"


def test_a_frozen_host_can_lose_its_power(lab: Lab) -> None:
    lab.freeze("n3")
    lab.kill("n3")
    lab.start("n3")
    assert reaches(lab, "n1", "n3")


def test_a_crashed_service_closes_its_connections_at_once(lab: Lab) -> None:
    lab.run("n1", "systemd-run", "--unit=holding", "/usr/bin/python3", "-c", HOLDER, check=True)
    connections: list[socket.socket] = []

    def connected() -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            connections.append(connect(lab, "n1", HOLDER_PORT))
        return bool(connections)

    lab.wait("the service", connected)
    with connections[0] as connection:
        lab.crash("n1", "holding")
        connection.settimeout(5)
        assert connection.recv(1) == b""
    lab.wait("its end", lambda: lab.run("n1", "systemctl", "is-failed", "holding").stdout == "failed\n")
    lab.run("n1", "systemctl", "reset-failed", "holding", check=True)


# Network


def test_a_partition_cuts_groups_off_and_healing_joins_them(lab: Lab) -> None:
    lab.partition(["n1", "n2", "hub"], ["n3"])
    assert reaches(lab, "n1", "n2")
    assert reaches(lab, "hub", "n1")
    assert not reaches(lab, "n2", "n3")
    assert not reaches(lab, "hub", "n3")
    assert reaches(lab, "n4", "n3")
    lab.partition(["n1"], ["n2"])
    assert not reaches(lab, "n1", "n2")
    lab.wait("n3 to be back", lambda: reaches(lab, "n2", "n3"))
    lab.heal()
    lab.wait("n2 to be back", lambda: reaches(lab, "n1", "n2"))


def test_a_block_is_one_way_even_when_addresses_must_be_asked_for_again(lab: Lab, tmp_path: Path) -> None:
    receivers = {}
    for host in ("n1", "n2"):
        log = tmp_path / host
        receivers[host] = lab.spawn(host, "/usr/bin/python3", "-c", RECEIVER, log=log)
        lab.wait("the receiver", lambda log=log: "ready" in log.read_text())

    def send(source: str, target: str) -> None:
        lab.run(source, "bash", "-c", f"echo from-{source} > /dev/udp/{lab.address(target)}/{UDP_PORT}")

    assert reaches(lab, "n1", "n2")
    lab.block("n2", "n1")
    lab.run("n1", "ip", "neigh", "flush", "dev", "eth0", check=True)
    send("n2", "n1")
    send("n1", "n2")
    lab.wait("n2 to hear n1", lambda: "from-n1" in (tmp_path / "n2").read_text())
    assert "from-n2" not in (tmp_path / "n1").read_text()
    lab.heal()
    send("n2", "n1")
    lab.wait("n1 to hear n2", lambda: "from-n2" in (tmp_path / "n1").read_text())


def test_a_delay_is_added_each_way_and_cuts_hold_meanwhile(lab: Lab) -> None:
    def round_trip_s() -> float:
        start = time.monotonic()
        assert reaches(lab, "hub", "n5")
        return time.monotonic() - start

    lab.delay("n5", 100)
    assert 0.2 <= min(round_trip_s() for _ in range(3)) < 0.4
    lab.block("hub", "n5")
    assert not reaches(lab, "hub", "n5")
    lab.heal()
    lab.delay("n5", 0)
    assert min(round_trip_s() for _ in range(3)) < 0.1


def test_all_frames_can_be_lost(lab: Lab) -> None:
    lab.delay("n5", 0, loss_percent=100)
    assert not reaches(lab, "hub", "n5")
    lab.delay("n5", 0)
    lab.wait("n5 to be back", lambda: reaches(lab, "hub", "n5"))


def test_a_pulled_cable_shows_in_the_host(lab: Lab) -> None:
    lab.link("n2", up=False)
    assert lab.read("n2", "/sys/class/net/eth0/carrier") == b"0\n"
    lab.link("n2", up=True)
    assert lab.read("n2", "/sys/class/net/eth0/carrier") == b"1\n"


def test_a_test_can_join_the_lab_network_and_leave_it(lab: Lab) -> None:
    with lab.in_hub():
        socket.create_connection((lab.address("n1"), 22), 2).close()
        inside = subprocess.run(["ip", "-br", "addr"], capture_output=True, text=True, check=True).stdout
    outside = subprocess.run(["ip", "-br", "addr"], capture_output=True, text=True, check=True).stdout
    assert lab.address("hub") in inside
    assert lab.address("hub") not in outside


# Processes


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
    assert program.terminate() == 7


def test_a_power_cut_ends_the_programs_of_its_host_and_no_others(lab: Lab, tmp_path: Path) -> None:
    there = lab.spawn("n2", "sleep", "60", log=tmp_path / "there")
    here = lab.spawn("hub", "sleep", "60", log=tmp_path / "here")
    lab.kill("n2")
    there.wait()
    assert here.returncode is None


# Order


def test_repair_undoes_every_fault(lab: Lab) -> None:
    lab.kill("n1")
    lab.freeze("n2")
    lab.link("n3", up=False)
    lab.delay("n4", 500)
    lab.partition(["n5"], ["hub"])
    lab.repair()
    for host in lab.hosts:
        lab.wait(f"{host} to be back", lambda host=host: reaches(lab, "hub", host))
    start = time.monotonic()
    assert reaches(lab, "hub", "n4")
    assert time.monotonic() - start < 0.5


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
