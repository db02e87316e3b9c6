"""Loading: the manifest that comes out, and every problem with its position when it does not."""

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hamgr.bundles import BundleInvalid, load
from statemachine.manifest import ComponentSpec, Manifest, Requirement, RoleSpec, StepSpec
from statemachine.words import StepClass, Verb


def test_a_sound_bundle_becomes_its_manifest(tar_of, sound):
    config = StepSpec(name="config", timeout_s=60.0, retries=2)
    migrate = StepSpec(name="migrate", step_class=StepClass.CHECKABLE)
    warm = StepSpec(name="warm", step_class=StepClass.ONCE)
    service = StepSpec(name="service", retry_delay_s=2.5)
    commission = (config, migrate, warm, service)
    assert load(tar_of(sound)).manifest == Manifest(
        variables={"greeting": "hello"},
        roles={
            "db": RoleSpec(name="db", components=("store",)),
            "web": RoleSpec(
                name="web",
                components=("store", "web"),
                variables={"port": 8080},
                requires=(Requirement(role="db", minimum=2),),
            ),
        },
        components={
            "store": ComponentSpec(name="store", version="1.0", verbs=dict.fromkeys(list(Verb)[:4], ())),
            "web": ComponentSpec(
                name="web",
                version="1.1",
                verbs={
                    Verb.COMMISSION: commission,
                    Verb.UPGRADE: commission,
                    Verb.VERIFY: (
                        StepSpec(name="config", timeout_s=60.0, retries=2, check=True),
                        StepSpec(name="migrate", check=True),
                        StepSpec(name="service", retry_delay_s=2.5, check=True),
                    ),
                    Verb.CLEANUP: (StepSpec(name="config"),),
                },
            ),
        },
    )


def test_the_packed_bytes_load_as_the_same_bundle(tar_of, sound):
    bundle = load(tar_of(sound))
    again = load(bundle.packed)
    assert (again.digest, again.manifest, again.packed) == (bundle.digest, bundle.manifest, bundle.packed)


def test_an_empty_verb_is_not_one_that_was_left_out(tar_of, sound):
    sound["components/web/component.yaml"] += "upgrade: []\nverify: []\n"
    bundle = load(tar_of(sound))
    verbs = bundle.manifest.components["web"].verbs
    assert verbs[Verb.UPGRADE] == verbs[Verb.VERIFY] == ()


def test_every_problem_of_every_file_is_told_at_once_in_order(problems_of, sound):
    found = problems_of(
        hamgr=sound["hamgr.yaml"]
        .replace("components: [store]", "components: [stor]")
        .replace("role: db", "role: dbb"),
        web=sound["components/web/component.yaml"]
        .replace("retry_delay_s", "retry_delay")
        .replace("class: once", "class: 1"),
        conf="a\n{{ port }\n",
    )
    assert found == [
        "components/web/component.yaml:10:42: `class` must be 'idempotent', 'checkable' or 'once'",
        "components/web/component.yaml:13:5: unknown key `retry_delay` (did you mean `retry_delay_s`?)",
        "components/web/web.conf.j2:2:1: template: unexpected '}'",
        "hamgr.yaml:5:18: there is no component `stor` (did you mean `store`?)",
        "hamgr.yaml:8:23: there is no role `dbb` (did you mean `db`?)",
    ]


ROOT = {
    "no-version": ("roles: {}\n", "hamgr.yaml:1:1: `version` is missing"),
    "other-version": ("version: 2\nroles: {}\n", "hamgr.yaml:1:10: `version` must be 1"),
    "not-a-mapping": (
        "- 1\n",
        "hamgr.yaml:1:1: `hamgr.yaml` must be a mapping of keys to values, not a list",
    ),
    "empty": ("", "hamgr.yaml:1:1: `hamgr.yaml` must be a mapping of keys to values, not nothing"),
    "unknown": (
        "version: 1\nroles: {}\nrole: {}\n",
        "hamgr.yaml:3:1: unknown key `role` (did you mean `roles`?)",
    ),
    "role-name": ("version: 1\nroles:\n  Web: {}\n", "hamgr.yaml:3:3: `Web` is no name for a role"),
    "role-null": (
        "version: 1\nroles:\n  web:\n",
        "hamgr.yaml:3:7: `web` must be a mapping of keys to values",
    ),
    "twice": (
        "version: 1\nroles:\n  a: {components: [web, web]}\n",
        "hamgr.yaml:3:25: component `web` is in this",
    ),
    "variable": (
        "version: 1\nroles: {}\nvariables: {a-b: 1}\n",
        "hamgr.yaml:3:13: `a-b` is no name for a variable",
    ),
    "reserved": ("version: 1\nroles: {}\nvariables: {facts: 1}\n", "hamgr.yaml:3:13: `facts` has a meaning"),
    "min": (
        "version: 1\nroles:\n  a: {requires: [{role: b, min: 0}]}\n  b: {}\n",
        "hamgr.yaml:3:33: `min`: ",
    ),
    "required-twice": (
        "version: 1\nroles:\n  a:\n    requires:\n      - {role: b}\n      - {role: b}\n  b: {}\n",
        "hamgr.yaml:6:16: role `b` is required twice",
    ),
    "itself": (
        "version: 1\nroles:\n  a: {requires: [{role: a}]}\n",
        "hamgr.yaml:3:7: roles require each other in a circle: a -> a (one of them",
    ),
    "circle": (
        "version: 1\nroles:\n  a: {requires: [{role: b}]}\n  b: {requires: [{role: c}]}\n"
        "  c: {requires: [{role: d}, {role: b}]}\n  d: {}\n",
        "hamgr.yaml:5:7: roles require each other in a circle: b -> c -> b",
    ),
}


@pytest.mark.parametrize("name", ROOT)
def test_a_wrong_hamgr_yaml_is_refused_where_it_is_wrong(problems_of, name):
    text, expected = ROOT[name]
    found = problems_of(hamgr=text)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_a_once_script_has_no_place_in_verify(problems_of, web):
    found = problems_of(web=web("- name: s\n  script: {content: x, class: once}", verb="verify"))
    assert found == [
        "components/web/component.yaml:5:33: a script in verify only looks, so that it can always be "
        "run again (leave `class` out)"
    ]


def test_templates_are_checked_where_they_are_written(problems_of):
    assert problems_of(conf="a\n{{ port }\nb\n") == [
        "components/web/web.conf.j2:2:1: template: unexpected '}'"
    ]
    assert problems_of(conf="a\n{% include 'no.j2' %}\n") == [
        "components/web/web.conf.j2:2:1: there is no file `no.j2` in components/web"
    ]
    assert problems_of(conf=b"\xff") == [
        "components/web/web.conf.j2:1:1: is a template and not UTF-8 text (use `source` for it)"
    ]


def test_a_template_that_takes_long_to_compile_or_cannot_be_is_refused(problems_of):
    assert problems_of(conf="{{ a }}\n" * 20_000) == [
        "components/web/web.conf.j2:1:1: template: has more than 131072 bytes"
    ]
    deep = "".join(f"{{% for x{level} in [1] %}}" for level in range(30)) + "{% endfor %}" * 30
    assert "cannot be compiled" in problems_of(conf=deep)[0]


def test_what_a_template_includes_is_checked_too(problems_of):
    found = problems_of(conf="{% include 'more.j2' %}", **{"components/web/more.j2": "x\n{% endif %}"})
    assert found == ["components/web/more.j2:2:1: template: Encountered unknown tag 'endif'."]


def test_a_program_without_text_is_no_script(problems_of):
    assert problems_of(**{"components/web/migrate.sh": b"\x7fELF\0"}) == [
        "components/web/component.yaml:8:22: `migrate.sh` is not a script "
        "(install a program with a `file` step)"
    ]


def test_missing_files_and_bad_component_names_are_named(problems_of):
    assert problems_of(**{"hamgr.yaml": None})[-1].startswith(
        "hamgr.yaml:1:1: is missing (send the directory"
    )
    assert problems_of(**{"components/new/readme": "x"})[0].startswith(
        "components/new/component.yaml:1:1: is missing"
    )
    found = problems_of(**{"components/Big_/component.yaml": "version: '1'\ncommission: []\n"})
    assert found[0].startswith("components/Big_/component.yaml:1:1: `Big_` is no name for a component")


def test_a_flood_of_problems_is_counted_not_printed(problems_of, web):
    steps = "\n".join(f"- name: s{number}\n  file: {{path: a, content: x}}" for number in range(50))
    text = web(steps)
    more = {f"components/c{number}/component.yaml": text for number in range(5)}
    found = problems_of(**more)
    assert len(found) == 101
    assert found[-1] == "... and 150 more"


yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["/a", "{{ a }}", "{% if %}", "web", "running", "once", "0644", "check.sh", "{{"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["version", "roles", "variables", "components", "requires", "role", "min", "commission", "verify",
             "name", "file", "service", "script", "check", "path", "content", "source", "template", "state",
             "class", "command", "tcp", "port", "http", "url", "within_s", "timeout_s", "restart_on"]
        ) | st.text(max_size=3),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


def refuses_or_loads(archive):
    problems = ()
    try:
        load(archive)
    except BundleInvalid as refused:
        problems = refused.problems
    for problem in problems:
        assert problem.line >= 1
        assert problem.column >= 1
        str(problem).encode()


quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(st.binary(max_size=2000))
def test_bytes_of_any_kind_are_refused_and_nothing_else_is_raised(data):
    refuses_or_loads(data)


@quick
@given(st.text(max_size=200))
def test_text_of_any_kind_is_refused_and_nothing_else_is_raised(tar_of, sound, text):
    data = text.encode(errors="surrogatepass")
    refuses_or_loads(tar_of({**sound, "hamgr.yaml": data}))
    refuses_or_loads(tar_of({**sound, "components/web/component.yaml": data}))
    refuses_or_loads(tar_of({**sound, "components/web/web.conf.j2": data}))


@quick
@given(yaml_values, yaml_values)
def test_yaml_of_any_shape_is_refused_and_nothing_else_is_raised(tar_of, sound, root, component):
    texts = [yaml.safe_dump(value, allow_unicode=True) for value in (root, component)]
    wrapped = yaml.safe_dump({"version": "1", "commission": [component]})
    refuses_or_loads(tar_of({**sound, "hamgr.yaml": texts[0], "components/web/component.yaml": texts[1]}))
    refuses_or_loads(tar_of({**sound, "components/web/component.yaml": wrapped}))


@quick
@given(st.data())
def test_a_damaged_archive_is_refused_and_nothing_else_is_raised(tar_of, sound, data):
    archive = bytearray(tar_of(sound))
    for _ in range(data.draw(st.integers(1, 4))):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    refuses_or_loads(bytes(archive))


HANDLED = """\
version: "1"
commission:
  - name: conf
    file: {path: /etc/x.conf, content: x}
    notify: [restart, kernel, restart]
  - name: other
    file: {path: /etc/y.conf, content: x}
upgrade:
  - name: conf
    file: {path: /etc/x.conf, content: x}
    notify: [restart]
drain:
  - name: leave
    script: {content: leave}
handlers:
  - name: kernel
    reboot: {}
  - name: restart
    service: {name: x, state: restarted}
    retries: 2
"""


def test_handlers_follow_the_steps_of_the_verbs_that_notify_them_in_the_order_in_which_they_are_written(
    tar_of, sound
):
    sound["components/web/component.yaml"] = HANDLED
    sound["hamgr.yaml"] += "secrets: [password, db.key]\n"
    manifest = load(tar_of(sound)).manifest
    verbs = manifest.components["web"].verbs
    other = StepSpec(name="other")
    restart = StepSpec(name="restart", retries=2, handler=True)
    kernel = StepSpec(
        name="kernel", handler=True, reboot=True, step_class=StepClass.CHECKABLE, timeout_s=600.0
    )
    assert verbs[Verb.COMMISSION] == (
        StepSpec(name="conf", notify=("restart", "kernel")),
        other,
        kernel,
        restart,
    )
    assert verbs[Verb.UPGRADE] == (StepSpec(name="conf", notify=("restart",)), restart)
    assert verbs[Verb.VERIFY] == (StepSpec(name="conf", check=True), StepSpec(name="other", check=True))
    assert verbs[Verb.CLEANUP] == ()
    assert verbs[Verb.DRAIN] == (StepSpec(name="leave"),)
    assert Verb.UNDRAIN not in verbs
    assert manifest.secrets == ("password", "db.key")


def test_a_restart_has_the_time_that_is_written_or_ten_minutes(tar_of, sound):
    sound["components/web/component.yaml"] = (
        "version: '1'\ncommission:\n  - {name: a, reboot: {}}\n  - {name: b, reboot: {}, timeout_s: 300}\n"
    )
    steps = load(tar_of(sound)).manifest.components["web"].verbs[Verb.COMMISSION]
    assert [step.timeout_s for step in steps] == [600.0, 300.0]
