"""Commands, outcomes and states as msgpack, and back; versioned, strict, and the same on every replica.

1. `[FORMAT, name, fields]`: FORMAT is raised only when old replicas could misread a new message.
2. Dataclass and field names are the wire names. A field that is missing takes its default (an older
   writer), one that is not known is an error (a newer writer): a replica never guesses.
3. Mappings keep their order, so equal states give equal bytes, and `digest` can compare replicas.
4. Decoding checks every type. It raises `CodecError` and nothing else, whatever the bytes; `LaterVersion`
   where a later version of hamgr may well have understood them.
"""

import dataclasses
import enum
import hashlib
import operator
import types
import typing
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from typing import Any, cast

import msgpack

from statemachine import commands, outcomes, words
from statemachine.model import State

FORMAT = 1
COMMAND_BYTES_MAX = 8 * 1024 * 1024
DEPTH_MAX = 32
"""How deep a variable's value may nest."""

Decoder = Callable[[Any], Any]


class CodecError(ValueError):
    """The bytes are not what this version writes, or a newer version wrote them."""


class LaterVersion(CodecError):
    """Well-formed, but with a format, name, field or value that only another version of hamgr knows."""


COMMAND_NAMES = frozenset(cls.__name__ for cls in typing.get_args(commands.Command))
"""What this version can obey."""


def command_name(data: bytes) -> str:
    """Return the name that an encoded command of this format bears; empty when it is none."""
    if len(data) < 4 or data[0] != 0x93 or data[1] != FORMAT:
        return ""
    if data[2] & 0xE0 == 0xA0:
        name = data[3 : 3 + (data[2] & 0x1F)]
    elif data[2] == 0xD9:
        name = data[4 : 4 + data[3]]
    else:
        return ""
    return name.decode("ascii", "replace")


def encode_command(command: commands.Command) -> bytes:
    """Return the log entry for `command`."""
    return _pack(type(command).__name__, command)


def encode_timeless(command: commands.Command) -> bytes:
    """Return `command` as bytes, as if it had been proposed at the time 0."""
    return _pack(type(command).__name__, {**_one_level(command), "at": 0.0})


def decode_command(data: bytes) -> commands.Command:
    """Return the command that `data` holds.

    Raises:
        CodecError: Not a command, too large, of another format, or of a newer version.
    """
    return cast("commands.Command", _unpack(data, _COMMANDS))


def encode_outcome(outcome: outcomes.Outcome) -> bytes:
    """Return `outcome` as bytes."""
    return _pack(type(outcome).__name__, outcome)


def decode_outcome(data: bytes) -> outcomes.Outcome:
    """Return the outcome that `data` holds, or raise `CodecError`."""
    return cast("outcomes.Outcome", _unpack(data, _OUTCOMES))


def encode_state(state: State) -> bytes:
    """Return the snapshot of `state`; equal states of equal history give equal bytes."""
    return _pack("State", state)


def decode_state(data: bytes) -> State:
    """Return the state that a snapshot holds, or raise `CodecError`."""
    return cast("State", _unpack(data, {"State": State}, bytes_max=None))


def state_digest(state: State) -> str:
    """Return the SHA-256 of the snapshot, in hexadecimal; replicas compare it at equal indexes."""
    return hashlib.sha256(encode_state(state)).hexdigest()


_AS_IT_IS = frozenset({str, int, float, bool, bytes, types.NoneType})


def plain(value: Any) -> Any:
    """Return a dataclass, enum or container as what msgpack and JSON can carry."""
    if type(value) in _AS_IT_IS:
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    return {name: plain(getattr(value, name)) for name in _field_names(cast("Hashable", type(value)))}


@cache
def _field_names(cls: Hashable) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cast("type[Any]", cls)))


def _one_level(value: Any) -> Any:
    """Return what msgpack cannot carry as something that it can, but for what that holds."""
    return _opener(cast("Hashable", type(value)))(value)


@cache
def _opener(kind: Hashable) -> Callable[[Any], Any]:
    cls = cast("type[Any]", kind)
    if issubclass(cls, enum.Enum):
        return operator.attrgetter("value")
    if issubclass(cls, Mapping):
        return dict
    if issubclass(cls, Sequence):
        return list
    names = _field_names(kind)
    return lambda value: {name: getattr(value, name) for name in names}


def _pack(name: str, value: Any) -> bytes:
    try:
        # The bytes are those of `plain(value)`; msgpack descends faster than we do.
        return cast("bytes", msgpack.packb([FORMAT, name, value], use_bin_type=True, default=_one_level))
    except (ValueError, OverflowError, TypeError, RecursionError) as error:
        raise CodecError(f"{name} holds a value that cannot be stored: {error}") from error


def _unpack(data: bytes, known: Mapping[str, type], bytes_max: int | None = COMMAND_BYTES_MAX) -> Any:
    if bytes_max is not None and len(data) > bytes_max:
        raise CodecError(f"{len(data)} bytes are more than the {bytes_max} that an entry may have")
    try:
        message = msgpack.unpackb(data, raw=False, strict_map_key=False, use_list=True)
    except (ValueError, msgpack.UnpackException, RecursionError, TypeError) as error:
        raise CodecError(f"not msgpack: {error}") from error
    match message:
        case [int(version), str(name), dict(fields)] if version == FORMAT and name in known:
            return decoder(known[name])(fields)
        case [int(version), *_] if version > FORMAT:
            raise LaterVersion(
                f"format {version} was written by another version of hamgr; this one reads {FORMAT}"
            )
        case [int(version), str(name), dict()] if version == FORMAT and name not in known:
            raise LaterVersion(f"this version of hamgr does not know {name!r}")
        case [int(), str(name), *_]:
            raise CodecError(f"this version of hamgr does not know {name!r} in this form")
    raise CodecError("not a message of hamgr")


@cache
def decoder(annotation: Any) -> Decoder:
    """Return the function that turns plain data into a value of `annotation`, or raises `CodecError`."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, typing.NewType):
        return decoder(annotation.__supertype__)
    if origin is typing.Union or origin is types.UnionType:
        members = [arg for arg in args if arg is not types.NoneType]
        return _optional(decoder(members[0])) if len(members) == 1 else _value  # words.Value, words.Scalar
    if origin in (tuple, Sequence):
        return _sequence(decoder(args[0]))
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(decoder(args[0]), decoder(args[1]))
    if dataclasses.is_dataclass(annotation):
        return _dataclass(cast("type", annotation))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enumeration(annotation)
    return _exactly(annotation)


def _dataclass(cls: type) -> Decoder:
    hints = typing.get_type_hints(cls, localns={"Value": words.Value, "Scalar": words.Scalar})
    fields = {field.name: decoder(hints[field.name]) for field in dataclasses.fields(cls)}
    known = frozenset(fields)
    required = {
        field.name
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }

    def decode(data: Any) -> Any:
        if not isinstance(data, dict):
            raise CodecError(f"{cls.__name__} must be a map")
        if not known.issuperset(data):
            unknown = [name for name in data if name not in fields]
            raise LaterVersion(f"{cls.__name__} has fields that this version does not know: {unknown}")
        if len(data) < len(fields) and not required <= data.keys():
            raise CodecError(f"{cls.__name__} lacks {sorted(required - data.keys())}")
        return cls(**{name: fields[name](item) for name, item in data.items()})

    return decode


def _optional(inner: Decoder) -> Decoder:
    return lambda data: None if data is None else inner(data)


def _sequence(item: Decoder) -> Decoder:
    def decode(data: Any) -> Any:
        if not isinstance(data, list):
            raise CodecError(f"expected a list, not {type(data).__name__}")
        return tuple(item(element) for element in data)

    return decode


def _mapping(key: Decoder, item: Decoder) -> Decoder:
    def decode(data: Any) -> Any:
        if not isinstance(data, dict):
            raise CodecError(f"expected a map, not {type(data).__name__}")
        return {key(name): item(element) for name, element in data.items()}

    return decode


def _enumeration(cls: type[enum.Enum]) -> Decoder:
    def decode(data: Any) -> Any:
        try:
            return cls(data)
        except ValueError:
            known_form = isinstance(data, str | int)
            kind = LaterVersion if known_form else CodecError
            raise kind(f"{data!r} is not a {cls.__name__} that this version knows") from None

    return decode


def _exactly(cls: Any) -> Decoder:
    def decode(data: Any) -> Any:
        if cls is float and type(data) is int:
            return float(data)
        if type(data) is not cls:
            raise CodecError(f"expected {cls.__name__}, not {type(data).__name__}")
        return data

    return decode


def _value(data: Any, depth: int = 0) -> Any:
    if depth > DEPTH_MAX:
        raise CodecError(f"a value nests deeper than {DEPTH_MAX} levels")
    if data is None or type(data) in (str, int, float, bool):
        return data
    if type(data) is list:
        return [_value(item, depth + 1) for item in data]
    if type(data) is dict and all(type(key) is str for key in data):
        return {key: _value(item, depth + 1) for key, item in data.items()}
    raise CodecError(f"a variable cannot hold {type(data).__name__}")


_COMMANDS: dict[str, type] = {cls.__name__: cls for cls in typing.get_args(commands.Command)}
_OUTCOMES: dict[str, type] = {cls.__name__: cls for cls in typing.get_args(outcomes.Outcome)}
