"""Conditions, handlers and restarts of real nodes, and a leader that dies while one is down."""

from pathlib import Path

from tests.cluster.bundle import EFFECT
from tests.cluster.conftest import Fleet
from tests.lab.kit.processes import LabError
from tests.lab.observe import boot_id

COMPONENT = """\
version: "3.0"
commission:
  - name: config
    file: {path: /etc/app.conf, content: "port={{ port }}\\n"}
    notify: [again, restart]
  - name: elsewhere
    script: {content: "exit 1"}
    when: facts.os == "another system"
verify:
  - name: config
    file: {path: /etc/app.conf, content: "port={{ port }}\\n"}
handlers:
  - name: again
    script: {source: effect.sh}
  - name: restart
    reboot: {}
    timeout_s: 120
"""


def push(fleet: Fleet, directory: Path) -> str:
    component = directory / "components" / "app"
    component.mkdir(parents=True)
    (directory / "hamgr.yaml").write_text(
        "version: 1\nvariables: {port: 8080}\nroles: {app: {components: [app]}}\n"
    )
    (component / "component.yaml").write_text(COMPONENT)
    (component / "effect.sh").write_text(EFFECT)
    return fleet.cluster.push(directory)


def launched(fleet: Fleet, job: str) -> list[str]:
    """Return the steps that a job launched on n1, without their place."""
    lines = (line.split() for line in fleet.launches("n1"))
    return [step.split(".", 2)[2] for _, name, step, _ in lines if name.endswith(f"-{job}")]


def test_a_machine_that_restarts_while_the_leader_dies_is_restarted_once_and_its_job_goes_on(
    fleet: Fleet, tmp_path: Path
) -> None:
    bundle = push(fleet, tmp_path / "three")
    before = boot_id(fleet.lab, "n1")
    job = fleet.cluster.submit("commission", nodes=["n1"], role="app", bundle=bundle)
    fleet.lab.wait("n1 to go down", lambda: not fleet.lab.running("n1") or _reboots(fleet, job))
    leader = fleet.cluster.wait("a leader", fleet.cluster.leader)
    fleet.cluster.processes.kill_replica(leader)
    ended = fleet.cluster.ended(job)
    assert ended["state"] == "succeeded", ended
    assert boot_id(fleet.lab, "n1") != before
    assert launched(fleet, job) == [
        "app.config",
        "app.elsewhere",
        "app.again",
        "app.restart",
        "app.restart.check",
        "app.config",
    ]
    assert [line.split()[1].rpartition(".")[2] for line in fleet.effects("n1")] == ["again"]

    # Nothing changes now, so nobody is notified.
    booted = boot_id(fleet.lab, "n1")
    job = fleet.cluster.submit("upgrade", nodes=["n1"], bundle=bundle)
    assert fleet.cluster.ended(job)["state"] == "succeeded"
    assert launched(fleet, job) == ["app.config", "app.elsewhere", "app.config"]
    assert boot_id(fleet.lab, "n1") == booted


def _reboots(fleet: Fleet, job: str) -> bool:
    try:
        return "app.restart" in launched(fleet, job)
    except LabError:  # it went down under the question
        return True
