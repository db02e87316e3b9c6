"""Holds a document against its schema, and says in plain sentences where it does not fit."""

import difflib
import re
import types
from collections.abc import Iterable
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hamgr.bundles.problems import Problem
from hamgr.bundles.yaml import Document, Path

M = TypeVar("M", bound=BaseModel)

_EXPECTED = {
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
}


def shaped(model: type[M], document: Document, problems: list[Problem]) -> M | None:
    """Return the document as a `model`, or None after adding every reason why it is none."""
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_context=True):
            problems.append(_problem(model, document, fault))  # noqa: PERF401 - one line a fault reads better
    return None


def sound(model: type[M], value: object) -> M | None:
    """Return a part as a `model` if it is one, so that the rest of a document with faults is checked too."""
    try:
        return model.model_validate(value)
    except ValidationError:
        return None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint that names what the author may have meant, or what there is."""
    names = sorted(known)
    near = _near(word, names)
    if near:
        return near
    return f"known are {', '.join(names[:20])}" if names else ""


def _near(word: str, names: list[str]) -> str:
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else ""


def _problem(model: type[BaseModel], document: Document, fault: ErrorDetails) -> Problem:
    path: Path = tuple(fault["loc"])
    kind = fault["type"]
    key = next((part for part in reversed(path) if isinstance(part, str)), document.file)
    if kind == "missing":
        return document.problem(path[:-1], f"`{path[-1]}` is missing", at_key=True)
    if kind == "extra_forbidden":
        known = _keys_at(model, path[:-1])
        return document.problem(
            path, f"unknown key `{path[-1]}`", did_you_mean(str(path[-1]), known), at_key=True
        )
    context = fault.get("ctx", {})
    hint = ""
    if kind in _EXPECTED:
        found = _found(fault["input"])
        message = f"`{key}` {_EXPECTED[kind]}, not {found}"
        if kind == "string_type" and isinstance(fault["input"], int | float):
            hint = f'write "{str(fault["input"]).lower()}", with the quotes'
    elif kind == "literal_error":
        message = f"`{key}` must be {context['expected']}"
        expected = re.findall(r"'([^']*)'", str(context["expected"]))
        hint = _near(str(fault["input"]), expected)
    elif kind == "value_error":
        message = f"`{key}`: {context['error']}" if path else str(context["error"])
    elif kind == "string_pattern_mismatch":
        message = f"`{key}` is not well-formed"
        hint = (
            'a mode is four octal digits, as in "0644"'
            if key == "mode"
            else "printable characters without spaces"
        )
    elif kind in {"too_long", "string_too_long"}:
        message = f"`{key}` is too long: at most {context['max_length']}"
    elif kind in {"too_short", "string_too_short"}:
        message = f"`{key}` is empty"
    else:
        message = f"`{key}`: {fault['msg'][:1].lower()}{fault['msg'][1:]}"
    return document.problem(path, message, hint)


def _found(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """Return the keys that the mapping at `path` may have."""
    kind: Any = model
    for part in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            fields = {info.alias or name: info.annotation for name, info in kind.model_fields.items()}
            kind = fields.get(str(part))
        else:
            # list[X] and dict[str, X]: whatever the index or key, it is an X.
            kind = get_args(kind)[-1] if get_args(kind) else None
        kind = _without_wrapping(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [info.alias or name for name, info in kind.model_fields.items()]
    return []


def _without_wrapping(kind: Any) -> Any:
    """Take `X` out of `X | None` and of `Annotated[X, ...]`."""
    while True:
        if get_origin(kind) is types.UnionType:
            kind = next((part for part in get_args(kind) if part is not types.NoneType), None)
        elif hasattr(kind, "__metadata__"):
            kind = get_args(kind)[0]
        else:
            return kind
