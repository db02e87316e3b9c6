"""hamgr upgrades itself: real daemons from real releases, restarted by a command; writes go on meanwhile.

One cluster for all stories, which follow each other as an operator's would: a release that cannot start is
taken back, then a good one is taken by all although the leader is killed in the middle.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hamgr.upgrade.releases import name_of
from tests.cluster.harness import Cluster
from tests.cluster.writer import Writer
from tests.wheelwork import BROKEN, digest, lay_release, wheel

RESTART = """\
import os, subprocess, sys, time
pid_file, link, config, log = sys.argv[1:]

def runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

try:
    pid = int(open(pid_file).read())
except (OSError, ValueError):
    pid = 0
if pid and runs(pid):
    os.kill(pid, 15)
    while runs(pid):
        time.sleep(0.05)
environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
with open(log, "ab") as output:
    daemon = subprocess.Popen([link + "/bin/hamgrd", "run", "--config", config], cwd="/", env=environment,
                              stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
with open(pid_file + ".new", "w") as file:
    file.write(str(daemon.pid))
os.replace(pid_file + ".new", pid_file)
"""
BEFORE, AFTER = "0.1.0", "0.2.0"
UPGRADE_S_MAX = 250.0

pytestmark = pytest.mark.timeout(400)
"""Three daemons are started nine times."""


@dataclass(slots=True)
class Supervised:
    """Replicas, each with releases of its own and a supervisor; as `Processes`, for the harness."""

    cluster: Cluster
    commands: dict[str, list[str]] = field(default_factory=dict)

    def pid(self, name: str) -> int:
        return int((self.cluster.directory / f"{name}.pid").read_text())

    def start_replica(self, name: str) -> None:
        subprocess.run(self.commands[name], check=True, timeout=60)

    def ended(self, name: str) -> int | None:
        try:
            stat = Path(f"/proc/{self.pid(name)}/stat").read_text()
        except OSError:
            return 1
        return 1 if stat.rpartition(")")[2].split()[0] == "Z" else None

    def kill(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGKILL)

    def stop(self) -> None:
        for name in self.commands:
            if self.ended(name) is None:
                self.kill(name)


def laid_out(directory: Path) -> Cluster:
    cluster = Cluster(directory)
    supervised = Supervised(cluster)
    script = directory / "restart.py"
    script.write_text(RESTART)
    first = wheel(BEFORE)
    for plan in cluster.layout.replicas:
        root = directory / "opt" / plan.name
        lay_release(root, f"{BEFORE}-first", first)
        words = (script, directory / f"{plan.name}.pid", root / "current", plan.config, plan.log)
        command = [sys.executable, *map(str, words)]
        supervised.commands[plan.name] = command
        section = {"restart": command, "stable_s": 0.5, "healthy_deadline_s": 90, "reserve_bytes": 0}
        plan.config.write_text(json.dumps({**json.loads(plan.config.read_text()), "upgrade": section}))
    cluster.processes = supervised
    return cluster


@contextlib.contextmanager
def impatient(cluster: Cluster, deadline_s: float) -> Iterator[None]:
    """Have guards give a new release only so long."""
    texts = {plan.config: plan.config.read_text() for plan in cluster.layout.replicas}
    for path, text in texts.items():
        said = json.loads(text)
        path.write_text(
            json.dumps({**said, "upgrade": {**said["upgrade"], "healthy_deadline_s": deadline_s}})
        )
    try:
        yield
    finally:
        for path, text in texts.items():
            path.write_text(text)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = laid_out(tmp_path_factory.mktemp("upgraded"))
    try:
        cluster.start()
        cluster.wait("all ready", lambda: all(ready(cluster, name) for name in cluster.names))
        yield cluster
    finally:
        cluster.stop()


def ready(cluster: Cluster, name: str) -> bool:
    return cluster.on(name, "GET", "/readyz").status == 200


def releases(cluster: Cluster) -> set[str]:
    """Return what runs, when all replicas have said it."""

    def told() -> list[str]:
        answers = [cluster.on(name, "GET", "/v1/upgrade/replica") for name in cluster.names]
        return [one.body["release"] for one in answers if one.status == 200]

    return set(cluster.wait("the word of all", lambda: len(said := told()) == len(cluster.names) and said))


def begun(cluster: Cluster, data: bytes, **fields: Any) -> Any:
    sent = cluster.ask("POST", "/v1/upgrade/wheels", data).ok()["digest"]
    return cluster.wait("the upgrade begins", lambda: _begin(cluster, {"wheels": [sent], **fields}))


def _begin(cluster: Cluster, body: Any) -> Any:
    answer = cluster.ask("POST", "/v1/upgrade", body)
    return answer.body if answer.status == 202 else None


def upgrade(cluster: Cluster) -> Any:
    return cluster.ask("GET", "/v1/upgrade").ok()["upgrade"]


def test_a_release_that_cannot_start_is_taken_back_and_the_upgrade_stops_with_a_sentence(
    cluster: Cluster,
) -> None:
    broken = wheel(AFTER, edit={"hamgr/commands/run.py": BROKEN})
    release = name_of(AFTER, [digest(broken)])
    with impatient(cluster, 10.0):
        order = [item["name"] for item in begun(cluster, broken)["replicas"]]
        found = cluster.wait(
            "its end", lambda: (u := upgrade(cluster))["state"] == "stopped" and u, timeout_s=UPGRADE_S_MAX
        )
    phases = {item["name"]: item["phase"] for item in found["replicas"]}
    assert phases == {order[0]: "rolled-back", order[1]: "waiting", order[2]: "waiting"}
    assert f"{order[0]}: {release} did not come up: " in found["why"]
    assert f"{BEFORE}-first runs there again" in found["why"]
    assert releases(cluster) == {f"{BEFORE}-first"}


def test_all_replicas_take_a_good_release_though_the_leader_dies_and_no_acknowledged_write_is_lost(
    cluster: Cluster,
) -> None:
    good = wheel(AFTER)
    release = name_of(AFTER, [digest(good)])
    with Writer(cluster) as writer:
        begun(cluster, good)
        leader = cluster.wait("a leader", cluster.leader)
        cluster.wait("a turn", lambda: any(i["phase"] != "waiting" for i in upgrade(cluster)["replicas"]))
        cluster.processes.kill(leader)
        cluster.wait("a successor", lambda: cluster.leader() not in ("", leader))
        cluster.processes.start_replica(leader)
        cluster.wait("its end", lambda: upgrade(cluster)["state"] == "done", timeout_s=UPGRADE_S_MAX)
        written = len(writer.acknowledged)
        cluster.wait("writes after it", lambda: len(writer.acknowledged) > written)
    assert releases(cluster) == {release}
    assert not writer.lost()
    assert {item["phase"] for item in upgrade(cluster)["replicas"]} == {"done"}


def upgraded(cluster: Cluster) -> Any:
    """Return the good release's upgrade; have it made where this process did not run the story before."""
    if (upgrade(cluster) or {}).get("state") != "done":
        begun(cluster, wheel(AFTER))
        cluster.wait("its end", lambda: upgrade(cluster)["state"] == "done", timeout_s=UPGRADE_S_MAX)
    return upgrade(cluster)


def test_what_all_run_is_not_done_again_and_an_older_one_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    before = upgraded(cluster)
    file = tmp_path / f"hamgr-{AFTER}-py3-none-any.whl"
    file.write_bytes(wheel(AFTER))
    plan = said(cluster, tmp_path, "upgrade", AFTER, "--dry-run", "-o", "json")
    assert plan.returncode == 0, plan.stderr
    assert all(item["done"] for item in json.loads(plan.stdout)["replicas"])
    again = said(cluster, tmp_path, "upgrade", file.name, "--yes")
    assert "already" in again.stdout
    older = tmp_path / f"hamgr-{BEFORE}-py3-none-any.whl"
    older.write_bytes(wheel(BEFORE))
    refused = said(cluster, tmp_path, "upgrade", BEFORE, "--yes")
    assert refused.returncode == 4
    assert f"{AFTER} runs, and {BEFORE} is older" in refused.stderr
    status = said(cluster, tmp_path, "status", "-o", "json")
    assert json.loads(status.stdout) == before


def said(cluster: Cluster, where: Path, *words: str) -> subprocess.CompletedProcess[str]:
    servers = [word for url in cluster.layout.urls for word in ("--server", url)]
    command = [sys.executable, "-m", "cli.main", "self", *words, *servers]
    tree = str(Path(__file__).parents[2])
    return subprocess.run(
        [*command, "--token-file", str(cluster.layout.token_file)],
        capture_output=True, text=True, check=False, timeout=60, cwd=where,
        env={**os.environ, "PYTHONPATH": tree},
    )  # fmt: skip
