"""Steps with a fault: each is refused at its line and column, with a sentence that helps."""

import pytest

# Steps, which start on line 3 of the file, and what is said about them.
STEPS = {
    "no-kind": ("- name: s", "3:5: `commission`: needs exactly one of `file`, `service`, `script`, `check`"),
    "two-kinds": (
        "- name: s\n  file: {path: /a, content: x}\n  script: {content: x}",
        "of `file`, `service`, `script`, `check`, `package`, `playbook`, `reboot`; it has file and script",
    ),
    "no-name": ("- file: {path: /a, content: x}", "3:5: `name` is missing"),
    "bad-name": ("- name: Über\n  file: {path: /a, content: x}", "3:11: `Über` is no name for a step"),
    "unknown-kind": ("- name: s\n  flie: {}", "4:5: unknown key `flie` (did you mean `file`?)"),
    "unknown-in-file": (
        "- name: s\n  file: {path: /a, content: x, onwer: root}",
        "4:34: unknown key `onwer` (did you mean `owner`?)",
    ),
    "class-alias": (
        "- name: s\n  script: {content: x, clas: once}",
        "4:26: unknown key `clas` (did you mean `class`?)",
    ),
    "class-value": (
        "- name: s\n  script: {content: x, class: onec}",
        "4:33: `class` must be 'idempotent', 'checkable' or 'once' (did you mean `once`?)",
    ),
    "no-content": (
        "- name: s\n  file: {path: /a}",
        "4:11: `file`: needs exactly one of `template`, `source`",
    ),
    "two-contents": ("- name: s\n  file: {path: /a, source: a, content: b}", "it has source and content"),
    "absent-content": (
        "- name: s\n  file: {path: /a, content: b, state: absent}",
        "`state: absent` goes with",
    ),
    "relative": ("- name: s\n  file: {path: etc/a, content: x}", "4:18: `path` must be an absolute path"),
    "upwards": (
        "- name: s\n  file: {path: /etc/../a, content: x}",
        "4:18: `path` has `//`, `.` or `..` in it",
    ),
    "path-newline": (
        '- name: s\n  file: {path: "/a\\nb", content: x}',
        "4:18: `path` has a control character",
    ),
    "mode-number": (
        "- name: s\n  file: {path: /a, content: x, mode: 644}",
        '4:40: `mode` must be a text, not a number (write "644"',
    ),
    "mode-text": (
        "- name: s\n  file: {path: /a, content: x, mode: rw}",
        "4:40: `mode` is not well-formed (a mode is",
    ),
    "owner": (
        "- name: s\n  file: {path: /a, content: x, owner: -R}",
        "4:41: `owner` must be the name or the number",
    ),
    "no-source": (
        "- name: s\n  file: {path: /a, source: web.cnf.j2}",
        "4:30: there is no file `web.cnf.j2` in components/web (did you mean `web.conf.j2`?)",
    ),
    "source-outside": (
        "- name: s\n  file: {path: /a, source: ../../hamgr.yaml}",
        "there is no file `../../hamgr.yaml`",
    ),
    "inline-template": (
        "- name: s\n  file:\n    path: /a\n    content: |\n      one\n      {% if %}\n",
        "8:1: template: Expected an expression, got 'end of statement block'",
    ),
    "unknown-filter": (
        '- name: s\n  file: {path: /a, content: "{{ a | nope }}"}',
        "4:31: template: No filter named 'nope'",
    ),
    "random": (
        '- name: s\n  file: {path: /a, content: "{{ a | random }}"}',
        "template: No filter named 'random'",
    ),
    "service-name": (
        "- name: s\n  service: {name: -x, state: running}",
        "4:21: `name` must be the name of a service",
    ),
    "service-state": ("- name: s\n  service: {name: x, state: runing}", "(did you mean `running`?)"),
    "enabled-yes": (
        "- name: s\n  service: {name: x, state: running, enabled: yes}",
        "4:49: `yes` may be read as a truth",
    ),
    "watched": (
        "- name: s\n  service: {name: x, state: running, restart_on: [a]}",
        "`restart_on` must be an absolute path",
    ),
    "stopped-watch": (
        "- name: s\n  service: {name: x, state: stopped, restart_on: [/a]}",
        "a stopped service cannot",
    ),
    "no-check": ("- name: s\n  script: {content: x, class: checkable}", "`class: checkable` needs `check`"),
    "check-without": (
        "- name: s\n  script: {content: x, check: check.sh}",
        "`check` goes with `class: checkable`",
    ),
    "check-missing": (
        "- name: s\n  script: {content: x, class: checkable, check: n.sh}",
        "there is no file `n.sh`",
    ),
    "empty-command": ("- name: s\n  check: {command: []}", "4:22: `command` is empty"),
    "command-option": (
        "- name: s\n  check: {command: [-c, x]}",
        "4:23: `command` must be the name or path of a program",
    ),
    "command-assigns": ("- name: s\n  check: {command: [A=b, x]}", "must be the name or path of a program"),
    "port": ("- name: s\n  check: {tcp: {port: 70000}}", "4:25: `port` must be a port from 1 to 65535"),
    "port-kind": ("- name: s\n  check: {tcp: {port: true}}", "4:25: `port`: must be a number or a template"),
    "url": ("- name: s\n  check: {http: {url: 'file:///etc/passwd'}}", "4:25: `url` must begin with http://"),
    "sha256": (
        "- name: s\n  check: {file: {path: /a, sha256: abc}}",
        "4:38: `sha256` must be 64 hexadecimal digits",
    ),
    "within": (
        "- name: s\n  check: {file: {path: /a}, within_s: 9}\n  timeout_s: 5",
        "`within_s` must be less than",
    ),
    "timeout": (
        "- name: s\n  check: {file: {path: /a}}\n  timeout_s: 0",
        "5:16: `timeout_s`: input should be greater",
    ),
    "when-template": (
        "- name: s\n  file: {path: /a, content: x}\n  when: '{{ a }}'",
        "5:11: `when` is an expression already, without {{ and }} (as in `when: facts.cpus > 1`)",
    ),
    "when-syntax": (
        "- name: s\n  file: {path: /a, content: x}\n  when: a ==",
        "5:11: `when`: unexpected end of the expression",
    ),
    "when-filter": (
        "- name: s\n  file: {path: /a, content: x}\n  when: a | nope",
        "5:11: `when`: No filter named 'nope'",
    ),
    "when-bool": (
        "- name: s\n  file: {path: /a, content: x}\n  when: true",
        "5:11: `when` must be a text, not true or false",
    ),
    "notify-nobody": (
        "- name: s\n  file: {path: /a, content: x}\n  notify: [restart]",
        "5:14: there is no handler `restart` (write it in `handlers:`)",
    ),
    "restarted": (
        "- name: s\n  service: {name: x, state: restarted}",
        "4:31: `restarted` is for handlers; a step says what holds afterwards (write `running` here",
    ),
    "restarted-enabled": (
        "- name: s\n  service: {name: x, state: restarted, enabled: true}",
        "`state: restarted` goes with `name` alone",
    ),
    "package-none": ("- name: s\n  package: {state: latest}", "4:14: `package`: needs exactly one of `name`"),
    "package-minus": (
        "- name: s\n  package: {names: [a, foo-]}",
        "4:26: `names` must be the name of a package",
    ),
    "package-version": (
        "- name: s\n  package: {names: [a, b], version: '1'}",
        "4:14: `package`: `version` goes with one `name`, and with `state: present`",
    ),
    "package-manager": (
        "- name: s\n  package: {name: a, manager: yum}",
        "`manager` must be 'auto', 'apt' or 'dnf'",
    ),
    "reboot-command": ("- name: s\n  reboot: {command: [-f]}", "4:24: `command` must be the name or path"),
    "two-names": (
        "- name: s\n  check: {file: {path: /a}}\n- name: s\n  check: {file: {path: /a}}",
        "5:11: commission has two steps called `s`",
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_wrong_step_is_refused_where_it_is_wrong(problems_of, web, name):
    steps, expected = STEPS[name]
    found = problems_of(web=web(steps))
    assert len(found) == 1, found
    assert found[0].startswith("components/web/component.yaml:")
    assert expected in found[0]


NOTIFYING = "commission:\n  - {name: s, file: {path: /a, content: x}, notify: [again]}\n"
HANDLERS = {
    "unknown": (
        NOTIFYING + "handlers:\n  - {name: agian, service: {name: x, state: restarted}}\n",
        [
            "3:54: there is no handler `again` (did you mean `agian`?)",
            "5:12: nobody notifies handler `agian` (add `notify: [agian]` to the steps after",
        ],
    ),
    "nobody": (
        NOTIFYING + "handlers:\n  - {name: again, script: {content: x}}\n  - {name: b, reboot: {}}\n",
        ["6:12: nobody notifies handler `b`"],
    ),
    "kind": (
        NOTIFYING + "handlers:\n  - {name: again, file: {path: /a, content: x}}\n",
        ["5:12: handler `again` is neither a service nor a script nor a reboot (make it a step"],
    ),
    "running": (
        NOTIFYING + "handlers:\n  - {name: again, service: {name: x, state: running}}\n",
        ["handler `again` would do nothing where the service runs already (write `restarted`"],
    ),
    "chain": (
        NOTIFYING + "handlers:\n  - {name: again, script: {content: x}, notify: [again]}\n",
        ["5:41: a handler notifies nobody"],
    ),
    "name-of-a-step": (
        NOTIFYING + "cleanup:\n  - {name: again, script: {content: x}}\n"
        "handlers:\n  - {name: again, script: {content: x}}\n",
        ["5:12: `again` is the name of a handler already (give the step another name)"],
    ),
    "two-names": (
        NOTIFYING + "handlers:\n  - {name: again, script: {content: x}}\n  - {name: again, reboot: {}}\n",
        ["6:12: handlers has two steps called `again`"],
    ),
    "verify": (
        NOTIFYING + "verify:\n  - {name: t, check: {file: {path: /a}}, notify: [again]}\n"
        "  - {name: r, reboot: {}}\nhandlers:\n  - {name: again, script: {content: x}}\n",
        [
            "5:42: a step in verify changes nothing, so it notifies nobody (leave `notify` out)",
            "6:15: verify only looks, and restarts nothing",
        ],
    ),
    "nonsense": (
        "commission:\n  - {name: s, script: {content: x}, notify: [{a: b}]}\nhandlers:\n  - {name: [1]}\n",
        [
            "3:46: `notify` must be a text, not a mapping",
            "5:12: `name` must be a text",
        ],
    ),
}


@pytest.mark.parametrize("name", HANDLERS)
def test_a_handler_that_does_not_fit_is_refused_where_it_is_written(problems_of, name):
    text, expected = HANDLERS[name]
    found = problems_of(web='version: "1"\n' + text)
    for line, part in zip(found, expected, strict=True):
        assert line.startswith("components/web/component.yaml:")
        assert part in line


def test_a_secret_has_the_name_of_a_variable_and_is_listed_once(problems_of):
    small = "version: 1\nroles: {web: {components: [web]}}\n"
    small += "secrets: [db.password, b-c, db.password, facts, a..b]\n"
    hint = "(a variable's name, or with dots the path to a part of one, as in `db.password`)"
    assert problems_of(hamgr=small) == [
        f"hamgr.yaml:3:24: `b-c` is no name for a variable {hint}",
        "hamgr.yaml:3:29: `db.password` is listed twice",
        f"hamgr.yaml:3:42: `facts` is no name for a variable {hint}",
        f"hamgr.yaml:3:49: `a..b` is no name for a variable {hint}",
    ]
