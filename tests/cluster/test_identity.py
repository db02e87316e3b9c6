"""Real OpenSSH hosts that get another address, or are copied with their keys and their machine id."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cluster.conftest import Fleet
from tests.cluster.steer import done, in_service, nothing_twice, succeeds, upgrade

pytestmark = pytest.mark.timeout(180)
KEY = "/etc/ssh/ssh_host_ed25519_key"
IDENTITY = (KEY, f"{KEY}.pub", "/etc/machine-id")


def in_host(fleet: Fleet, name: str, script: str) -> str:
    return str(fleet.lab.run(name, "sh", "-c", script, check=True).stdout)


@contextmanager
def at(fleet: Fleet, name: str, address: str) -> Iterator[None]:
    """Give a host another address instead of its own."""
    own = fleet.lab.address(name)
    hub = fleet.lab.address("hub")
    change = (
        "ip addr del {old}/24 dev eth0 && ip addr add {new}/24 brd + dev eth0 && "
        f"ip route replace default via {hub}; ip -br addr show eth0"
    )
    assert address in in_host(fleet, name, change.format(new=address, old=own))
    try:
        yield
    finally:
        assert own in in_host(fleet, name, change.format(new=own, old=address))


@contextmanager
def copied(fleet: Fleet, original: str, copy: str) -> Iterator[None]:
    """Give a host the identity of another one, as a cloned disk has it."""
    in_host(fleet, copy, f"mkdir -p /root/own && cp -a {' '.join(IDENTITY)} /root/own/")
    try:
        for path in IDENTITY:
            text = in_host(fleet, original, f"cat {path}")
            in_host(fleet, copy, f"cat > {path} <<'END'\n{text}END")
        in_host(fleet, copy, "systemctl restart ssh")
        yield
    finally:
        back = "; ".join(f"cat /root/own/{path.rpartition('/')[2]} > {path}" for path in IDENTITY)
        in_host(fleet, copy, f"{back}; systemctl restart ssh")


def discover(fleet: Fleet, address: str) -> Any:
    return fleet.cluster.ended(fleet.cluster.submit("discover", addresses=[address]))


def test_a_host_with_another_address_is_followed_and_worked_on_there(shared: Fleet) -> None:
    in_service(shared, "n1")
    own = shared.lab.address("n1")
    other = f"{own.rpartition('.')[0]}.231"
    with at(shared, "n1", other):
        assert discover(shared, other)["state"] == "succeeded"
        node = shared.cluster.node("n1")
        assert (node["address"], node["status"]) == (other, "commissioned")
        job = upgrade(shared, "n1")
        succeeds(shared, job)
        assert done(shared, job, "n1") == ["work.01.app.first 1", "work.02.app.second 1"]
        nothing_twice(shared, "n1")
    assert discover(shared, own)["state"] == "succeeded"
    assert shared.cluster.node("n1")["address"] == own


def test_a_copy_of_a_host_is_refused_with_both_named_and_its_original_is_left_alone(shared: Fleet) -> None:
    in_service(shared, "n1")
    shared.cluster.ask("DELETE", "/v1/nodes/n2?force=true").ok()
    before = shared.cluster.node("n1")
    with copied(shared, "n1", "n2"):
        ended = discover(shared, shared.lab.address("n2"))
        (task,) = ended["tasks"]
        assert ended["state"] == "failed"
        own, copy = (shared.lab.address(name) for name in ("n1", "n2"))
        assert f"{copy}:22 (n2) has the machine id and the host key of node n1" in task["error"]
        assert f"which answers at {own}:22: one is a copy of the other" in task["error"]
        after = shared.cluster.node("n1")
        assert (after["address"], after["status"]) == (before["address"], "commissioned")
