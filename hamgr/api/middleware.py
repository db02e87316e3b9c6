"""Around every handler: an id for the request, headers for every answer, and a problem for every error."""

import logging
import math
from collections.abc import Awaitable, Callable
from difflib import get_close_matches

from aiohttp import web

from hamgr.api import auth
from hamgr.api.context import context_of
from hamgr.api.problems import KINDS, Problem

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
KEY: web.RequestKey[str] = web.RequestKey("idempotency_key", str)
"""The request id of the command that the request became; told to the caller, who may repeat it."""
STREAMING: web.RequestKey[bool] = web.RequestKey("streaming", bool)
READ_INDEX: web.RequestKey[int] = web.RequestKey("read_index", int)
CONSISTENCY: web.RequestKey[str] = web.RequestKey("consistency", str)
READ_AGE_S: web.RequestKey[float] = web.RequestKey("read_age_s", float)
"""There for stale reads only; infinite when nobody knows."""

log = logging.getLogger(__name__)

_CODE_OF_STATUS = {413: "too-large", 415: "wrong-type"}


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id and see that whatever goes wrong is answered as a problem."""
    request[REQUEST_ID] = context_of(request).new_request_id()
    try:
        auth.check(request)
        return await _answer_here(request, handler)
    except Problem as problem:
        return problem.response(request[REQUEST_ID])
    except web.HTTPException as error:
        return _of_http(request, error).response(request[REQUEST_ID])
    except ConnectionError:
        # The caller is gone, or must come back: what it has of an answer is cut, never completed.
        if request.transport is not None:
            request.transport.abort()
        return web.Response()
    except Exception:  # the second of the two supervisors: one broken request must not end the replica
        log.exception("request %s failed: %s %s", request[REQUEST_ID], request.method, request.path)
        if request.get(STREAMING) and request.transport is not None:
            request.transport.close()  # in the middle of a stream, an answer would be read as its content
        return Problem(
            "internal",
            "hamgr met a bug while it answered this",
            hint=f"report it with the replica's log lines that name {request[REQUEST_ID]}",
        ).response(request[REQUEST_ID])


async def _answer_here(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer when this replica holds the address that was asked; else raise `ConnectionAbortedError`."""
    vip, transport = context_of(request).vip, request.transport
    if vip is None or transport is None:
        return await handler(request)
    local = (transport.get_extra_info("sockname") or ("",))[0]
    vip.check(local)
    answer = await handler(request)
    vip.check(local)  # it may be gone: the machine may have stood still meanwhile
    return answer


def _of_http(request: web.Request, error: web.HTTPException) -> Problem:
    """Return the problem for what aiohttp itself refused."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(
            "wrong-method", f"{request.method} is not possible here; {allowed} is", headers={"Allow": allowed}
        )
    if error.status == 404:
        return Problem("no-such-route", f"there is nothing at {request.path}", hint=_route_hint(request))
    code = _CODE_OF_STATUS.get(error.status, "bad-request")
    return Problem(code, error.text or KINDS[code].title)


def _route_hint(request: web.Request) -> str:
    known = {
        resource.canonical.replace("{", "").replace("}", "") for resource in request.app.router.resources()
    }
    close = get_close_matches(request.path, sorted(known), n=1)
    return f"did you mean {close[0]}?" if close else "everything is below /v1"


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put on every answer, streams included, what a caller needs to go on."""
    context = context_of(request)
    response.headers["Server"] = "hamgr"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Request-Id"] = request.get(REQUEST_ID, "")
    response.headers["X-Hamgr-Leader"] = context.replica.leadership.leader
    if request.path not in auth.OPEN_PATHS and response.status != 401:
        response.headers["X-Hamgr-Replica"] = context.name
        response.headers["X-Hamgr-Peers"] = ",".join(peer.api for peer in context.replica.peers if peer.api)
    if KEY in request:
        response.headers["Idempotency-Key"] = request[KEY]
    if CONSISTENCY in request:
        response.headers["X-Hamgr-Consistency"] = request[CONSISTENCY]
        response.headers["X-Hamgr-Index"] = str(request[READ_INDEX])
    if READ_AGE_S in request:
        age_s = request[READ_AGE_S]
        response.headers["X-Hamgr-Age"] = f"{age_s:.3f}" if math.isfinite(age_s) else "unknown"
