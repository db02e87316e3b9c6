"""The lab's network faults cut off, block and slow down what they say, and nothing else."""

import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab.kit import Lab, Process
from tests.lab.observe import reaches

UDP_PORT = 9000
RECEIVER = f"""
import socket
receiver = socket.socket(type=socket.SOCK_DGRAM)
receiver.bind(("", {UDP_PORT}))
print("ready", flush=True)
while True:
    print(receiver.recv(100).decode(), flush=True)
"""


def send(lab: Lab, source: str, target: str, word: str = "hello") -> None:
    datagram = f"echo {word} > /dev/udp/{lab.address(target)}/{UDP_PORT}"
    lab.run(source, "bash", "-c", datagram, check=True)


@pytest.fixture
def heard(lab: Lab, tmp_path: Path) -> dict[str, Process]:
    """What n1 and n2 print as datagrams arrive; both know each other's address already."""
    receivers = {}
    for host in ("n1", "n2"):
        receiver = lab.spawn(host, "/usr/bin/python3", "-c", RECEIVER, log=tmp_path / host)
        lab.wait("the receiver", lambda receiver=receiver: "ready" in receiver.tail())
        receivers[host] = receiver
    assert reaches(lab, "n1", "n2")
    return receivers


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


def test_a_partition_stops_datagrams_both_ways(lab: Lab, heard: dict[str, Process]) -> None:
    lab.partition(["n1"], ["n2"])
    send(lab, "n1", "n2")
    send(lab, "n2", "n1")
    lab.partition([], [])
    send(lab, "n1", "n2", "later")
    send(lab, "n2", "n1", "later")
    for receiver in heard.values():
        lab.wait("what was sent later", lambda receiver=receiver: "later" in receiver.tail())
        assert "hello" not in receiver.tail()


def test_a_block_is_one_way_even_when_addresses_must_be_asked_for_again(
    lab: Lab, heard: dict[str, Process]
) -> None:
    lab.block("n2", "n1")
    lab.run("n1", "ip", "neigh", "flush", "dev", "eth0", check=True)
    send(lab, "n2", "n1")
    send(lab, "n1", "n2")
    lab.wait("n2 to hear n1", lambda: "hello" in heard["n2"].tail())
    lab.heal()
    send(lab, "n2", "n1", "later")
    lab.wait("n1 to hear n2", lambda: "later" in heard["n1"].tail())
    assert "hello" not in heard["n1"].tail()


def test_a_delay_is_added_each_way_and_cuts_hold_meanwhile(lab: Lab) -> None:
    def round_trip_s() -> float:
        start = time.monotonic()
        assert reaches(lab, "hub", "n5")
        return time.monotonic() - start

    lab.delay("n5", 100)
    trips = [round_trip_s() for _ in range(3)]
    assert min(trips) >= 0.2
    lab.wait("a trip with this delay only", lambda: min(trips) < 0.4 or trips.append(round_trip_s()))
    lab.block("hub", "n5")
    assert not reaches(lab, "hub", "n5")
    lab.heal()
    lab.delay("n5", 0)
    lab.wait("a trip without delay", lambda: round_trip_s() < 0.1)


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
