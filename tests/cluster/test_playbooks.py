"""A playbook on a real OpenSSH host, by the real ansible-playbook of Debian, whose leader is killed.

With CI set, ansible-core has to be there; elsewhere the test is made where it is found.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import Fleet
from tests.cluster.steer import PATIENCE_S, begun, done, kill_leader, nothing_twice, succeeds, task

pytestmark = pytest.mark.timeout(300)
SHUT = "/root/shut"
CONFIG = "/etc/app.conf"
EFFECT = "echo {{ lookup('env', 'HAMGR_JOB') }} %s 1 >> /var/log/effects"
PLAYBOOK = f"""\
- hosts: all
  gather_facts: false
  tasks:
    - shell: {EFFECT % "before"}
    - wait_for: {{path: {SHUT}, state: absent, sleep: 1, timeout: 250}}
    - copy:
        dest: {CONFIG}
        content: "port={{{{ port }}}} on {{{{ inventory_hostname }}}}\\n"
    - shell: {EFFECT % "after"}
"""
COMPONENT = f"""\
version: "1.0"
commission:
  - name: site
    playbook: {{source: play/site.yaml, extra_vars: {{port: "{{{{ port + 1 }}}}"}}}}
verify:
  - name: written
    check: {{command: [grep, -qx, "port=8081 on n1", {CONFIG}]}}
"""


def push(fleet: Fleet, directory: Path) -> str:
    component = directory / "components" / "app"
    (component / "play").mkdir(parents=True)
    (directory / "hamgr.yaml").write_text(
        "version: 1\nvariables: {port: 8080}\nroles: {app: {components: [app]}}\n"
    )
    (component / "component.yaml").write_text(COMPONENT)
    (component / "play" / "site.yaml").write_text(PLAYBOOK)
    return fleet.cluster.push(directory)


def processes(fleet: Fleet) -> list[str]:
    """Return the process ids of ansible-playbook on n1 that nobody forked from another one of them."""
    return fleet.lab.run("n1", "pgrep", "-o", "-f", "ansible-playbook -i").stdout.split()


def look(fleet: Fleet, asked: dict[str, Any]) -> Any:
    """Return a look at n1 that came to its end; on a machine that stands still, Ansible may need too long."""
    body = {"kind": "commission", **asked}
    path = "/v1/plans?dry_run=1"
    answer = fleet.cluster.on(fleet.cluster.leader(), "POST", path, body, timeout_s=PATIENCE_S)
    found = answer.body if answer.status == 200 else None
    return found if found and found["looks"] and not found["looks"][0]["error"] else None


if os.environ.get("CI") or shutil.which("ansible-playbook"):

    def test_a_playbook_goes_on_without_its_leader_and_the_next_one_hears_it_to_its_end(
        shared: Fleet, tmp_path: Path
    ) -> None:
        bundle = push(shared, tmp_path / "play")
        asked = {"nodes": ["n1"], "role": "app", "bundle": bundle}
        plan = shared.cluster.wait("a look", lambda: look(shared, asked), timeout_s=PATIENCE_S)
        (site,) = [step for step in plan["looks"][0]["steps"] if not step["proof"]]
        assert site["verdict"] == "would-change", site
        assert "+port=8081 on n1" in plan["diffs"][site["diff"]]
        assert shared.lab.run("n1", "cat", CONFIG).returncode != 0, "to look changes nothing"

        shared.lab.run("n1", "touch", SHUT, check=True)
        try:
            job = shared.cluster.submit("commission", **asked)
            begun(shared, job, "n1")
            playing = processes(shared)
            kill_leader(shared)
            assert (task(shared, job, "n1")["state"], done(shared, job, "n1")) == ("running", ["before 1"])
            assert processes(shared) == playing
        finally:
            shared.lab.run("n1", "rm", "-f", SHUT)
        ended = succeeds(shared, job)
        site, written = ended["tasks"][0]["results"]
        assert (site["attempt"], site["ending"], site["changed"]) == (1, "exited", True)
        assert "changed=3" in site["output_tail"]
        assert written["passed"]
        assert done(shared, job, "n1") == ["before 1", "after 1"]
        assert shared.lab.read("n1", CONFIG) == b"port=8081 on n1\n"
        assert (processes(shared), shared.lab.run("n1", "ls", "/var/lib/hamgr/playbooks").stdout) == ([], "")
        nothing_twice(shared, "n1")
