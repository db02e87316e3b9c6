"""The lab's hosts are machines of their own, and losing one looks as it does in a rack."""

import contextlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.kit import Lab, LabError
from tests.lab.kit.inside import CHECKOUT
from tests.lab.observe import boot_id, connect, reaches

HOLDER_PORT = 9001
HOLDER = f"""
import socket
server = socket.create_server(("", {HOLDER_PORT}))
held = []
while True:
    held.append(server.accept())
"""


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
    # Each attempt would set what is there already: a host that could would do no harm to this machine.
    clock = "import time; time.clock_settime(time.CLOCK_REALTIME, time.time())"
    assert "PermissionError" in lab.run("n1", "/usr/bin/python3", "-c", clock).stderr
    same = 'value=$(cat "$1") && echo "$value" > "$1"'
    assert lab.run("n1", "sh", "-c", same, "sh", "/proc/sys/vm/swappiness").returncode != 0
    lab.run("n1", "sh", "-c", same, "sh", "/proc/sys/net/ipv4/ip_forward", check=True)


def test_a_host_sees_the_checkout_live_and_cannot_change_it(lab: Lab) -> None:
    found = lab.run("n1", sys.executable, "-c", "import hamgr; print(hamgr.__file__)", check=True)
    assert Path(found.stdout.strip()).is_file()
    mode = CHECKOUT.stat().st_mode & 0o7777
    refused = lab.run("n1", "chmod", f"{mode:o}", str(CHECKOUT))  # no harm if it is not
    assert "Read-only file system" in refused.stderr


def test_what_a_host_writes_is_its_own(lab: Lab) -> None:
    lab.write("n1", "/srv/hamgr-test/state", b"\x00forty-two", mode=0o640)
    assert lab.read("n1", "/srv/hamgr-test/state") == b"\x00forty-two"
    assert lab.run("n1", "stat", "-c%a", "/srv/hamgr-test/state").stdout == "640\n"
    with pytest.raises(LabError, match="No such file"):
        lab.read("n2", "/srv/hamgr-test/state")
    assert not Path("/srv/hamgr-test").exists()


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
