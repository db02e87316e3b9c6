"""What `hamgr job show` and `hamgr node show` say of the variables that a revert brings back."""

from statemachine.commands import RevertJob
from statemachine.words import JobKind
from tests.cli.conftest import Cli, Replicas
from tests.hamgr.api.rig import NOW
from tests.statemachine.fleet import Fleet, component, manifest


def test_a_revert_says_node_by_node_what_it_asks_for_again(live: Cli, replicas: Replicas) -> None:
    fleet = Fleet()
    fleet.at = NOW
    fleet.bundle(1, manifest(component("app")))
    fleet.discovered("n1", "n2")
    for node, port in (("n1", 81), ("n2", 82)):
        fleet.drive(fleet.submit(JobKind.COMMISSION, node, role="web", variables={"port": port}))
    fleet.bundle(2, manifest(component("app")))
    job = fleet.submit(JobKind.UPGRADE, "n1", "n2", variables={"port": 90}, max_parallel=2)
    fleet.drive(job)
    back = fleet.accept(RevertJob, job=job).ref
    replicas.on_loop(setattr, replicas.cluster, "state", fleet.state)
    shown = live("job", "show", back).out
    assert 'variables={"port": 81}' in shown, shown
    assert 'variables={"port": 82}' in shown, shown
    assert "port" not in live("job", "show", job).out.partition("tasks")[2]
    node = live("node", "show", "n1").out
    assert "port: 90" in node[node.index("last_request") :], node
