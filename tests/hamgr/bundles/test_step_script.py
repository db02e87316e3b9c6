"""`script` steps: how they are run, what they find, and what of them stays on the node."""

import json

import pytest

from hamgr.bundles import compile_check
from statemachine.words import Verb


def test_a_script_runs_and_its_exit_status_is_the_steps(any_node, compiled):
    done = any_node.run(compiled({"script": {"content": "echo out\necho err >&2\nexit 7\n"}}))
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert any_node.tree() == {}


def test_the_interpreter_is_the_one_of_its_first_line(node, compiled):
    python = "#!/usr/bin/env python3\nimport sys\nprint(sys.argv[0].rpartition('/')[2].partition('.')[0])\n"
    assert node.run(compiled({"script": {"source": "x"}}, {"x": python})).stdout == "c-commission-s\n"
    shown = compiled({"script": {"content": "#! /usr/bin/perl  -w -T \nx"}}).decode()
    assert "\n/usr/bin/perl '-w -T' \"$body\" </dev/null\n" in shown
    assert '\nsh "$body" </dev/null\n' in compiled({"script": {"content": "#!\nx"}}).decode()


def test_a_script_finds_the_variables_of_the_node_in_its_environment(any_node, compiled):
    content = (
        'printf "%s|" "$HAMGR_NODE" "$HAMGR_COMPONENT" "$HAMGR_VERB" "$HAMGR_VAR_text" "$HAMGR_VAR_yes" '
    )
    content += '"$HAMGR_VAR_number" "$HAMGR_VAR_list" "${HAMGR_VAR_null-unset}"\n'
    text = 'it\'s $(touch canary)\n"two" lines'
    done = any_node.run(
        compiled({"script": {"content": content}}, text=text, yes=True, number=1.5, list=["ä", {}], null=None)
    )
    assert done.stdout == f'n1|c|commission|{text}|true|1.5|["ä", {{}}]|unset|'
    assert any_node.tree() == {}


def test_a_script_is_rendered_only_where_the_step_says_so(node, compiled):
    content = "echo '{{ v }}' ${#HAMGR_NODE}\n"
    assert node.run(compiled({"script": {"content": content}}, v="x")).stdout == "{{ v }} 2\n"
    rendered = {"script": {"content": "echo {{ v | quote }}\n", "template": True}}
    assert node.run(compiled(rendered, v="a'; touch canary #")).stdout == "a'; touch canary #\n"
    source = {"script": {"source": "x.sh", "template": True}}
    assert node.run(compiled(source, {"x.sh": "echo {{ node.name }}\n"})).stdout == "n1\n"


def test_a_script_reads_nothing_and_writes_files_that_others_can_read(node, compiled):
    done = node.run(compiled({"script": {"content": "cat\n: >f\n"}}))
    assert (done.returncode, done.stdout) == (0, "")
    assert node.tree() == {"f": (0o644, b"")}


def test_what_a_killed_attempt_left_is_removed_by_the_next(node, compiled):
    box = node.root / "var/lib/hamgr/scripts"
    box.mkdir(parents=True)
    (box / "c-commission-s.123").write_text("old")
    assert node.run(compiled({"script": {"content": "exit 0"}})).returncode == 0
    assert node.tree() == {}


def test_nobody_else_can_read_a_script_while_it_runs(node, compiled):
    done = node.run(compiled({"script": {"content": 'stat -c "%a" "$0" "${0%/*}"\n'}}))
    assert done.stdout == "600\n700\n"


@pytest.fixture
def checkable():
    step = {"script": {"content": "echo work >>log\n", "class": "checkable", "check": "check.sh"}}
    return step, {"check.sh": "#!/bin/sh\n[ -f log ]\n"}


def test_the_check_of_a_checkable_script_says_whether_its_work_is_done(
    node, compiled, bundle_with, checkable
):
    step, files = checkable
    check = compile_check(
        bundle_with(step, files), "c", Verb.COMMISSION, "s", variables={}, facts={}, node_name="n1"
    )
    assert node.run(check).returncode == 1
    assert node.tree() == {}
    assert node.run(compiled(step, files)).returncode == 0
    assert node.run(check).returncode == 0
    assert node.tree() == {"log": (0o644, b"work\n")}


def test_verify_of_a_checkable_script_runs_its_check_alone(node, compiled, checkable):
    step, files = checkable
    assert node.run(compiled(step, files, verb=Verb.VERIFY)).returncode == 1
    assert node.tree() == {}


def test_a_script_in_a_verify_verb_is_run_itself(node, compiled):
    step = {"script": {"content": "exit 3\n"}}
    assert node.run(compiled(step, verb=Verb.VERIFY, written_as="verify")).returncode == 3


def test_variables_reach_a_script_as_json_where_they_are_not_plain(node, compiled):
    value = {"b": [1, None, {"c": "ü\n"}], "a": 'q"'}
    done = node.run(compiled({"script": {"content": 'printf %s "$HAMGR_VAR_v"'}}, v=value))
    assert json.loads(done.stdout) == value
