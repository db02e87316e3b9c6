"""One compiled script of each kind, byte for byte.

Two leaders of different releases may compile the same step while replicas are upgraded one by one: a change
here is seen by the nodes as another script under the same name. Change a file in golden/ only on purpose.
"""

from pathlib import Path

import pytest

from statemachine.words import Verb

FILES = {
    "x.conf.j2": "port={{ port }}\n",
    "logo": b"\x89PNG\0\n",
    "m.sh": "#!/bin/sh -e\necho m\n",
    "c.sh": "true\n",
    "play/site.yaml": "- hosts: all\n",
}
WATCHED = {"name": "x", "state": "running", "restart_on": ["/etc/x.conf"]}
STEPS = {
    "file-template": {
        "file": {"path": "/etc/x.conf", "template": "x.conf.j2", "mode": "0640", "owner": "root"}
    },
    "file-binary": {"file": {"path": "/srv/it's {{ port }}", "source": "logo"}},
    "file-content": {"file": {"path": "/etc/motd", "content": "no newline"}},
    "file-absent": {"file": {"path": "/etc/x.conf", "state": "absent"}},
    "service-running": {"service": WATCHED},
    "service-stopped": {"service": {"name": "x", "state": "stopped"}},
    "script": {"script": {"source": "m.sh", "class": "checkable", "check": "c.sh"}},
    "package": {"package": {"names": ["curl", "g++"], "state": "latest"}},
    "package-version": {"package": {"name": "curl", "version": "7.88.1-10", "recommends": True}},
    "playbook": {"playbook": {"source": "play/site.yaml", "extra_vars": {"port": "{{ port }}"}}},
    "reboot": {"reboot": {}},
    "skipped": {"when": "port == 80", "file": {"path": "/etc/x", "content": "x"}},
    "check-command": {"check": {"command": ["test", "-e", "{{ name }}"], "within_s": 3}},
    "check-tcp": {"check": {"tcp": {"port": "{{ port }}"}}},
    "check-http": {
        "check": {"http": {"url": "http://127.0.0.1:{{ port }}/", "contains": "it's"}, "within_s": 10}
    },
    "check-file": {"check": {"file": {"path": "/etc/x.conf", "sha256": "0" * 64}}},
}
VERIFIED = ["file-template", "file-absent", "service-running", "service-stopped", "script"]


@pytest.mark.parametrize("name", [*STEPS, *(f"{name}.verify" for name in VERIFIED)])
def test_a_step_compiles_to_known_bytes(request, compiled, name):
    step, _, verb = name.partition(".")
    script = compiled(
        STEPS[step],
        FILES,
        verb=Verb(verb or "commission"),
        port=8080,
        name="a b; touch canary",
        extra={"k": [1, None]},
    )
    golden: Path = request.path.parent / "golden" / f"{name}.sh"
    assert script.decode() == golden.read_text()


def test_every_golden_file_is_used(request):
    names = {path.stem for path in (request.path.parent / "golden").iterdir()}
    assert names == {*STEPS, *(f"{name}.verify" for name in VERIFIED)}
