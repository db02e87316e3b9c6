"""One message of every kind with every field filled in, and the golden bytes that were once written for them.

`python -m tests.statemachine.examples` writes golden files for kinds that have none yet. It never touches
those that exist: what was once in a log must stay readable for ever.
"""

import dataclasses
import enum
import json
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from statemachine import codec, commands, outcomes, words
from statemachine.model import State

GOLDEN = Path(__file__).parent / "golden"
KINDS: dict[str, type] = {
    **{cls.__name__: cls for cls in typing.get_args(commands.Command)},
    **{cls.__name__: cls for cls in typing.get_args(outcomes.Outcome)},
    "State": State,
}
_BY_TYPE: dict[Any, Any] = {str: "text", int: 7, float: 1.5, bool: True, bytes: b"\x00\xff"}
_ANY = {"list": [1, 2.5, None, True, "x"], "map": {"inner": None}}


def filled(annotation: Any) -> Any:
    """Return a value of `annotation` in which no field has been left at its default."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, typing.NewType):
        return filled(annotation.__supertype__)
    if annotation in (words.Value, words.Scalar):
        return _ANY if annotation == words.Value else 7
    if origin in (typing.Union, types.UnionType):
        members = [arg for arg in args if arg is not types.NoneType]
        return filled(members[0]) if len(members) == 1 else 7
    if origin in (tuple, Sequence):
        return (filled(args[0]),)
    if origin is not None and issubclass(origin, Mapping):
        return {filled(args[0]): filled(args[1])}
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return list(annotation)[-1]
    if dataclasses.is_dataclass(annotation):
        cls = cast("type[Any]", annotation)
        hints = typing.get_type_hints(cls, localns={"Value": words.Value, "Scalar": words.Scalar})
        return cls(**{field.name: filled(hints[field.name]) for field in dataclasses.fields(cls)})
    return _BY_TYPE[annotation]


def encode(value: Any) -> bytes:
    if isinstance(value, State):
        return codec.encode_state(value)
    if isinstance(value, outcomes.Accepted | outcomes.Rejected):
        return codec.encode_outcome(value)
    return codec.encode_command(value)


def decode(name: str, data: bytes) -> Any:
    if name == "State":
        return codec.decode_state(data)
    if name in ("Accepted", "Rejected"):
        return codec.decode_outcome(data)
    return codec.decode_command(data)


def golden(name: str) -> bytes:
    """Return the bytes that were written for the kind `name` when its wire form was decided."""
    return bytes.fromhex(cast("str", json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))["hex"]))


def main() -> None:
    for name, cls in KINDS.items():
        path = GOLDEN / f"{name}.json"
        if not path.exists():
            value = filled(cls)
            shown = {"hex": encode(value).hex(), "reads": repr(value)}
            path.write_text(json.dumps(shown, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
