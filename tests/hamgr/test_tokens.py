"""The token file: who may call, and what is wrong with a line."""

from pathlib import Path

import pytest

from hamgr import tokens
from hamgr.config import ConfigError

A, B, C = "a" * 32, "b" * 64, "c" * 40


def write(path: Path, text: str) -> Path:
    file = path / "token"
    file.write_text(text)
    file.chmod(0o600)
    return file


def test_a_line_with_only_a_token_is_the_operators(tmp_path: Path) -> None:
    (token,) = tokens.load(write(tmp_path, f"{A}\n"))
    assert (token.actor, token.secret) == ("operator", A)
    assert A not in repr(token)


def test_lines_name_people_and_may_be_comments(tmp_path: Path) -> None:
    text = f"# who may\n{A}\n\nann {B}\n  bob@example.org\t{C}  \n"
    found = tokens.load(write(tmp_path, text))
    assert [(token.actor, token.secret) for token in found] == [
        ("operator", A),
        ("ann", B),
        ("bob@example.org", C),
    ]


def test_a_person_may_have_two_tokens_while_one_replaces_the_other(tmp_path: Path) -> None:
    assert [token.actor for token in tokens.load(write(tmp_path, f"ann {A}\nann {B}\n"))] == ["ann", "ann"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{A}\nann too short {B}", ":2: has 4 words"),
        (f"{A}\nAnn {B}", ":2: 'Ann' cannot be a name"),
        (f"{A}\nann short", ":2: the token of ann is no text of 32 to 512 characters"),
        (f"{A}\nann {A}", ":2: the token of ann stands in the file twice"),
        ("# nobody " + A, "has no token"),
        ("".join(f"p{n} {n:040}\n" for n in range(tokens.TOKENS_MAX + 1)), ":65: more than 64"),
    ],
    ids=["words", "name", "short", "twice", "none", "many"],
)
def test_a_line_that_is_none_is_named_and_no_token_is_shown(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        tokens.load(write(tmp_path, text))
    assert says in str(refusal.value)
    assert A not in str(refusal.value)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, A)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        tokens.load(file)
