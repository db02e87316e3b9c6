"""Hostile values, run for real: every byte arrives as it is, and nothing of a value is ever executed."""

import random

import pytest

# fmt: off
PARTS = [
    "'", '"', '\\', '`touch canary`', '$(touch canary)', '${HOME}', '$((1/0))', '\n', '\r\n', '\t',
    ';touch canary;', '&& touch canary', '| touch canary', '> canary', '< /dev/zero', '*', '?',
    '[a-z]', '~', '!', '#', '%s%n', '\\n', '-', '--', '-rf', '-- touch canary', 'EOF',
    '\nEOF\ntouch canary\n', '\nEND_0\ntouch canary\n', "'; touch canary; '", '"; touch canary; "',
    "')\ntouch canary\n('", '\x01', '\x1b[31m', '\x7f', '\x81', '\x88', 'é', '€', '\u2028', '😀',
    ' ', '  ', '=', 'a=b', '{', '}', '{{', '}}', '{%', '#}', '(', ')', '\\\n', 'exit 0',
    '\ndone_ changed\n',
]
# fmt: on
SEED = 20240229


def payloads(count):
    chance = random.Random(SEED)
    yield from PARTS
    for _ in range(count - len(PARTS)):
        yield "".join(chance.choice(PARTS) for _ in range(chance.randint(2, 8)))


# Ten groups, so that a failure names a small part of them.
GROUPS = [list(payloads(300))[number::10] for number in range(10)]


@pytest.mark.parametrize("group", range(10))
def test_nasty_content_is_written_as_it_is(node, compiled, group):
    step = {"file": {"path": "/d/f", "template": "t"}}
    for payload in GROUPS[group]:
        done = node.run(compiled(step, {"t": "{{ payload }}"}, payload=payload))
        assert (done.returncode, done.stdout, done.stderr) == (0, "hamgr: changed\n", ""), payload
        assert node.tree() == {"d/f": (0o644, payload.encode())}, payload
        (node.root / "d/f").unlink()


@pytest.mark.parametrize("group", range(10))
def test_nasty_arguments_and_variables_arrive_as_they_are(node, compiled, group):
    command = ["sh", "-c", 'printf %s "$1" >argument', "x", "{{ payload }}"]
    script = {"script": {"content": 'printf %s "$HAMGR_VAR_payload" >variable\n'}}
    for payload in GROUPS[group]:
        assert node.run(compiled({"check": {"command": command}}, payload=payload)).returncode == 0, payload
        assert node.run(compiled(script, payload=payload)).returncode == 0, payload
        expected = (0o644, payload.encode())
        assert node.tree() == {"argument": expected, "variable": expected}, payload


def test_nasty_names_of_files_are_used_as_they_are_or_refused(node, compiled):
    used = 0
    for payload in payloads(300):
        name = payload.replace("/", "_")
        if not name.isprintable() or name in {".", ".."} or len(name.encode()) > 200:
            continue
        used += 1
        done = node.run(compiled({"file": {"path": "/{{ name }}", "content": "x"}}, name=name))
        assert (done.returncode, done.stdout, done.stderr) == (0, "hamgr: changed\n", ""), name
        assert node.tree() == {name: (0o644, b"x")}, name
        (node.root / name).unlink()
    assert used > 100


def test_nasty_content_under_other_shells(any_node, compiled):
    for payload in payloads(80):
        assert (
            any_node.run(compiled({"file": {"path": "/f", "content": "{{ v }}"}}, v=payload)).returncode == 0
        )
        assert any_node.tree()["f"][1] == payload.encode(), payload


def test_random_bytes_are_written_as_they_are(any_node, compiled):
    chance = random.Random(SEED)
    for _ in range(15):
        data = chance.randbytes(chance.randint(0, 3000))
        assert any_node.run(compiled({"file": {"path": "/f", "source": "f"}}, {"f": data})).returncode == 0
        assert any_node.tree()["f"][1] == data
