"""The peer: Ansible with pipelining, kept connections and as many forks as there are nodes.

Its connections are opened before the first measured round, as hamgr's are. Nothing is left on the machine:
its home is in the bench's folder, and its kept connections end with its account.
"""

import os
import shutil
import subprocess
import venv
from pathlib import Path
from types import TracebackType
from typing import Self

from cli.demo.layout import LOOPBACK
from tests.bench.account import Account
from tests.bench.endpoints import Fleet, user
from tests.bench.sides import Round, measure

ANSIBLE = "ansible-core>=2.17,<2.20"
"""The newest that runs on Python 3.11."""
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


class Ansible:
    """An `ansible-playbook` with pipelining and as many forks as nodes."""

    def __init__(self, directory: Path, fleet: Fleet) -> None:
        self._fleet = fleet
        self._directory = directory / "ansible"
        self._directory.mkdir()
        self._programs = ansible_programs(self._directory / "venv")
        self._account = Account(self._directory)
        hosts = "".join(f"{node.name} ansible_port={node.port} root={node.root}\n" for node in fleet.nodes)
        (self._directory / "inventory").write_text(
            f"{hosts}\n[all:vars]\nansible_host={LOOPBACK}\nansible_user={user()}\n"
            f"ansible_ssh_private_key_file={fleet.key}\nansible_python_interpreter=/usr/bin/python3\n"
        )
        (self._directory / "playbook.yml").write_text(PLAYBOOK)
        (self._directory / "ansible.cfg").write_text(
            f"[defaults]\nforks={len(fleet.nodes)}\nhost_key_checking=False\n"
            "[ssh_connection]\npipelining=True\n"
            "ssh_args=-o ControlMaster=auto -o ControlPersist=300s -o UserKnownHostsFile=/dev/null\n"
        )

    def __enter__(self) -> Self:
        self._account.__enter__()
        self._run("ansible", "-i", "inventory", "all", "-m", "ansible.builtin.raw", "-a", "true")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._account.__exit__(kind, error, trace)

    def round(self, number: int) -> Round:
        return measure(lambda: self._play(number), self._account.cpu_s, self._fleet)

    def _play(self, number: int) -> None:
        self._run("ansible-playbook", "-i", "inventory", "playbook.yml", "-e", f"version={number}")

    def _run(self, program: str, *words: str) -> None:
        environment = {
            "ANSIBLE_CONFIG": str(self._directory / "ansible.cfg"),
            "ANSIBLE_HOME": str(self._directory / "home"),
            "LC_ALL": "C.UTF-8",
        }
        ended = self._account.run([self._programs / program, *words], environment)
        assert ended.exit_code == 0, ended.output[-4000:]


def ansible_programs(home: Path) -> Path:
    """Return the folder of the programs: those on the machine, else installed into `home` for this run."""
    found = shutil.which("ansible-playbook")
    if found:
        return Path(found).parent
    venv.create(home, with_pip=True)
    install = [home / "bin" / "pip", "install", "-qq", "--disable-pip-version-check", ANSIBLE]
    subprocess.run(install, check=True, env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"})
    return home / "bin"
