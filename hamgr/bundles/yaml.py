"""Reads YAML into plain values and remembers the line and column of each.

What is accepted is smaller than YAML, so that a file means the same to a person and to every program:

1. One document of mappings with text keys, lists, texts, numbers, true, false and null: what JSON has.
2. No tags, anchors, aliases or merge keys; no key twice in a mapping.
3. Words and numbers that YAML 1.1 and 1.2 read differently (yes, off, 0644) must be quoted.
4. Sizes, depth and the number of values are bounded.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import yaml

from hamgr.bundles.problems import Problem
from statemachine.words import Value

YAML_BYTES_MAX = 128 * 1024
DEPTH_MAX = 16
VALUES_MAX = 10_000
INTEGER_BITS_MAX = 63

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list indexes from the top of a document."""


class Mark(NamedTuple):
    """Where something is written, from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """A file's values and where they are written.

    Attributes:
        keys: Where the key of a mapping's item starts, or the dash's value of a list's item.
        values: Where a value starts.
        blocks: Texts in block style (`|` or `>`), whose first line is the one after their mark.
    """

    file: str
    value: Value
    keys: Mapping[Path, Mark] = field(repr=False)
    values: Mapping[Path, Mark] = field(repr=False)
    blocks: frozenset[Path] = field(repr=False)

    def problem(self, path: Path, message: str, hint: str = "", *, at_key: bool = False) -> Problem:
        """Complain about the value (or its key) at `path`, or about the nearest thing around it."""
        marks = self.keys if at_key else self.values
        while path and path not in marks:
            path, marks = path[:-1], self.keys
        line, column = marks.get(path, Mark(1, 1))
        return Problem(self.file, line, column, message, hint)

    def line(self, path: Path, text_line: int = 1) -> int:
        """Return the line of the file that holds line `text_line` of the text at `path`."""
        start = self.values.get(path, Mark(1, 1)).line
        return start + text_line if path in self.blocks else start


def parse(file: str, data: bytes, problems: list[Problem]) -> Document | None:
    """Read `data`; what is wrong with it is added to `problems`, all of it at once.

    Returns:
        The document, or None when a problem was added.
    """
    before = len(problems)
    if len(data) > YAML_BYTES_MAX:
        problems.append(Problem(file, 1, 1, f"has {len(data)} bytes; a YAML file may have {YAML_BYTES_MAX}"))
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.append(Problem(file, line, 1, "is not UTF-8 text"))
        return None
    builder = _Builder(file, problems)
    try:
        value = builder.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except _Stop:
        return None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        problems.append(Problem(file, line, column, "has a control character that YAML does not allow"))
        return None
    except yaml.MarkedYAMLError as error:
        problems.append(_syntax_problem(file, error))
        return None
    except (ValueError, OverflowError):
        # The scanner turns \U escapes and version numbers into integers without looking at their size.
        problems.append(Problem(file, *builder.last, "has a number or an escape here that is out of range"))
        return None
    if len(problems) > before:
        return None
    return Document(file, value, builder.keys, builder.values, frozenset(builder.blocks))


def _syntax_problem(file: str, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    position = Mark(mark.line + 1, mark.column + 1) if mark is not None else Mark(1, 1)
    what = error.problem or error.context or "cannot be read"
    hint = ""
    if "'\\t'" in what:
        hint = "indent with spaces, not with tabs"
    elif "mapping values are not allowed" in what:
        hint = "quote a text that contains `: `, and check the indentation"
    elif "'%'" in what or "'@'" in what or "'`'" in what:
        hint = "quote the text"
    return Problem(file, *position, f"is not YAML: {what}", hint)


class _Stop(Exception):
    """Reading on makes no sense; the problem is already in the list."""


class _Builder:
    """Turns the parser's events into values. Events, not nodes: a bound is checked before memory is taken."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self._file = file
        self._problems = problems
        self._count = 0
        self.keys: dict[Path, Mark] = {}
        self.values: dict[Path, Mark] = {}
        self.blocks: set[Path] = set()
        self.last = Mark(1, 1)

    def document(self, events: Iterator[yaml.Event]) -> Value:
        value: Value = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._stop(event, "starts a second document", "one file, one document: remove the `---`")
            elif isinstance(event, yaml.NodeEvent):
                value = self._value(event, events, (), 1)
        return value

    def _value(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path, depth: int) -> Value:
        mark = self.last = _mark(event)
        self._count += 1
        if self._count > VALUES_MAX:
            self._stop(event, f"has more than {VALUES_MAX} values")
        if depth > DEPTH_MAX:
            self._stop(event, f"is nested more than {DEPTH_MAX} levels deep")
        self.values.setdefault(path, mark)
        self._refuse_extras(event)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, path, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, path, depth)
        return self._scalar(event, path) if isinstance(event, yaml.ScalarEvent) else None

    def _mapping(self, events: Iterator[yaml.Event], path: Path, depth: int) -> Value:
        result: dict[str, Value] = {}
        for key_event in events:
            if isinstance(key_event, yaml.MappingEndEvent):
                break
            key = self._key(key_event, events, path, depth)
            inner = (*path, key)
            if key in result:
                self._complain(key_event, f"`{key}` is in this mapping twice")
            self.keys.setdefault(inner, _mark(key_event))
            result[key] = self._value(next(events), events, inner, depth + 1)
        return result

    def _key(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path, depth: int) -> str:
        # A key that is refused still gets a place, so that reading can go on behind it.
        place = f"?{self._count}"
        if not isinstance(event, yaml.ScalarEvent):
            self._value(event, events, (*path, place), depth + 1)
            self._complain(event, "a key must be a text")
            return place
        value = self._value(event, events, (*path, place), depth + 1)
        self.values.pop((*path, place), None)
        if event.value == "<<" and not event.style:
            self._complain(event, "merge keys are not allowed", "write the values out")
        elif not isinstance(value, str):
            self._complain(event, f"the key {event.value[:40]!r} is not a text", "quote it")
        return event.value

    def _sequence(self, events: Iterator[yaml.Event], path: Path, depth: int) -> Value:
        result: list[Value] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            inner = (*path, len(result))
            self.keys[inner] = _mark(event)
            result.append(self._value(event, events, inner, depth + 1))
        return result

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> Value:
        if event.style in {"|", ">"}:
            self.blocks.add(path)
        if event.style:
            if "\0" in event.value or any("\ud800" <= letter <= "\udfff" for letter in event.value):
                self._complain(event, "has an escape for NUL or for half a character")
            return str(event.value)
        value = plain_value(event.value)
        if isinstance(value, Doubt):
            self._complain(event, value.message, value.hint)
            return None
        return value

    def _refuse_extras(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._complain(event, "aliases are not allowed", "write the value out")
            return
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            self._complain(event, "anchors are not allowed", "write the value out where it is needed")
        if getattr(event, "tag", None) is not None:
            self._complain(event, "tags are not allowed", "remove the word that starts with `!`")

    def _complain(self, event: yaml.Event, message: str, hint: str = "") -> None:
        self._problems.append(Problem(self._file, *_mark(event), message, hint))

    def _stop(self, event: yaml.Event, message: str, hint: str = "") -> None:
        self._complain(event, message, hint)
        raise _Stop


def _mark(event: yaml.Event) -> Mark:
    start = event.start_mark
    return Mark(start.line + 1, start.column + 1) if start is not None else Mark(1, 1)


class Doubt(NamedTuple):
    """Why an unquoted word is refused."""

    message: str
    hint: str


_WORDS: dict[str, Value] = {"": None, "~": None, "null": None, "true": True, "false": False}
_UNCLEAR = {"yes", "no", "on", "off"}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def plain_value(word: str) -> "Value | Doubt":
    """Return what an unquoted word stands for (YAML 1.2 core schema), or why nobody can be sure."""
    if word in _WORDS:
        return _WORDS[word]
    lower = word.lower()
    if lower in _WORDS or lower in _UNCLEAR:
        return Doubt(
            f"`{word}` may be read as a truth value", f'write true or false, or "{word}" for the text'
        )
    if lower.lstrip("-+") in {".inf", ".nan"}:
        return Doubt(f"`{word}` is not a number that JSON has", f'write "{word}" for the text')
    if len(word) <= 40 and _INTEGER.fullmatch(word):
        digits = word.lstrip("-+")
        if digits.isdigit() and digits != "0" and digits.startswith("0"):
            return Doubt(f"`{word}` has a leading zero", f'write "{word}" for the text; file modes are texts')
        number = int(word, 0)
        if number.bit_length() > INTEGER_BITS_MAX:
            return Doubt(f"`{word}` is too large for a number", f'write "{word}" for the text')
        return number
    if len(word) <= 40 and _FLOAT.fullmatch(word):
        value = float(word)
        return (
            value if math.isfinite(value) else Doubt(f"`{word}` is too large", f'write "{word}" for the text')
        )
    return word
