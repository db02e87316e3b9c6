"""Compiling: templates, what they may see, errors with positions, and bytes that never differ."""

import os
import subprocess
import sys

import pytest

from hamgr.bundles import RenderError, compile_check, compile_step
from hamgr.bundles.render import Compiler
from statemachine.words import Verb

TEMPLATED = {"file": {"path": "/x", "template": "x.j2"}}


def content_of(script):
    """The here-document of a `file` step's script."""
    lines = script.decode().split("\n")
    start = next(number for number, line in enumerate(lines) if '>"$new" <<\'END_' in line)
    word = lines[start].split("'")[1]
    return "\n".join(lines[start + 1 : lines.index(word)])


def error_of(call, *arguments, **more):
    with pytest.raises(RenderError) as caught:
        call(*arguments, **more)
    return str(caught.value)


def test_a_template_sees_variables_facts_node_and_component(compiled):
    text = "{{ port }} {{ vars.port }} {{ facts.os }} {{ node.name }} {{ node.facts.os }} "
    text += "{{ component.version }}\n"
    assert content_of(compiled(TEMPLATED, {"x.j2": text}, port=80)) == "80 80 Debian n1 Debian 1"


def test_values_print_as_a_configuration_file_means_them(compiled):
    text = "{{ yes }} {{ text }} {{ items | join(',') }} {{ nested | tojson }} {{ text | quote }}\n"
    script = compiled(
        TEMPLATED, {"x.j2": text}, yes=True, text="a'b", items=[1, "x"], nested={"b": 1, "a": [None]}
    )
    assert content_of(script) == """true a'b 1,x {"a": [null], "b": 1} 'a'"'"'b'"""


WRONG = {
    "undefined": ("a\n\n{{ prot }}", "components/c/x.j2:3: 'prot' is undefined"),
    "undefined-inside": ("{{ d.x.y }}", "components/c/x.j2:1: 'dict object' has no attribute 'x'"),
    "undefined-in-condition": ("a\n{% if prot %}{% endif %}", "components/c/x.j2:2: 'prot' is undefined"),
    "null": ("{{ n }}", "components/c/x.j2:1: a value is null; give it a value"),
    "list": ("x\n{{ l }}", "components/c/x.j2:2: a list or mapping cannot be printed; use"),
    "mapping": ("{{ d }}", "components/c/x.j2:1: a list or mapping cannot be printed"),
    "type": ("a\n{{ 1 + 'a' }}", "components/c/x.j2:2: unsupported operand"),
    "zero": ("{{ 1 / 0 }}", "components/c/x.j2:1: division by zero"),
    "python": ("{{ ''.__class__.__mro__ }}", "access to attribute '__class__' of 'str' object is unsafe"),
    "method": ("{{ 'a'.upper ~ '' }}", "prints an object instead of a value"),
    "endless": ("{% for a in range(99999999) %}x{% endfor %}", "Range too big"),
    "large": ("{% for a in range(90000) %}{{ 'x' * 100 }}{% endfor %}", "renders to more than 1048576 bytes"),
    "huge-text": ("{{ ('x' * 1000000) * 1000000 }}", "`*` would make a value that is too large"),
    "huge-number": ("{{ 9 ** 9999 }}", "`**` would make a value that is too large"),
    "huge-format": ("{{ '%999999999d' % 1 }}", "`%` on a text is not allowed"),
    "itself": ("{% include 'x.j2' %}", "components/c/x.j2:1: "),
    "other-file": ("{% include name %}", "components/c/x.j2:1: there is no file `../../hamgr.yaml`"),
    "nul": ("{{ nul }}", None),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_template_that_cannot_be_rendered_says_where_and_why(compiled, name):
    text, expected = WRONG[name]
    variables = {"d": {}, "n": None, "l": [1], "name": "../../hamgr.yaml", "nul": "a\0b"}
    if expected is None:
        # Content may have a NUL: it is sent as base64 then. Nothing else may.
        assert b"base64 -d" in compiled(TEMPLATED, {"x.j2": text}, **variables)
        return
    assert expected in error_of(compiled, TEMPLATED, {"x.j2": text}, **variables)


def test_an_error_in_an_included_template_is_reported_there(compiled):
    files = {"x.j2": "{% include 'y.j2' %}", "y.j2": "a\n{{ gone }}"}
    assert error_of(compiled, TEMPLATED, files) == "components/c/y.j2:2: 'gone' is undefined"


def test_an_error_in_component_yaml_has_the_line_of_the_value(tar_of, sound):
    from hamgr.bundles import load  # noqa: PLC0415 - one test looks at YAML as it is written by hand

    sound["components/web/component.yaml"] = (
        "version: '1'\ncommission:\n  - name: s\n    file:\n      path: '{{ where }}'\n"
        "      content: |\n        one\n        {{ two }}\n"
    )
    bundle = load(tar_of(sound))
    arguments = (bundle, "web", Verb.COMMISSION, "s")
    more = {"facts": {}, "node_name": "n"}
    assert error_of(compile_step, *arguments, variables={}, **more) == (
        "components/web/component.yaml:5: 'where' is undefined"
    )
    assert error_of(compile_step, *arguments, variables={"where": "/x"}, **more) == (
        "components/web/component.yaml:8: 'two' is undefined"
    )
    assert error_of(compile_step, *arguments, variables={"where": "/x/../y", "two": 2}, **more) == (
        "components/web/component.yaml:5: `path` has `//`, `.` or `..` in it, or ends with `/`; "
        "it is '/x/../y'"
    )


RENDERED = {
    "path": ({"file": {"path": "{{ v }}", "content": ""}}, "etc", "`path` must be an absolute path"),
    "path-newline": ({"file": {"path": "/{{ v }}", "content": ""}}, "a\nb", "`path` has a control character"),
    "owner": ({"file": {"path": "/x", "content": "", "owner": "{{ v }}"}}, "-R", "`owner` must be the name"),
    "service": (
        {"service": {"name": "{{ v }}", "state": "running"}},
        "--now",
        "`name` must be the name of a service",
    ),
    "port": ({"check": {"tcp": {"port": "{{ v }}"}}}, "80; rm", "`port` must be a port"),
    "host": ({"check": {"tcp": {"port": 80, "host": "{{ v }}"}}}, "-x", "`host` must be a host name"),
    "url": ({"check": {"http": {"url": "{{ v }}"}}}, "file:///x", "`url` must begin with http://"),
    "program": (
        {"check": {"command": ["{{ v }}"]}},
        "A=b",
        "`command` must be the name or path of a program",
    ),
    "argument": ({"check": {"command": ["true", "{{ v }}"]}}, "a\0", "`command` has a NUL character"),
    "variable": ({"script": {"content": "x"}}, "a\0", "variable HAMGR_VAR_v has a NUL character"),
    "half-a-character": ({"script": {"content": "x"}}, "\ud800", "a value cannot be sent"),
    "large-variable": (
        {"script": {"content": "x"}},
        "x" * 100_001,
        "variable HAMGR_VAR_v has more than 100000 bytes",
    ),
}


@pytest.mark.parametrize("name", RENDERED)
def test_a_value_that_does_not_fit_is_refused_before_anything_is_sent(compiled, name):
    step, value, expected = RENDERED[name]
    found = error_of(compiled, step, v=value)
    assert found.startswith("components/c/component.yaml:1: ")
    assert expected in found


def test_a_step_that_does_not_exist_is_named(bundle_with):
    bundle = bundle_with({"script": {"content": "x"}})
    more = {"variables": {}, "facts": {}, "node_name": "n"}
    assert "there is no step `t` for commission in component `c`" in error_of(
        compile_step, bundle, "c", Verb.COMMISSION, "t", **more
    )
    assert "there is no step `s` for verify" in error_of(compile_step, bundle, "c", Verb.VERIFY, "s", **more)
    assert "step `s` is not checkable and has no check" in error_of(
        compile_check, bundle, "c", Verb.COMMISSION, "s", **more
    )
    other = bundle_with({"check": {"command": ["true"]}})
    assert "is not checkable and has no check" in error_of(
        compile_check, other, "c", Verb.COMMISSION, "s", **more
    )


def test_equal_input_gives_equal_bytes_whatever_the_order_of_its_keys(bundle_with):
    step = {"file": {"path": "/x", "content": "{% for k in m %}{{ k }}={{ m[k] }}\n{% endfor %}"}}
    scripts = set()
    for mapping in ({"b": 1, "a": 2}, {"a": 2, "b": 1}):
        compiler = Compiler(bundle_with(step))
        for _ in range(2):
            scripts.add(
                compiler.script(
                    "c", Verb.COMMISSION, "s", variables={"m": mapping, "z": 1}, facts={}, node_name="n"
                )
            )
    assert len(scripts) == 1
    assert content_of(scripts.pop()) == "a=2\nb=1"


DETERMINED = """
import sys
sys.path.insert(0, sys.argv[1])
from conftest import compiled
text = "{% for k in m | unique %}{{ k }}{% endfor %}{{ m | sort | join }}"
step = {"file": {"path": "/x", "content": text}}
print(compiled(step, m=["b", "a", "b", "c"], n={"x": 1, "y": 2}))
print(compiled({"script": {"content": "x"}}, m=["b", "a"], n={"x": 1, "y": {"q": 1, "p": 2}}))
"""


def test_two_processes_with_other_hash_seeds_compile_the_same_bytes(request):
    found = {
        subprocess.run(
            [sys.executable, "-c", DETERMINED, str(request.path.parent)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1
    assert b"export HAMGR_VAR_n=" in found.pop()
