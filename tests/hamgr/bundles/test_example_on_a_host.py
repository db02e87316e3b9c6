"""The example bundle on a host of the lab, as root and under systemd itself."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hamgr.bundles import load
from hamgr.bundles.render import Compiler
from statemachine.words import Verb
from tests.lab.kit import Lab
from tests.lab.kit.slots import claimed_lab

EXAMPLE = Path(__file__).parents[3] / "deploy/examples/web"
NAMES = ("env", "HAMGR_JOB=j1", "HAMGR_ATTEMPT=1")

pytestmark = pytest.mark.lab


@pytest.fixture
def host() -> Iterator[Lab]:
    with claimed_lab() as lab:
        lab.up(1)
        yield lab


def test_the_example_runs_from_commission_to_cleanup_under_systemd(host: Lab) -> None:
    packed = subprocess.run(["tar", "-C", EXAMPLE, "-c", "."], check=True, capture_output=True).stdout
    bundle = load(packed)
    compiler = Compiler(bundle)

    def run(verb: Verb, **variables: str | int) -> dict[str, str]:
        values = {**bundle.manifest.variables, **bundle.manifest.roles["web"].variables, **variables}
        printed = {}
        for step in bundle.manifest.components["web"].verbs[verb]:
            script = compiler.script(
                "web", verb, step.name, variables=values, facts={"os": "of a lab"}, node_name="n1"
            ).decode()
            done = host.run("n1", *NAMES, f"HAMGR_STEP=web-{step.name}", "sh", "-c", script)
            assert done.returncode == 0, done
            printed[step.name] = done.stdout.strip().rpartition("hamgr: ")[2]
        return printed

    first = run(Verb.COMMISSION)
    assert [first[name] for name in ("program", "page", "unit", "service")] == ["changed"] * 4
    assert set(run(Verb.VERIFY).values()) == {"unchanged"}
    assert host.run("n1", "systemctl", "is-enabled", "hamgr-web").stdout == "enabled\n"
    again = run(Verb.UPGRADE)
    assert [again[name] for name in ("program", "page", "unit", "service")] == ["unchanged"] * 4
    assert run(Verb.UPGRADE, port=8100)["service"] == "changed"
    assert set(run(Verb.VERIFY, port=8100).values()) == {"unchanged"}
    assert host.run("n1", "systemctl", "show", "-p", "NeedDaemonReload", "hamgr-web").stdout.endswith("=no\n")
    assert run(Verb.CLEANUP)["service"] == "changed"
    assert host.run("n1", "systemctl", "is-active", "hamgr-web").stdout == "inactive\n"
    assert host.run("n1", "sh", "-c", "find /etc /srv /usr/local /var/lib -name 'hamgr-web*'").stdout == ""
