"""The same job of five steps on the same nodes, by hamgr and by Ansible: `python -m tests.bench.five_steps`.

Nodes are real OpenSSH servers on loopback. hamgr is three replicas behind the HTTP API, with every attempt
Nodes are real OpenSSH servers on loopback. hamgr is three replicas behind the HTTP API, every attempt
announced and recorded in the replicated log; its connections are kept from the discovery before. Ansible runs a

The floor is sshd's own work: `ssh ... true` over one kept connection, as often as hamgr runs a step.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from tests.bench import cpu
from tests.bench.endpoints import Endpoint, endpoints, user
from tests.cluster.harness import Cluster

ANSIBLE = "ansible-core>=2.17,<2.20"
"""The newest that runs on Python 3.11."""
JOB_TIMEOUT_S = 300.0
COMPONENT = """\
version: "{version}"
commission:
  - name: config
    file: {{path: /etc/bench.conf, content: "version={version}\\n"}}
  - name: one
    script: {{source: work.sh}}
  - name: two
    script: {{source: work.sh}}
  - name: three
    script: {{source: work.sh}}
verify:
  - name: config
    file: {{path: /etc/bench.conf, content: "version={version}\\n"}}
"""
WORK = "mkdir -p $HAMGR_ROOT/var/bench; echo $HAMGR_STEP >> $HAMGR_ROOT/var/bench/log\n"
PLAYBOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.copy: {dest: "{{ root }}/bench.conf", content: "version={{ version }}\\n"}
    - ansible.builtin.shell: "mkdir -p {{ root }}/bench; echo one >> {{ root }}/bench/log"
    - ansible.builtin.shell: "mkdir -p {{ root }}/bench; echo two >> {{ root }}/bench/log"
    - ansible.builtin.shell: "mkdir -p {{ root }}/bench; echo three >> {{ root }}/bench/log"
    - ansible.builtin.command: "grep -qx version={{ version }} {{ root }}/bench.conf"
"""


def write_bundle(directory: Path, version: str) -> Path:
    component = directory / "components" / "bench"
    component.mkdir(parents=True)
    (directory / "hamgr.yaml").write_text("version: 1\nroles:\n  bench: {components: [bench]}\n")
    (component / "component.yaml").write_text(COMPONENT.format(version=version))
    (component / "work.sh").write_text(WORK)
    return directory


class Hamgr:
    """Three replicas that know the nodes; each round is an upgrade of all of them at once."""

    def __init__(self, directory: Path, nodes: list[Endpoint], key: Path) -> None:
        self._cluster = Cluster(directory / "cluster", ssh_key=key)
        self._directory = directory
        self._nodes = nodes

    def __enter__(self) -> "Hamgr":
        cluster = self._cluster
        cluster.start()
        addresses = [f"127.0.0.1:{node.port}" for node in self._nodes]
        job = cluster.submit("discover", addresses=addresses, user=user())
        assert cluster.ended(job, timeout_s=JOB_TIMEOUT_S)["state"] == "succeeded"
        cluster.push(write_bundle(self._directory / "bundle-0", "0"))
        self._run("commission", role="bench")
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.stop()

    def round(self, number: int) -> tuple[float, float, float]:
        """Return wall seconds, the replicas' CPU seconds and the machine's busy seconds of one job."""
        self._cluster.push(write_bundle(self._directory / f"bundle-{number}", str(number)))
        pids = [self._cluster.processes.pid(name) for name in self._cluster.names]
        before, watch = cpu.of_processes(pids), cpu.Stopwatch()
        self._run("upgrade")
        wall_s, machine_s = watch.read()
        return wall_s, cpu.of_processes(pids) - before, machine_s

    def _run(self, kind: str, **fields: str) -> None:
        job = self._cluster.submit(kind, selector="*", max_parallel=len(self._nodes), **fields)
        ended = self._cluster.ended(job, timeout_s=JOB_TIMEOUT_S)
        assert ended["state"] == "succeeded", ended["error"]


class Ansible:
    """An `ansible-playbook` with pipelining and as many forks as nodes."""

    def __init__(self, directory: Path, nodes: list[Endpoint], key: Path) -> None:
        self._program = ansible_playbook(directory)
        self._directory = directory
        hosts = "".join(f"{node.name} ansible_port={node.port} root={node.root}\n" for node in nodes)
        (directory / "inventory").write_text(
            f"{hosts}\n[all:vars]\nansible_host=127.0.0.1\nansible_user={user()}\n"
            f"ansible_ssh_private_key_file={key}\nansible_python_interpreter=/usr/bin/python3\n"
        )
        (directory / "playbook.yml").write_text(PLAYBOOK)
        (directory / "ansible.cfg").write_text(
            f"[defaults]\nforks={len(nodes)}\nhost_key_checking=False\n"
            "[ssh_connection]\npipelining=True\n"
            "ssh_args=-o ControlMaster=auto -o ControlPersist=300s -o UserKnownHostsFile=/dev/null\n"
        )

    def round(self, number: int) -> tuple[float, float, float]:
        before, watch = resource.getrusage(resource.RUSAGE_CHILDREN), cpu.Stopwatch()
        done = subprocess.run(
            [str(self._program), "-i", "inventory", "playbook.yml", "-e", f"version={number}"],
            cwd=self._directory,
            env={**os.environ, "ANSIBLE_CONFIG": str(self._directory / "ansible.cfg"), "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=JOB_TIMEOUT_S,
            check=False,
        )
        wall_s, machine_s = watch.read()
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, machine_s


def ansible_playbook(directory: Path) -> Path:
    """Return the program: the one on the machine, else one that is installed for this run."""
    found = shutil.which("ansible-playbook")
    if found:
        return Path(found)
    home = directory / "ansible"
    venv.create(home, with_pip=True)
    subprocess.run([str(home / "bin" / "pip"), "install", "-q", ANSIBLE], check=True)
    return home / "bin" / "ansible-playbook"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print figures for a program")
    arguments = parser.parse_args()
    figures: dict[str, list[tuple[float, float, float]]] = {"hamgr": [], "ansible": []}
    with tempfile.TemporaryDirectory(prefix="hamgr-bench-") as name:
        directory = Path(name)
        with endpoints(directory, arguments.nodes) as (nodes, key):
            ansible = Ansible(directory, nodes, key)
            with Hamgr(directory, nodes, key) as hamgr:
                ansible.round(0)  # warm: its connections are kept too
                for number in range(1, arguments.rounds + 1):
                    figures["hamgr"].append(hamgr.round(number))
                    figures["ansible"].append(ansible.round(number))
            time.sleep(0.1)
    report(figures, arguments.nodes, as_json=arguments.json)
    return 0


def report(figures: dict[str, list[tuple[float, float, float]]], nodes: int, *, as_json: bool) -> None:
    medians = {
        name: [statistics.median(row[i] for row in rows) for i in range(3)] for name, rows in figures.items()
    }
    ratio = medians["ansible"][0] / medians["hamgr"][0]
    if as_json:
        print(json.dumps({"nodes": nodes, "rounds": figures, "medians": medians, "ratio": ratio}))
        return
    print(f"5 steps on {nodes} nodes, median of {len(figures['hamgr'])} rounds, taken in turn")
    print(f"{'':10}{'seconds':>10}{'control CPU-s':>16}{'machine CPU-s':>16}{'nodes/s':>10}")
    for name, (wall_s, own_s, machine_s) in medians.items():
        print(f"{name:10}{wall_s:10.2f}{own_s:16.2f}{machine_s:16.2f}{nodes / wall_s:10.1f}")
    print(f"hamgr does the job {ratio:.1f} times as fast")


if __name__ == "__main__":
    sys.exit(main())
