"""From nothing to three replicas on real hosts in four commands, with a leader that dies afterwards."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli import installing, shipping
from cli.remote import Remote
from tests.lab.kit import Lab
from tests.wheelwork import wheel

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

HOSTS = ("n1", "n2", "n3", "n4")
DEADLINE_S = 90.0
LATER = "0.2.0"
STEPS = 8
"""Of a second each; the last but one waits until it is told to go on."""
GATE = "/var/tmp/go-on"
CLEAN = """
systemctl disable --now hamgrd hamgrd-upgrade.path hamgrd-upgrade 2>/dev/null
rm -rf /etc/hamgr /var/lib/hamgr /opt/hamgr /var/tmp/steps /var/tmp/go-on
rm -f /etc/systemd/system/hamgrd*.service /etc/systemd/system/hamgrd*.path
systemctl daemon-reload
systemctl reset-failed hamgrd 2>/dev/null
true
"""


@dataclass
class Desk:
    """An operator's machine: an SSH key, the token, and the CLI."""

    lab: Lab
    folder: Path
    environment: dict[str, str]

    def remote(self, node: str) -> Remote:
        return Remote(host=self.lab.address(node), config=str(self.ssh_config))

    @property
    def ssh_config(self) -> Path:
        return self.folder / "ssh_config"

    def hamgr(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *words],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stderr}\n{self.journals()}"
        return done

    def ask(self, *words: str) -> Any:
        return json.loads(self.hamgr(*words, "-o", "json").stdout)

    def journals(self) -> str:
        return "\n".join(
            self.lab.run(node, "journalctl", "-u", "hamgrd", "-n", "20", "--no-pager").stdout
            for node in HOSTS
            if self.lab.running(node)
        )


@pytest.fixture
def desk(on_lab_network: Lab, tmp_path: Path) -> Iterator[Desk]:
    lab = on_lab_network
    for node in HOSTS:
        lab.run(node, "sh", "-c", CLEAN)
    one = Desk(lab=lab, folder=tmp_path, environment={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    one.ssh_config.write_text(
        f"IdentityFile {lab.ssh_key}\nStrictHostKeyChecking no\n"
        "UserKnownHostsFile /dev/null\nLogLevel ERROR\n"
    )
    yield one
    for node in HOSTS:  # a cluster that is left alone goes on, and takes its share of the processors
        lab.run(node, "sh", "-c", CLEAN, check=False)


def found(desk: Desk) -> None:
    """Install hamgr on n1, and make the cluster there."""
    machine = desk.remote("n1")
    installing.install(machine, shipping.pack())
    said = json.loads(machine.ask("/opt/hamgr/current/bin/hamgrd init --name r1 --start -o json"))
    (desk.folder / "ca.crt").write_bytes(desk.lab.read("n1", said["ca"]))
    desk.environment |= {
        "HAMGR_ADDR": said["api"],
        "HAMGR_TOKEN": said["token"],
        "HAMGR_CA_FILE": str(desk.folder / "ca.crt"),
    }
    wait_until("the first replica", lambda: desk.hamgr("replica", "ls", check=False).returncode == 0)
    desk.lab.run("n1", "sh", "-c", f"echo '{said['ssh_public_key']}' >> ~/.ssh/authorized_keys")


@contextlib.contextmanager
def shipped_ahead(desk: Desk, *nodes: str) -> Iterator[None]:
    """Install hamgr on machines meanwhile, one after the other: adding them then finds it there."""
    shipment = shipping.pack()

    def ship() -> None:
        for node in nodes:
            installing.install(desk.remote(node), shipment)

    with ThreadPoolExecutor(max_workers=1) as one:
        shipping_them = one.submit(ship)
        yield
        shipping_them.result()


def begin_rollout(desk: Desk) -> str:
    """Have n1 known as a node, and begin a job of many short steps on it; return the job."""
    bundle = desk.folder / "bundle"
    component = bundle / "components" / "slow"
    component.mkdir(parents=True)
    (bundle / "hamgr.yaml").write_text("version: 1\nroles:\n  slow: {components: [slow]}\n")
    steps = [f"  - {{name: s{n:02}, script: {{source: s{n:02}.sh}}}}\n" for n in range(STEPS)]
    check = "verify:\n  - {name: there, check: {file: {path: /var/tmp/steps}}}\n"
    (component / "component.yaml").write_text(f'version: "1"\ncommission:\n{"".join(steps)}{check}')
    for number in range(STEPS):
        wait = f"until [ -e {GATE} ]; do sleep 0.2; done" if number == STEPS - 2 else "sleep 1"
        (component / f"s{number:02}.sh").write_text(f"{wait}; echo {number} >> /var/tmp/steps\n")
    desk.hamgr("config", "push", str(bundle))
    desk.hamgr("discover", desk.lab.address("n1"), "--user", "root")
    (node,) = desk.hamgr("node", "ls", "-o", "name").stdout.split()
    begun = desk.hamgr("node", "commission", node, "--role", "slow", "--detach", "-o", "name")
    return begun.stdout.strip()


def voters(desk: Desk) -> list[str]:
    return [item["name"] for item in desk.ask("replica", "ls")["items"] if item["role"] == "voter"]


def wait_until(what: str, holds: Any) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.2)


def test_a_cluster_of_one_init_and_two_adds_outlives_its_leader_and_one_is_replaced_under_a_rollout(
    desk: Desk,
) -> None:
    found(desk)
    ssh = ("--ssh-config", str(desk.ssh_config))

    def add(node: str, name: str) -> str:
        return desk.hamgr("replica", "add", desk.lab.address(node), "--name", name, *ssh).stderr

    with shipped_ahead(desk, "n3", "n4"):  # n2 gets it from `replica add` itself
        assert "r2 is a voter" in add("n2", "r2")
        assert "already" in add("n2", "r2")
    assert "r3 is a voter" in add("n3", "r3")
    listed = desk.ask("replica", "ls")
    assert {item["name"]: item["role"] for item in listed["items"]} == dict.fromkeys(
        ("r1", "r2", "r3"), "voter"
    )
    looked = json.loads(desk.hamgr("doctor", "-o", "json", check=False).stdout)["items"]
    assert {item["replica"] for item in looked} == {"r1", "r2", "r3"}
    failing = [item for item in looked if item["level"] == "fail"]
    assert not [item for item in failing if not item["subject"].startswith("disk ")]
    desk.hamgr("globals", "set", "one=1")
    leader = listed["leader"]
    desk.lab.kill(leader.replace("r", "n"))
    try:
        desk.hamgr("globals", "set", "two=2")
        assert desk.ask("globals", "show") == {"one": 1, "two": 2}
    finally:
        desk.lab.start(leader.replace("r", "n"))
    wait_until(
        "the old leader's return",
        lambda: all(item["connected"] for item in desk.ask("replica", "ls")["items"]),
    )
    wait_until("its vote", lambda: len(voters(desk)) == 3)  # away for long, it has become a standby
    job = begin_rollout(desk)
    desk.hamgr("replica", "replace", "r3", desk.lab.address("n4"), "--name", "r4", "--yes", *ssh)
    assert not desk.ask("job", "show", job)["ended"], "the rollout was over before r3 was replaced"
    wait_until("the votes of three", lambda: voters(desk) == ["r1", "r2", "r4"])
    assert desk.ask("globals", "show") == {"one": 1, "two": 2}
    desk.lab.run("n1", "touch", GATE)
    wait_until("the rollout's end", lambda: desk.ask("job", "show", job)["ended"])
    assert desk.ask("job", "show", job)["state"] == "succeeded"
    done = desk.lab.run("n1", "cat", "/var/tmp/steps").stdout.split()
    assert done == [str(number) for number in range(STEPS)], "each step once, in order"
    upgrade_itself(desk, "n1", "n2", "n4")


def upgrade_itself(desk: Desk, *nodes: str) -> None:
    """Have hamgr replace itself on all replicas, each by its machine's path unit and guard."""
    file = desk.folder / f"hamgr-{LATER}-py3-none-any.whl"
    file.write_bytes(wheel(LATER))
    for node in nodes:  # read by the release that begins
        desk.lab.run(node, "sh", "-c", "echo 'upgrade: {stable_s: 1}' >> /etc/hamgr/hamgrd.yaml", check=True)
    desk.hamgr("self", "upgrade", str(file), "--yes")
    assert {item["phase"] for item in desk.ask("self", "status")["replicas"]} == {"done"}
    for node in nodes:
        active = desk.lab.run(node, "systemctl", "is-active", "hamgrd", "hamgrd-upgrade.path").stdout.split()
        assert active == ["active", "active"]
        release = desk.lab.run(node, "readlink", "/opt/hamgr/current", check=True).stdout
        assert f"{LATER}-" in release
    assert desk.ask("status")["version"] == LATER
    assert desk.ask("globals", "show") == {"one": 1, "two": 2}
