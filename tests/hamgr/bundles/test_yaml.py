"""YAML: plain values with positions, and everything that could surprise somebody refused."""

import pytest

from hamgr.bundles.yaml import Doubt, Mark, parse, plain_value


def problems_of(text):
    problems = []
    data = text if isinstance(text, bytes) else text.encode()
    assert parse("f.yaml", data, problems) is None
    return [str(problem) for problem in problems]


def test_values_keys_and_items_keep_their_line_and_column():
    problems = []
    document = parse("f.yaml", b"a: 1\nb:\n  - x\n  - {c: true}\n", problems)
    assert not problems
    assert document.value == {"a": 1, "b": ["x", {"c": True}]}
    assert document.keys["a",] == Mark(1, 1)
    assert document.values["a",] == Mark(1, 4)
    assert document.values["b", 0] == Mark(3, 5)
    assert document.keys["b", 1, "c"] == Mark(4, 6)
    assert document.values["b", 1, "c"] == Mark(4, 9)
    assert str(document.problem(("b", 1, "missing"), "is missing")) == "f.yaml:4:5: is missing"


def test_a_line_of_a_block_text_is_found_in_the_file():
    document = parse("f.yaml", b'a: |\n  one\n  two\nb: "x"\n', [])
    assert document.line(("a",), 2) == 3
    assert document.line(("b",), 1) == 4


PLAIN = {
    "": None,
    "~": None,
    "null": None,
    "true": True,
    "false": False,
    "0": 0,
    "-12": -12,
    "+3": 3,
    "0x1F": 31,
    "0o17": 15,
    "1.5": 1.5,
    "1e3": 1000.0,
    "8080:80": "8080:80",
    "12:30:45": "12:30:45",
    "2026-01-01": "2026-01-01",
    "1.2.3": "1.2.3",
    "hello world": "hello world",
    "y": "y",
}


@pytest.mark.parametrize("word", PLAIN)
def test_an_unquoted_word_means_what_it_looks_like(word):
    assert plain_value(word) == PLAIN[word]
    assert type(plain_value(word)) is type(PLAIN[word])


@pytest.mark.parametrize(
    "word", ["yes", "No", "on", "OFF", "True", "NULL", "0644", "00", ".inf", "-.NaN", "9" * 19]
)
def test_a_word_that_programs_read_differently_is_refused(word):
    assert isinstance(plain_value(word), Doubt)
    problem = problems_of(f"key: {word}\n")[0]
    assert problem.startswith("f.yaml:1:6: `")
    assert f'"{word}"' in problem


REFUSED = {
    "twice": ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: `a` is in this mapping twice"),
    "alias": ("a: &x 1\nb: *x\n", "f.yaml:2:4: aliases are not allowed (write the value out)"),
    "anchor": ("a: &x 1\n", "f.yaml:1:4: anchors are not allowed"),
    "merge": ("a:\n  <<: {b: 1}\n", "f.yaml:2:3: merge keys are not allowed"),
    "tag": ("a: !!python/object:os.system x\n", "f.yaml:1:4: tags are not allowed"),
    "tag-on-list": ("a: !!set {x}\n", "f.yaml:1:4: tags are not allowed"),
    "number-key": ("80: x\n", "f.yaml:1:1: the key '80' is not a text (quote it)"),
    "list-key": ("? [a]\n: b\n", "f.yaml:1:3: a key must be a text"),
    "two-documents": ("a: 1\n---\nb: 2\n", "f.yaml:2:1: starts a second document"),
    "deep": ("[" * 20 + "]" * 20, "f.yaml:1:17: is nested more than 16 levels deep"),
    "very-deep": ("[" * 100_000, "f.yaml:1:17: is nested more than 16 levels deep"),
    "many": ("[" + "a," * 10_001 + "]", "has more than 10000 values"),
    "large": ("#" * (128 * 1024 + 1), "f.yaml:1:1: has 131073 bytes; a YAML file may have 131072"),
    "tab": ("a:\n\tb: 1\n", "(indent with spaces, not with tabs)"),
    "colon": ("a: b: c\n", "f.yaml:1:5: is not YAML: mapping values are not allowed here (quote"),
    "open-brace": ("a: {b: 1\n", "f.yaml:2:1: is not YAML"),
    "template-unquoted": ("a: {{ b }}\n", "f.yaml:1:"),
    "percent": ("a: %x\n", "(quote the text)"),
    "control": ("a: 1\nb: \x07\n", "f.yaml:2:4: has a control character"),
    "not-utf-8": (b"a: 1\nb: \xff\n", "f.yaml:2:1: is not UTF-8 text"),
    "nul-escape": ('a: "\\0"\n', "f.yaml:1:4: has an escape for NUL or for half a character"),
    "half-escape": ('a: "\\ud800"\n', "f.yaml:1:4: has an escape for NUL or for half a character"),
    "huge-escape": ('a: "\\UFFFFFFFF"\n', "has a number or an escape here that is out of range"),
    "huge-version": ("%YAML " + "9" * 5000 + ".1\n--- a\n", "that is out of range"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_yaml_that_could_surprise_somebody_is_refused_where_it_stands(name):
    text, expected = REFUSED[name]
    found = problems_of(text)
    assert any(expected in problem for problem in found), found


def test_all_surprises_of_a_file_are_told_at_once():
    found = problems_of("a: yes\nb: &x 1\nc: *x\na: 0644\n")
    assert [problem.split(":")[1] for problem in found] == ["1", "2", "3", "4", "4"]
