"""The address that follows the leader, on real interfaces: it moves, and it never stays behind."""

import contextlib
import os
import signal
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.vips import Caller, VIPCluster, vip_cluster
from tests.lab.kit.processes import alive, tool

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VIPCluster]:
    with vip_cluster(tmp_path_factory.mktemp("vip") / "cluster") as vips:
        yield vips


@pytest.fixture
def vips(running: VIPCluster) -> Iterator[VIPCluster]:
    """A cluster whose leader holds the address alone."""
    running.settle()
    yield running
    for replica in running.cluster.names:
        running.mend(replica)


def answered_by(vips: VIPCluster, caller: Caller, *, other_than: str) -> str:
    """Wait until somebody else answers at the address; return who."""
    return vips.cluster.wait(
        "an answer from another replica",
        lambda: next((who for _, who in reversed(caller.answers) if who != other_than), ""),
    )


def moved(vips: VIPCluster, old: str) -> str:
    """Wait until another replica leads and has the address; return its name."""
    return vips.cluster.wait(
        "another holder",
        lambda: (name := vips.cluster.leader()) and name != old and name in vips.holders() and name,
    )


def handed_over(vips: VIPCluster, old: str, heir: str) -> bool:
    """Ask a leader to make way, unless it did; it refuses while the heir is behind, as on a busy machine."""
    told = vips.cluster.on(old, "POST", f"/v1/replicas/{heir}:lead")
    return told.status == 200 or vips.cluster.leader() not in ("", old)


def gone(vips: VIPCluster, replica: str) -> None:
    vips.cluster.wait(
        f"{replica} without addresses",
        lambda: replica not in vips.holders() and replica not in vips.holders(vips.ipv6),
    )


def takings(vips: VIPCluster, since: str) -> list[str]:
    """Return what watchers were told of who took the addresses."""
    page = vips.cluster.ask("GET", f"/v1/events?follow=0&since={since}")
    found = page.ok()["items"] if page.status == 200 else []
    return [one["message"] for one in found if one["kind"] == "replica.vip-taken"]


def watchdog(vips: VIPCluster, replica: str) -> int:
    return int(vips.view(replica)["watchdog"]["pid"])


def test_the_leader_alone_has_the_addresses_and_answers_there(vips: VIPCluster) -> None:
    def told(leader: str) -> bool:
        with Caller(vips, vips.ip) as four, Caller(vips, vips.ipv6) as six:
            for caller in (four, six):
                vips.cluster.wait("an answer", lambda caller=caller: caller.answers)
        at_addresses = {who for _, who in (*four.answers, *six.answers)}
        holders = [vips.holders(ip) for ip in (vips.ip, vips.ipv6)]
        held = vips.view(leader)["held"]
        metrics = vips.cluster.on(leader, "GET", "/metrics").body.decode()
        healthy = [
            name
            for name in vips.cluster.names
            if vips.cluster.on(name, "GET", "/v1/health/leader").status == 200
        ]
        return (at_addresses, holders, held, "hamgr_vip_held 1.0" in metrics, healthy) == (
            {leader}, [[leader], [leader]], True, True, [leader],
        )  # fmt: skip

    # A machine that stands still for a moment elects another leader: what is said then is of two.
    vips.cluster.wait("one story from all sides", lambda: told(vips.settle()))


def test_a_planned_move_takes_the_address_along(vips: VIPCluster) -> None:
    old = vips.settle()
    heir = next(name for name in vips.cluster.names if name != old)
    since = vips.cluster.ask("GET", "/v1/events?follow=0&since=now").ok()["next"]
    with Caller(vips, vips.ip) as caller:
        vips.cluster.wait("an answer", lambda: caller.answers)
        vips.cluster.wait("the handing over", lambda: handed_over(vips, old, heir))
        assert answered_by(vips, caller, other_than=old) == moved(vips, old)
    gone(vips, old)
    told = vips.cluster.wait("an event", lambda: takings(vips, since))
    assert any(f"{vips.ip}/24" in message and vips.ipv6 in message for message in told)


def test_a_killed_daemon_leaves_no_address_and_no_watchdog_behind(vips: VIPCluster) -> None:
    old = vips.settle()
    guard = watchdog(vips, old)
    vips.cluster.kill(old)
    gone(vips, old)
    vips.cluster.wait("the watchdog's end", lambda: not alive(guard))
    moved(vips, old)


def test_a_daemon_that_stands_still_loses_the_address_to_its_watchdog(vips: VIPCluster) -> None:
    old = vips.settle()
    guard = watchdog(vips, old)
    vips.cluster.freeze(old)
    gone(vips, old)
    assert alive(guard)
    moved(vips, old)
    vips.cluster.thaw(old)


def test_a_machine_that_stood_still_never_answers_at_the_address_again(vips: VIPCluster) -> None:
    old = vips.settle()
    with Caller(vips, vips.ip) as four, Caller(vips, vips.ipv6) as six:
        for caller in (four, six):
            vips.cluster.wait("an answer", lambda caller=caller: caller.answers)
        vips.wreck(old, "freeze")
        asleep = time.monotonic()
        for caller in (four, six):
            answered_by(vips, caller, other_than=old)
        vips.mend(old)
        thawed = time.monotonic()
        vips.cluster.wait("a second of answers", lambda: four.answers[-1][0] > thawed + 1.0)
    assert old not in {who for at, who in (*four.asked, *six.asked) if at > asleep}
    gone(vips, old)


def test_a_machine_that_stands_still_loses_the_address_by_its_kernel(vips: VIPCluster) -> None:
    old = vips.settle()
    vips.wreck(old, "freeze")
    gone(vips, old)


def test_a_leader_that_is_cut_off_lets_go_though_clients_still_reach_it(vips: VIPCluster) -> None:
    old = vips.settle()
    with Caller(vips, vips.ip) as caller:
        vips.cluster.wait("an answer", lambda: caller.answers)
        vips.wreck(old, "partition")
        answered_by(vips, caller, other_than=old)
        switched = time.monotonic()
        gone(vips, old)
        vips.cluster.wait("more answers", lambda: caller.answers[-1][0] > switched + 0.5)
    assert old not in {who for at, who in caller.asked if at > switched}


def test_a_stop_lets_the_address_go_first(vips: VIPCluster) -> None:
    old = vips.settle()
    vips.cluster.processes.signal_replica(old, signal.SIGTERM)
    vips.cluster.wait("its end", lambda: vips.cluster.processes.ended(old) is not None)
    assert old not in vips.holders()
    log = next(plan.log for plan in vips.cluster.layout.replicas if plan.name == old).read_text()
    assert "let go: this replica stops" in log
    moved(vips, old)


def test_a_renewed_certificate_is_shown_at_the_address_without_a_restart(vips: VIPCluster) -> None:
    vips.settle()
    pki = vips.authority.parent
    before = vips.cluster.wait("a certificate", vips.shown)
    words = [f"--replica={plan.name}={plan.raft}" for plan in vips.cluster.layout.replicas]
    tool(sys.executable, "-m", "hamgr.commands", "make-certificates", str(pki), *words, "--renew")
    renewed = {ssl.PEM_cert_to_DER_cert((pki / f"{name}.crt").read_text()) for name in vips.cluster.names}
    assert before not in renewed
    for name in vips.cluster.names:
        vips.cluster.processes.signal_replica(name, signal.SIGHUP)
    vips.cluster.wait("a renewed certificate", lambda: vips.shown() in renewed)
    assert all(vips.cluster.processes.ended(name) is None for name in vips.cluster.names)


def test_a_watchdog_that_is_killed_is_replaced(vips: VIPCluster) -> None:
    leader = vips.settle()
    before = watchdog(vips, leader)
    os.kill(before, signal.SIGKILL)
    vips.cluster.wait(
        "another watchdog",
        lambda: vips.view(vips.settle())["watchdog"]["pid"] not in (None, before),
    )


def test_an_address_that_a_stranger_has_is_not_taken_until_it_is_free(vips: VIPCluster) -> None:
    old = vips.settle()
    address = ("addr", "{}", f"{vips.ip}/32", "dev", "br0")
    hub = ("ip", "-n", vips.namespace())
    vips.cluster.kill(old)
    tool(*hub, *(word.format("add") for word in address))
    try:
        trouble = vips.cluster.wait(
            "a complaint",
            lambda: (name := vips.cluster.leader()) and name != old and vips.view(name)["trouble"],
        )
        assert vips.ip in trouble
        assert "02:77:00:00:00:fe" in trouble  # the bridge
        assert "no replica of ours" in trouble
        gone(vips, old)
        assert vips.holders() == [], vips.cluster.logs()
    finally:
        with contextlib.suppress(Exception):
            tool(*hub, *(word.format("del") for word in address))
    heir = moved(vips, old)
    vips.cluster.wait("its word", lambda: vips.view(heir)["held"])
    assert vips.view(heir)["trouble"] is None


def test_the_watchdog_is_small(vips: VIPCluster) -> None:
    resident = vips.view(vips.settle())["watchdog"]["resident_bytes"]
    print(f"the watchdog takes {resident / 2**20:.1f} MiB")
    assert resident < 32 * 2**20
    assert Path(f"/proc/{watchdog(vips, vips.settle())}").exists()
