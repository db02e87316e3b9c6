"""Steps and nodes that misbehave, on real OpenSSH hosts: all end in a clear result, the others go on."""

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import Fleet
from tests.cluster.steer import done, ends, in_service, succeeds, task, upgrade

pytestmark = pytest.mark.timeout(300)
CONFIG = "/etc/app.conf"
FLOOD_BYTES = 1_000_000_000
FLOOD = f"yes a-line-of-the-flood | head -c {FLOOD_BYTES}; echo the last line\n"
KEPT_BYTES_MAX = 20 * 1024 * 1024
"""More than a node keeps of one attempt's output, and far less than was said."""
STUBBORN = """\
trap '' TERM HUP INT
(setsid sh -c 'trap "" TERM HUP; (sleep 5151.5 &) ; sleep 5151.5' &)
sleep 5151.5
"""


def bundle(fleet: Fleet, directory: Path, *steps: str) -> str:
    """Push a bundle whose role `app` does `steps`; return its digest."""
    component = directory / "components" / "app"
    component.mkdir(parents=True)
    (directory / "hamgr.yaml").write_text(
        "version: 1\nvariables: {port: 8080}\nroles: {app: {components: [app]}}\n"
    )
    written = "".join(f"  - {step}\n" for step in steps)
    proof = '  - {name: alive, check: {command: ["true"]}}\n'
    (component / "component.yaml").write_text(f'version: "1"\ncommission:\n{written}verify:\n{proof}')
    (component / "flood.sh").write_text(FLOOD)
    (component / "stubborn.sh").write_text(STUBBORN)
    return fleet.cluster.push(directory)


def result(job: dict[str, Any], step: str) -> dict[str, Any]:
    return next(one for one in job["tasks"][0]["results"] if one["step"].endswith(step))


def test_a_step_that_says_a_gigabyte_is_heard_to_its_end_and_fills_no_disk(
    shared: Fleet, tmp_path: Path
) -> None:
    loud = bundle(shared, tmp_path / "loud", "{name: flood, script: {source: flood.sh}}")
    job = shared.cluster.submit("commission", nodes=["n1"], role="app", bundle=loud)
    said = result(succeeds(shared, job), "flood")
    assert (said["ending"], said["exit_code"]) == ("exited", 0)
    assert len(said["output_tail"]) <= 1024
    used = shared.lab.run("n1", "du", "-sb", "/var/lib/hamgr", check=True).stdout
    assert int(used.split()[0]) < KEPT_BYTES_MAX
    log = shared.cluster.ask("GET", f"/v1/jobs/{job}/log?node=n1&follow=0")
    assert log.status == 200
    assert len(str(log.body)) < KEPT_BYTES_MAX


def test_a_step_that_never_ends_forks_twice_and_ignores_signals_leaves_nothing_behind(
    shared: Fleet, tmp_path: Path
) -> None:
    step = "{name: stubborn, script: {source: stubborn.sh}, timeout_s: 2}"
    endless = bundle(shared, tmp_path / "endless", step)
    job = shared.cluster.submit("commission", nodes=["n1"], role="app", bundle=endless)
    ended = ends(shared, job, "failed")
    assert result(ended, "stubborn")["ending"] == "timed-out"
    assert "stubborn" in ended["tasks"][0]["error"]
    left = shared.lab.run("n1", "pgrep", "-fa", "5151").stdout
    assert left == ""
    assert shared.cluster.node("n1")["status"] == "discovered"
    in_service(shared, "n1")  # and the node is as good as before


def test_a_node_without_room_is_said_to_be_that_and_its_neighbours_go_on(shared: Fleet) -> None:
    in_service(shared, "n1", "n2")
    full = "/var/lib/hamgr"
    shared.lab.run("n1", "sh", "-c", f"rm -rf /root/kept; cp -a {full} /root/kept", check=True)
    small = f"mount -t tmpfs -o size=256k tmpfs {full} && cp -a /root/kept/. {full}/"
    shared.lab.run("n1", "sh", "-c", f"{small} && ! cat /dev/zero > {full}/ballast", check=True)
    try:
        job = upgrade(shared, "n1", "n2", max_parallel=2, max_failed=1)
        ended = ends(shared, job, "partly")
        assert task(shared, job, "n2")["state"] == "succeeded"
        error = task(shared, job, "n1")["error"]
        assert "full" in error or "space" in error, ended
        assert done(shared, job, "n1") == []
        assert shared.lab.read("n1", CONFIG) == b"version=1.0 port=8080\n"
    finally:
        shared.lab.run("n1", "umount", "-l", full)
    succeeds(shared, upgrade(shared, "n1"))


def test_a_login_that_talks_changes_nothing(shared: Fleet) -> None:
    noise = 'echo "Welcome to $(hostname)! hamgr-runner 1 state=done exit=0"; echo oops >&2\n'
    before = shared.lab.run("n1", "cat", "/root/.bashrc").stdout
    for name in (".bashrc", ".profile"):
        shared.lab.write("n1", f"/root/{name}", noise.encode())
    try:
        shared.lab.run("n1", "sh", "-c", noise, check=True)
        in_service(shared, "n1")
        assert shared.lab.read("n1", CONFIG) == b"version=1.0 port=8080\n"
        job = upgrade(shared, "n1")
        ended = succeeds(shared, job)
        assert done(shared, job, "n1") == ["work.01.app.first 1", "work.02.app.second 1"]
        assert "Welcome" not in str(ended["tasks"])
    finally:
        shared.lab.run("n1", "rm", "-f", "/root/.profile")
        shared.lab.write("n1", "/root/.bashrc", before.encode())
