"""`playbook` steps with an ansible-playbook that notes what it was asked for, and changes what it should."""

import json

import pytest

from hamgr.bundles import RenderError, compile_preview
from statemachine.words import Verb

ANSIBLE = r"""#!/bin/sh
# Writes down its arguments, variables and files; prints a recap like the real one.
printf '%s\n' "$@" >"$EVIDENCE/arguments"
for word; do case $word in @*) cp "${word#@}" "$EVIDENCE/variables" ;; esac; done
{ umask; stat -c %a .; find . -type f ! -name '.hamgr*' | sort; } >"$EVIDENCE/files"
[ -f "$EVIDENCE/code" ] && read -r code <"$EVIDENCE/code" || code=0
read -r changed <"$EVIDENCE/changed"
echo "+++ after: $PWD/.local/ansible-local-12ab/tmp3c/x.j2"
echo 'TASK [say that changed=7 is no recap]'
echo
echo 'PLAY RECAP *********'
[ "$changed" = none ] || echo "n1                  : ok=2    changed=$changed    unreachable=0    failed=0"
exit "$code"
"""
PLAYBOOK = "- hosts: all\n  tasks: []\n"
FILES = {
    "play/site.yaml": PLAYBOOK,
    "play/roles/r/tasks/main.yaml": "[]\n",
    "play/run it.sh": "#!/bin/sh\n",
    "other.txt": "not for the playbook\n",
}
STEP = {"playbook": {"source": "play/site.yaml", "extra_vars": {"port": "{{ port + 1 }}", "list": [1, "a"]}}}


class Machine:
    """A host with the ansible of these tests, and what that noted."""

    def __init__(self, node, evidence):
        self.node, self.evidence = node, evidence
        evidence.mkdir()
        node.install("ansible-playbook", ANSIBLE)
        self.say(0)

    def say(self, changed, code=0):
        (self.evidence / "changed").write_text(f"{changed}\n")
        (self.evidence / "code").write_text(f"{code}\n")

    def run(self, script, **more):
        scratch = self.evidence.parent / "tmp"
        scratch.mkdir(exist_ok=True)
        done = self.node.run(script, HAMGR_ROOT="", EVIDENCE=str(self.evidence), TMPDIR=str(scratch), **more)
        assert not list(scratch.iterdir())
        assert not list((self.node.root / "var/lib/hamgr").glob("playbooks/*"))
        return done

    def last(self, script):
        done = self.run(script)
        return done.returncode, (done.stdout + done.stderr).strip().split("\n")[-1]

    def noted(self, name):
        return (self.evidence / name).read_text().splitlines()


@pytest.fixture
def machine(any_node, tmp_path):
    return Machine(any_node, tmp_path / "evidence")


@pytest.fixture
def previewed(bundle_with):
    def previewed(**bundle):
        return compile_preview(
            bundle_with(STEP, FILES, **bundle),
            "c",
            Verb.COMMISSION,
            "s",
            variables={"port": 80, "password": "s3cret!"},
            facts={"os": "Debian"},
            node_name="n1",
        )

    return previewed


def test_a_playbook_gets_its_files_and_variables_and_a_local_connection_to_its_node(machine, compiled):
    done = machine.run(compiled(STEP, FILES, port=80, password="s3cret!"))
    assert (done.returncode, done.stderr) == (0, "")
    arguments = machine.noted("arguments")
    assert arguments[:5] == ["-i", "n1,", "-c", "local", "-e"]
    assert arguments[6:] == ["play/site.yaml"]
    assert "s3cret" not in " ".join(arguments)
    assert json.loads("\n".join(machine.noted("variables"))) == {
        "hamgr_facts": {"os": "Debian"},
        "hamgr_node": "n1",
        "list": [1, "a"],
        "password": "s3cret!",
        "port": "81",
    }
    assert machine.noted("files") == [
        "0022",
        "700",
        "./play/roles/r/tasks/main.yaml",
        "./play/run it.sh",
        "./play/site.yaml",
    ]


def test_a_playbook_says_whether_a_task_changed_something(machine, compiled):
    script = compiled(STEP, FILES, port=80)
    assert machine.last(script) == (0, "hamgr: unchanged")
    machine.say(2)
    assert machine.last(script) == (0, "hamgr: changed")
    machine.say(2, code=2)
    assert machine.last(script) == (1, "hamgr: the playbook ended with exit status 2")
    machine.say("none")
    told = "hamgr: no play of play/site.yaml is for this node; write `hosts: all`"
    assert machine.last(script) == (1, told)


def test_to_verify_a_playbook_is_check_mode_without_a_change(machine, compiled):
    script = compiled(STEP, FILES, verb=Verb.VERIFY, written_as="verify", port=80)
    assert machine.last(script) == (0, "hamgr: unchanged")
    assert "--check" in machine.noted("arguments")
    machine.say(3)
    assert machine.last(script) == (1, "hamgr: 3 tasks of the playbook would change something")


def test_a_preview_is_check_mode_and_leaves_nothing_behind(machine, previewed):
    before = machine.node.tree()
    assert machine.last(previewed()) == (0, "hamgr: unchanged")
    assert machine.noted("arguments")[6:] == ["--check", "--diff", "play/site.yaml"]
    machine.say(1)
    assert machine.last(previewed()) == (0, "hamgr: would change")
    assert "+++ after: x.j2\n" in machine.run(previewed()).stdout
    machine.say(1, code=2)
    assert machine.last(previewed()) == (0, "hamgr: unknown")
    machine.say(1)
    assert machine.last(previewed(secrets=["password"])) == (0, "hamgr: would change")
    assert machine.noted("arguments")[6:] == ["--check", "play/site.yaml"]
    assert machine.node.tree() == before


def test_a_node_without_ansible_and_a_practice_node_say_so(machine, compiled):
    script = compiled(STEP, FILES, port=80)
    practice = machine.node.run(script)
    assert practice.stdout == "hamgr: practice node: playbook play/site.yaml is not run\nhamgr: unchanged\n"
    assert not (machine.evidence / "arguments").exists()
    (machine.node.root / "bin/ansible-playbook").unlink()
    done = machine.run(script.replace(b"command -v ansible-playbook", b"command -v no-such-program"))
    assert done.returncode == 1
    assert done.stderr.startswith("hamgr: there is no ansible-playbook on this node; install ansible-core")


def test_a_variable_of_a_playbook_that_is_not_there_is_an_error(compiled):
    with pytest.raises(RenderError) as caught:
        compiled(STEP, FILES)
    assert "'port' is undefined" in str(caught.value)
