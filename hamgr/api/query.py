"""Query parameters and headers of requests, checked; one that nobody knows is refused, not ignored."""

import math
from difflib import get_close_matches

from aiohttp import web

from hamgr.api.context import context_of
from hamgr.api.middleware import CONSISTENCY, KEY, READ_AGE_S, READ_INDEX, REQUEST_ID
from hamgr.api.problems import Problem
from hamgr.raft.port import NoLeader
from statemachine.model import State
from statemachine.words import DIGEST, Digest, RequestId
from statemachine.words import REQUEST_ID as REQUEST_ID_FORM

TEXT_CHARS_MAX = 4_096
_FLAGS = {"1": True, "true": True, "": True, "0": False, "false": False}


def allow(request: web.Request, *names: str) -> None:
    """Refuse query parameters other than `names`, and any that is given twice or is not plain text."""
    for name in request.query:
        values = request.query.getall(name)
        if name not in names:
            close = get_close_matches(name, names, n=1)
            known = f"known: {', '.join(names)}" if names else "this resource takes none"
            raise Problem(
                "bad-query", f"no parameter {name!a}", hint=f"did you mean {close[0]!r}?" if close else known
            )
        if len(values) > 1:
            raise Problem("bad-query", f"{name} is there {len(values)} times")
        if not values[0].isprintable() or len(values[0]) > TEXT_CHARS_MAX:
            raise Problem("bad-query", f"{name} is too long or has characters that cannot be printed")


def flag(request: web.Request, name: str, *, default: bool = False) -> bool:
    """Return a yes-or-no parameter."""
    text = request.query.get(name)
    if text is None:
        return default
    if text.lower() not in _FLAGS:
        raise Problem("bad-query", f"{name} is {text!a}; it can be 1 or 0")
    return _FLAGS[text.lower()]


def number(request: web.Request, name: str, *, default: int, low: int, high: int) -> int:
    """Return a whole number between `low` and `high`."""
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 19 and low <= int(text) <= high):
        raise Problem("bad-query", f"{name} is {text!a}; it can be {low} to {high}")
    return int(text)


def seconds(request: web.Request, name: str, *, high: float) -> float:
    """Return a duration, cut to `high`; 0 when it is not given."""
    try:
        value = float(request.query.get(name, "0"))
    except ValueError as error:
        raise Problem("bad-query", f"{name} is not a number of seconds") from error
    if not math.isfinite(value) or value < 0:
        raise Problem("bad-query", f"{name} is not a number of seconds")
    return min(value, high)


def if_match(request: web.Request) -> int | None:
    """Return the index that the caller insists on; None when any will do."""
    text = request.headers.get("If-Match", "*").strip()
    if text == "*":
        return None
    digits = text.removeprefix("W/").strip('"')
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise Problem("bad-header", f"If-Match is {text!a}; send the ETag that was read, or *")
    return int(digits)


def no_if_match(request: web.Request) -> None:
    """Refuse a condition that this resource could not keep."""
    if if_match(request) is not None:
        raise Problem("bad-header", "this resource has no version, so If-Match cannot be kept")


def command_id(request: web.Request) -> RequestId:
    """Return the request id of the command: the caller's Idempotency-Key, or a new one that is told back."""
    text = request.headers.get("Idempotency-Key", request[REQUEST_ID]).strip()
    if not REQUEST_ID_FORM.match(text):
        raise Problem(
            "bad-header",
            "the Idempotency-Key must be 1 to 64 letters, digits, '.', '_', ':' or '-'",
            hint="a random UUID will do",
        )
    request[KEY] = text
    return RequestId(text)


def digest_in_path(request: web.Request) -> Digest:
    """Return the digest that the path names."""
    text = request.match_info["digest"]
    if not DIGEST.match(text):
        raise Problem("bad-request", f"{text[:100]!a} is not a digest; it is `sha256:` and 64 hex digits")
    return Digest(text)


async def read_state(request: web.Request) -> State:
    """Return the state that the caller asked for: confirmed by a quorum, or stale when they said so.

    A stale one is labelled with its age, looked up first: the state may be younger than that, never older.
    """
    context = context_of(request)
    wish = request.query.get("consistency", "linearizable")
    if wish == "stale":
        age_s = context.replica.staleness_s
        request[READ_AGE_S] = math.inf if age_s is None else age_s
        state = context.replica.state
    elif wish == "linearizable":
        try:
            state = await context.replica.read(timeout_s=context.limits.read_timeout_s)
        except NoLeader as error:
            raise Problem(
                "no-leader",
                str(error),
                hint="try again; to see what this replica knows, add ?consistency=stale",
            ) from error
    else:
        raise Problem("bad-query", f"consistency is {wish!a}; it can be linearizable or stale")
    request[CONSISTENCY] = wish
    request[READ_INDEX] = state.index
    return state
