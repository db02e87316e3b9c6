"""The example bundle that people read first, from the first page to the last file removed.

Its services run under the `systemctl` of the practice nodes.
"""

import os
import shutil
import socket
import urllib.request
from pathlib import Path

import pytest

import backends
from hamgr.bundles import compile_check, load
from hamgr.bundles.render import Compiler
from statemachine.words import StepClass, Verb

EXAMPLE = Path(__file__).parents[3] / "deploy/examples/web"
SYSTEMCTL = Path(backends.__file__).parent / "ssh/sandbox/systemctl.sh"
FACTS = {"os": "Debian <12>", "kernel": "6.1", "cpus": 2}


def archive(tar_of, change=lambda text: text):
    files = {
        str(path.relative_to(EXAMPLE)): change(path.read_text())
        for path in sorted(EXAMPLE.rglob("*"))
        if path.is_file()
    }
    return tar_of(files)


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def web(node, port, tar_of):
    shutil.copy(SYSTEMCTL, node.root.parent / "systemctl")
    node.install("systemctl", (node.root.parent / "systemctl").read_text())
    web = Web(node, port, load(archive(tar_of)))
    yield web
    node.run(b"systemctl stop hamgr-web\n", PATH=web.path)


class Web:
    """One node of the role `web`."""

    def __init__(self, node, port, bundle):
        self.node, self.port, self.bundle = node, port, bundle
        # What a login gives: the machine's own programs, not those of the test's environment.
        self.path = f"{node.root}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        if shutil.which("python3", path=self.path) is None:
            self.path += f":{os.environ['PATH']}"

    def run(self, verb, only=None, **variables):
        """Run a verb, or one step of it, and return what each step printed last."""
        manifest, compiler = self.bundle.manifest, Compiler(self.bundle)
        values = {**manifest.variables, **manifest.roles["web"].variables, "port": self.port, **variables}
        printed, notified = {}, set()
        for step in manifest.components["web"].verbs[verb]:
            if only not in {None, step.name} or (step.handler and step.name not in notified):
                continue
            script = compiler.script(
                "web", verb, step.name, variables=values, facts=FACTS, node_name="web-01"
            )
            done = self.node.run(script, PATH=self.path, HAMGR_STEP=f"web-{step.name}")
            last = (done.stderr + done.stdout).rstrip().split("\n")[-1]
            notified.update(() if last == "hamgr: unchanged" else step.notify)
            printed[step.name] = last.removeprefix("hamgr: ") if done.returncode == 0 else f"FAILED {last}"
        return printed

    def page(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as answer:
            return answer.read().decode()


def test_the_example_has_the_roles_and_steps_that_its_readme_describes(tar_of):
    manifest = load(archive(tar_of)).manifest
    assert {name: [need.role for need in role.requires] for name, role in manifest.roles.items()} == {
        "web": [],
        "gateway": ["web"],
    }
    verbs = manifest.components["web"].verbs
    names = [step.name for step in verbs[Verb.COMMISSION] if not step.handler]
    assert names == ["python", "program", "page", "unit", "note", "service"]
    assert [step.name for step in verbs[Verb.COMMISSION] if step.handler] == ["checksum"]
    assert verbs[Verb.UPGRADE] == verbs[Verb.COMMISSION]
    assert all(step.check for step in verbs[Verb.VERIFY])
    assert {step.step_class for step in verbs[Verb.COMMISSION]} == {StepClass.IDEMPOTENT, StepClass.CHECKABLE}
    assert manifest.components["web"].version == "1.0"


def test_the_example_runs_from_commission_to_cleanup_on_a_practice_node(web):
    assert web.run(Verb.COMMISSION) == {
        "python": "changed",
        "program": "changed",
        "page": "changed",
        "unit": "changed",
        "note": "",
        "service": "changed",
        "checksum": "",
    }
    page_sum = web.node.root / "srv/hamgr-web/index.html.sha256"
    first_sum = page_sum.read_text()
    assert first_sum.endswith("  index.html\n")
    assert web.run(Verb.VERIFY) == {"page": "unchanged", "service": "unchanged", "answers": "unchanged"}
    page = web.page()
    assert "<h1>A web node: web-01</h1>" in page
    assert "<dt>os</dt><dd>Debian &lt;12&gt;</dd>" in page
    assert (web.node.root / "var/log/hamgr-effects.log").read_text() == "j1 web-note 1\n"

    # Another page needs no restart; another program or port does.
    changed = web.run(Verb.UPGRADE, greeting="Version two")
    assert (changed["page"], changed["unit"], changed["service"]) == ("changed", "unchanged", "unchanged")
    assert "<p>Version two</p>" in web.page()
    assert page_sum.read_text() != first_sum
    assert "checksum" not in web.run(Verb.UPGRADE, greeting="Version two")
    failed = web.run(Verb.VERIFY, only="page")
    assert failed == {"page": "FAILED hamgr: /srv/hamgr-web/index.html has other content"}

    assert web.run(Verb.CLEANUP) == {
        "service": "changed",
        "unit": "changed",
        "page": "changed",
        "sum": "changed",
        "program": "changed",
        "tidy": "",
    }
    left = {name for name in web.node.tree() if not name.startswith(("bin/", "run/", "var/lib/"))}
    assert left == {"var/log/hamgr-effects.log", "var/log/hamgr-web.log"}
    assert set(web.run(Verb.CLEANUP).values()) == {"unchanged", ""}


def test_another_port_restarts_the_service(web, port):
    web.run(Verb.COMMISSION)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        web.port = free.getsockname()[1]
    changed = web.run(Verb.UPGRADE)
    assert (changed["unit"], changed["service"]) == ("changed", "changed")
    assert web.run(Verb.VERIFY)["answers"] == "unchanged"


def test_the_check_of_the_note_knows_the_step_that_it_is_asked_about(web):
    check = compile_check(
        web.bundle, "web", Verb.COMMISSION, "note", variables={}, facts={}, node_name="web-01"
    )

    def asked(**names):
        return web.node.run(check, PATH=web.path, **names).returncode

    assert asked(HAMGR_STEP="web-note.check") == 1
    web.run(Verb.COMMISSION)
    assert asked(HAMGR_STEP="web-note.check") == 0
    assert asked(HAMGR_STEP="web-note.check", HAMGR_JOB="j2") == 1
