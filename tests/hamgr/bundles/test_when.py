"""`when`: a step that is not for every node, decided before anything is sent."""

import pytest
from jinja2.sandbox import SandboxedEnvironment

from hamgr.bundles import Form, RenderError, compile_step
from statemachine.words import Verb

FACTS = {"os": "Debian GNU/Linux 12", "cpus": 2, "systemd": True}


@pytest.fixture
def form_of(bundle_with):
    def form_of(when, *, kind=None, form=Form.APPLY, verb=Verb.COMMISSION, files=None, **variables):
        step = kind or {"file": {"path": "/etc/x", "content": "{{ only_where_it_is_wanted }}"}}
        bundle = bundle_with({**step, "when": when}, files)
        return compile_step(
            bundle, "c", verb, "s", form=form, variables=variables, facts=FACTS, node_name="n1"
        )

    return form_of


TRUE = [
    "facts.systemd",
    "not facts.os.startswith('Alpine')",
    "'Debian' in facts.os and facts.cpus >= 2",
    "port == 80",
    "node.name is in ['n1', 'n2']",
    "vars.tls is not defined",
    "(tls | default(true))",
]


@pytest.mark.parametrize("expression", TRUE)
def test_a_step_whose_condition_holds_is_done(any_node, form_of, expression):
    script = form_of(expression, port=80, only_where_it_is_wanted="x")
    assert any_node.run(script).stdout == "hamgr: changed\n"


def test_a_step_whose_condition_is_false_says_so_and_does_nothing_in_any_form(any_node, form_of):
    when = "facts.os == 'it''s $(touch canary) %s'"
    told = f"skipped: when {when} is false\nhamgr: unchanged\n"
    checkable = {"script": {"content": "exit 1", "class": "checkable", "check": "c.sh"}}
    for script in (
        form_of(when),
        form_of(when, verb=Verb.VERIFY),
        form_of(when, form=Form.PREVIEW),
        form_of(when, kind={"script": {"content": "exit 1"}}),
        form_of(when, kind=checkable, form=Form.CHECK, files={"c.sh": "exit 1\n"}),
        form_of(when, kind={"reboot": {}}),
    ):
        done = any_node.run(script)
        assert (done.returncode, done.stdout, done.stderr) == (0, told, "")
    assert any_node.tree() == {}


FAULTS = {
    "undefined": ("prot == 80", "`when`: 'prot' is undefined"),
    "undefined-alone": ("prot", "`when`: 'prot' is undefined"),
    "undefined-fact": ("facts.oss == 'x'", "`when`: 'dict object' has no attribute 'oss'"),
    "text": ("'false'", "`when`: is neither true nor false but a text; compare it, as in `facts.cpus > 1`"),
    "number": ("facts.cpus", "`when`: is neither true nor false but a number"),
    "null": ("none", "`when`: is neither true nor false but something else"),
    "python": ("''.__class__", "access to attribute '__class__' of 'str' object is unsafe"),
    "type": ("facts.cpus > 'a'", "`when`: '>' not supported between"),
    "huge": ("9 ** 9999 > 1", "`**` would make a value that is too large"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_condition_that_cannot_be_decided_is_an_error_with_its_place(form_of, name):
    expression, expected = FAULTS[name]
    with pytest.raises(RenderError) as caught:
        form_of(expression)
    assert str(caught.value).startswith("components/c/component.yaml:1: ")
    assert expected in str(caught.value)


def test_the_line_of_a_condition_is_its_own(tar_of, sound):
    from hamgr.bundles import load  # noqa: PLC0415 - one test looks at YAML as it is written by hand

    sound["components/web/component.yaml"] = (
        "version: '1'\ncommission:\n  - name: s\n    file:\n      path: /x\n      content: x\n"
        "    when: prot\n"
    )
    with pytest.raises(RenderError) as caught:
        compile_step(load(tar_of(sound)), "web", Verb.COMMISSION, "s", variables={}, facts={}, node_name="n")
    assert str(caught.value) == "components/web/component.yaml:7: `when`: 'prot' is undefined"


def test_a_condition_is_compiled_once_for_all_nodes_and_decided_for_each(bundle_with, monkeypatch):
    compiled = []
    compile_expression = SandboxedEnvironment.compile_expression

    def counted(self, source, **options):
        compiled.append(source)
        return compile_expression(self, source, **options)

    monkeypatch.setattr(SandboxedEnvironment, "compile_expression", counted)
    bundle = bundle_with({"script": {"content": "true"}, "when": "facts.cpus > 2"})
    compiled.clear()
    scripts = [
        compile_step(
            bundle, "c", Verb.COMMISSION, "s", variables={}, facts={"cpus": cpus}, node_name=f"n{cpus}"
        )
        for cpus in range(5)
    ]
    assert [b"skipped: when" in script for script in scripts] == [True, True, True, False, False]
    assert compiled == ["facts.cpus > 2"]
