"""Reading bodies: bounded in bytes and in time, and JSON without the parts that would hurt later.

JSON is refused, with the place, when it has NaN or infinite numbers, integers over 64 bits, half surrogate
pairs, a key twice, or deeper nesting than the replicated log carries: each of them would be an error, or
two different values, on its way through msgpack, YAML and back.
"""

import asyncio
import json
import math
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from hamgr.api.context import context_of
from hamgr.api.problems import Fault, Problem

NESTING_MAX = 24
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1


async def read_bytes(request: web.Request, *, bytes_max: int) -> bytes:
    """Return the whole body.

    Raises:
        Problem: `too-large`, `slow-body`, or `bad-request` when the transfer is broken.
    """
    if (request.content_length or 0) > bytes_max:
        raise _too_large(bytes_max)
    if request.content.is_eof() and request.content.exception() is None:  # as most: all came with the head
        data = request.content.read_nowait()
        if len(data) > bytes_max:
            raise _too_large(bytes_max)
        return data
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(context_of(request).limits.body_timeout_s):
            while chunk := await request.content.readany():
                size += len(chunk)
                if size > bytes_max:
                    raise _too_large(bytes_max)
                chunks.append(chunk)
    except TimeoutError as error:
        raise Problem(
            "slow-body", "the body did not arrive in time", headers={"Connection": "close"}
        ) from error
    except (HttpProcessingError, web.RequestPayloadError) as error:
        raise Problem(
            "bad-request", "the body's transfer encoding is broken", headers={"Connection": "close"}
        ) from error
    return b"".join(chunks)


def _too_large(bytes_max: int) -> Problem:
    return Problem("too-large", f"the body has more than {bytes_max} bytes", headers={"Connection": "close"})


async def read_json(request: web.Request) -> Any:
    """Return the body as plain values.

    Raises:
        Problem: `wrong-type`, `bad-json` with line and column, or as `read_bytes` does.
    """
    if request.content_type not in ("application/json", "application/merge-patch+json"):
        raise Problem(
            "wrong-type",
            f"the body is {request.content_type}; this resource takes application/json",
            hint="send the header `Content-Type: application/json`",
        )
    return parse_json(await read_bytes(request, bytes_max=context_of(request).limits.json_bytes_max))


def parse_json(data: bytes) -> Any:
    """Return what `data` says; see the module for what is refused."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = _position(data[: error.start].decode("utf-8", "replace"))
        raise _bad_json("is not UTF-8", line, column) from error
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _bad_json(error.msg[0].lower() + error.msg[1:], error.lineno, error.colno) from error
    except RecursionError as error:
        raise _bad_value("", "nests too deeply") from error
    except ValueError as error:  # ours from the hooks, or Python's for a number of thousands of digits
        raise _bad_value("", str(error)) from error
    _check(value, "", 0)
    return value


def _position(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _bad_json(message: str, line: int, column: int) -> Problem:
    fault = Fault(message=message, line=line, column=column)
    return Problem("bad-json", f"the body, line {line}, column {column}: {message}", errors=[fault])


def _no_constant(name: str) -> Any:
    raise ValueError(f"has {name}, which is not JSON")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"has the key {key[:100]!a} twice in one object")
        found[key] = value
    return found


_DECODER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_no_twins)
"""Kept: to make one takes longer than to use it."""


def _check(value: Any, pointer: str, depth: int) -> None:
    if depth > NESTING_MAX:
        raise _bad_value(pointer, f"nests deeper than {NESTING_MAX} levels")
    if isinstance(value, str):
        _check_text(value, pointer)
    elif isinstance(value, float) and not math.isfinite(value):
        raise _bad_value(pointer, "is too large a number")
    elif isinstance(value, int) and not INTEGER_MIN <= value <= INTEGER_MAX:
        raise _bad_value(pointer, "is an integer of more than 64 bits")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _check(item, f"{pointer}/{i}", depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key, pointer)
            _check(item, f"{pointer}/{escaped(key)}", depth + 1)


def _check_text(text: str, pointer: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _bad_value(pointer, "has half of a surrogate pair") from error


def escaped(key: str) -> str:
    """Return `key` as a part of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _bad_value(pointer: str, message: str) -> Problem:
    shown = pointer.encode("utf-8", "replace").decode()
    return Problem(
        "bad-json", f"{shown or 'the body'} {message}", errors=[Fault(message=message, pointer=shown)]
    )
