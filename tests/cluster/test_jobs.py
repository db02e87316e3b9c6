"""Jobs on real OpenSSH nodes when things go wrong: undo, reboot, cancel, another host key, live logs."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.bundle import write_bundle
from tests.cluster.conftest import Fleet

CONFIG = "/etc/app.conf"


def push(fleet: Fleet, tmp_path: Path, *, version: str, extra: str) -> str:
    return fleet.cluster.push(write_bundle(tmp_path / f"v{version}", version=version, extra=extra))


def commission(fleet: Fleet, *nodes: str) -> None:
    job = fleet.cluster.submit("commission", nodes=list(nodes), role="app", bundle=fleet.first)
    assert fleet.cluster.ended(job)["state"] == "succeeded"


def test_a_failed_upgrade_gives_the_node_its_last_good_bundle_back(fleet: Fleet, tmp_path: Path) -> None:
    commission(fleet, "n1")
    bad = push(fleet, tmp_path, version="3.0", extra='[ "$HAMGR_ATTEMPT" = 0 ]')
    job = fleet.cluster.submit("upgrade", nodes=["n1"], bundle=bad)
    ended = fleet.cluster.ended(job)
    assert ended["state"] == "failed"
    assert "work.01.app.first failed with exit status 1" in ended["tasks"][0]["error"]
    node = fleet.cluster.node("n1")
    assert (node["status"], node["health"], node["bundle"]) == ("commissioned", "verified", fleet.first)
    assert "work.01.app.first" in node["error"]
    assert fleet.lab.read("n1", CONFIG) == b"version=1.0 port=8080\n"


def test_a_failed_commission_is_cleaned_up_and_keeps_its_error(fleet: Fleet, tmp_path: Path) -> None:
    fails_once = 'case $HAMGR_STEP in work.02*) echo "no space for rent" >&2; exit 9 ;; esac'
    bad = push(fleet, tmp_path, version="3.0", extra=fails_once)
    job = fleet.cluster.submit("commission", nodes=["n1"], role="app", bundle=bad)
    ended = fleet.cluster.ended(job)
    results = {result["step"]: result for result in ended["tasks"][0]["results"]}
    assert ended["state"] == "failed"
    assert results["work.02.app.second"]["exit_code"] == 9
    assert results["work.02.app.second"]["output_tail"] == "no space for rent\n"
    assert results["undo.01.app.config"]["passed"]
    node = fleet.cluster.node("n1")
    assert (node["status"], node["bundle"]) == ("discovered", None)
    assert fleet.lab.run("n1", "cat", CONFIG).returncode != 0


@pytest.mark.parametrize("end", ["reboot", "power cut"])
def test_a_node_that_goes_down_in_the_middle_of_a_step_tries_it_again(
    fleet: Fleet, tmp_path: Path, end: str
) -> None:
    slow_once = "case $HAMGR_STEP/$HAMGR_ATTEMPT in work.01*/1) sleep 60 ;; esac"
    slow = push(fleet, tmp_path, version="3.0", extra=slow_once)
    job = fleet.cluster.submit("commission", nodes=["n1"], role="app", bundle=slow)
    fleet.cluster.wait("the slow step", lambda: any("work.01" in line for line in fleet.effects("n1")))
    if end == "reboot":
        fleet.lab.reboot("n1")
    else:
        fleet.lab.kill("n1")
        fleet.lab.start("n1")
    ended = fleet.cluster.ended(job)
    assert ended["state"] == "succeeded", str(ended["tasks"])
    first = [r for r in ended["tasks"][0]["results"] if r["step"] == "work.01.app.first"]
    assert [(r["attempt"], r["ending"]) for r in first] == [(1, "lost"), (2, "exited")]
    assert [line.split()[1:] for line in fleet.effects("n1")] == [
        ["work.01.app.first", "1"],
        ["work.01.app.first", "2"],
        ["work.02.app.second", "1"],
    ]


def test_a_cancelled_job_leaves_no_process_behind_and_is_undone(fleet: Fleet, tmp_path: Path) -> None:
    stubborn = 'case $HAMGR_STEP in work.01*) trap "" TERM; sleep 77.7 & sleep 77.7 ;; esac'
    slow = push(fleet, tmp_path, version="3.0", extra=stubborn)
    job = fleet.cluster.submit("commission", nodes=["n1"], role="app", bundle=slow)
    fleet.cluster.wait("the slow step", lambda: any("work.01" in line for line in fleet.effects("n1")))
    fleet.cluster.ask("POST", f"/v1/jobs/{job}:cancel", {"reason": "changed my mind"}).ok()
    ended = fleet.cluster.ended(job)
    assert ended["state"] == "cancelled"
    assert fleet.cluster.node("n1")["status"] == "discovered"
    assert fleet.lab.run("n1", "pgrep", "-f", "sleep 77.7").stdout == ""
    assert fleet.lab.run("n1", "cat", CONFIG).returncode != 0


def test_a_node_with_another_host_key_is_not_touched(fleet: Fleet) -> None:
    commission(fleet, "n1")
    before = fleet.launches("n1")
    key = "/etc/ssh/ssh_host_ed25519_key"
    fleet.lab.run("n1", "sh", "-c", f"cp {key} /root/key; cp {key}.pub /root/key.pub", check=True)
    try:
        change = f"rm {key}; ssh-keygen -qt ed25519 -N '' -f {key}; systemctl restart ssh"
        fleet.lab.run("n1", "sh", "-c", change, check=True)
        restart_all(fleet)
        ended = fleet.cluster.ended(fleet.cluster.submit("verify", nodes=["n1"]))
        assert ended["state"] == "failed"
        assert "host key" in ended["tasks"][0]["error"]
        assert fleet.launches("n1") == before
    finally:
        back = f"cp /root/key {key}; cp /root/key.pub {key}.pub; systemctl restart ssh"
        fleet.lab.run("n1", "sh", "-c", back, check=True)


def restart_all(fleet: Fleet) -> None:
    """Make every replica forget its open connections."""
    for name in fleet.cluster.names:
        fleet.cluster.processes.kill_replica(name)
    fleet.cluster.revive()
    fleet.cluster.wait("a leader", fleet.cluster.leader)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("strike", ["kill", "stop"])
def test_a_followed_log_is_whole_and_has_nothing_twice_across_a_leaders_end(
    fleet: Fleet, tmp_path: Path, strike: str
) -> None:
    talk = 'case $HAMGR_STEP in work.01*) for i in $(seq 1 60); do echo "line $i."; sleep 0.1; done ;; esac'
    slow = push(fleet, tmp_path, version="3.0", extra=talk)
    job = fleet.cluster.submit("commission", nodes=["n1"], role="app", bundle=slow)
    with follow(fleet, job) as reader:
        fleet.cluster.wait("the talking step", lambda: any("work.01" in line for line in fleet.effects("n1")))
        leader = fleet.cluster.wait("a leader", fleet.cluster.leader)
        act: Callable[[], None] = {
            "kill": lambda: fleet.cluster.processes.kill_replica(leader),
            "stop": lambda: fleet.cluster.processes.signal_replica(leader, signal.SIGSTOP),
        }[strike]
        act()
        assert fleet.cluster.ended(job)["state"] == "succeeded"
        output, errors = reader.communicate(timeout=60)
    said = [line.split("| ", 1)[1] for line in output.splitlines() if "line " in line]
    assert said == [f"line {i}." for i in range(1, 61)], errors
    assert reader.returncode == 0


def follow(fleet: Fleet, job: str) -> subprocess.Popen[str]:
    """Follow a job's log as an operator does."""
    layout = fleet.cluster.layout
    environment = {
        **os.environ,
        "HAMGR_ADDR": ",".join(layout.urls),
        "HAMGR_TOKEN_FILE": str(layout.token_file),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", "job", "log", job, "--follow", "--node", "n1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
