"""A machine says that it is there, with a join token: the one thing that a node's token opens.

1. Who has no token that is good costs the log nothing: that is told from this replica's own state.
2. A machine that is known, at the same address, and reachable, costs the log nothing either.
3. At most `PER_S` announcements a second are looked at here, after a burst of `BURST`.
"""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from typing import Annotated

from aiohttp import web
from pydantic import Field

from hamgr.api import parse, query
from hamgr.api.context import CONTEXT, ApiContext, context_of
from hamgr.api.parse import Address, Body, Port, User
from hamgr.api.problems import Problem, of_rejected
from hamgr.api.proposals import AGAIN
from hamgr.discovery.announcements import Announcements, Full, Machine
from hamgr.discovery.bucket import Bucket
from hamgr.raft.port import NotCommitted, OutcomeUnknown
from statemachine.cluster.tokens import ID_CHARS
from statemachine.cluster_commands import RedeemJoinToken
from statemachine.joining import JoinsAs, JoinToken
from statemachine.model import Endpoint, Node, State
from statemachine.outcomes import Rejected
from statemachine.words import Presence, RequestId

PER_S, BURST = 50.0, 200
SECRET_CHARS_MAX = 128

ANNOUNCEMENTS: web.AppKey[Announcements] = web.AppKey("announcements", Announcements)
BUCKET: web.AppKey[Bucket] = web.AppKey("announcements-bucket", Bucket)


class AnnounceBody(Body):
    """POST /v1/announce; without `address`, the machine is where the request came from."""

    secret: Annotated[str, Field(min_length=1, max_length=SECRET_CHARS_MAX)]
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
    machine_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    host_key: Annotated[str, Field(pattern=r"^[a-z0-9@.-]{1,64} [A-Za-z0-9+/=]{16,4096}$")]
    address: Address | None = None
    port: Port = 22
    user: User = "root"


async def announcing(app: web.Application) -> AsyncIterator[None]:
    """Keep what announcements share for as long as the application runs."""
    context = app[CONTEXT]
    app[BUCKET] = Bucket(per_s=PER_S, burst=BURST)
    app[ANNOUNCEMENTS] = Announcements(
        replica=context.replica, clock=context.clock, new_request_id=context.new_request_id
    )
    yield
    await app[ANNOUNCEMENTS].close()


async def announce(request: web.Request) -> web.Response:
    """Have the machine that calls be discovered, and answer the job; or say that it is known already."""
    query.allow(request)
    if request.app[BUCKET].take(asyncio.get_running_loop().time()):
        raise _too_many()
    body = await parse.read_body(request, AnnounceBody)
    context = context_of(request)
    token = _token(context.replica.state, body.secret)
    endpoint = Endpoint(address=body.address or request.remote or "", port=body.port, user=body.user)
    known = _known(context.replica.state, body)
    key = hashlib.sha256(body.host_key.encode()).hexdigest()
    if token.key != key or (known is None and context.clock.now() >= token.expires_at):
        await _redeem(context, body, key)
    if known is not None and known.endpoint == endpoint and known.presence is Presence.REACHABLE:
        return web.json_response({"node": known.name, "status": known.status, "job": None})
    machine = Machine(body.machine_id, body.host_key, endpoint)
    try:
        job = await request.app[ANNOUNCEMENTS].add(machine)
    except Full as error:
        raise _too_many() from error
    except OutcomeUnknown as error:
        raise Problem("outcome-unknown", str(error), hint=AGAIN) from error
    except NotCommitted as error:
        raise Problem("not-committed", str(error), hint=AGAIN) from error
    view = {"node": known.name if known else None, "status": known.status if known else None, "job": job}
    return web.json_response(view, status=202, headers={"Location": f"/v1/jobs/{job}"})


def _too_many() -> Problem:
    return Problem(
        "too-many-announcements",
        "more machines announce themselves than can be looked at",
        hint="wait a little, then announce again",
    )


def _token(state: State, secret: str) -> JoinToken:
    """Return the token that `secret` is; raises the problem `not-allowed` when it is none for a node."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    token = state.join_tokens.get(digest[:ID_CHARS])
    if token is None or not hmac.compare_digest(token.sha256, digest) or token.joins_as is not JoinsAs.NODE:
        raise Problem(
            "not-allowed",
            "the join token is none of this cluster's for a node",
            hint="make one: `hamgr token create --for node`",
        )
    return token


def _known(state: State, body: AnnounceBody) -> Node | None:
    return next(
        (
            node
            for node in state.nodes.values()
            if node.machine_id == body.machine_id and node.host_key == body.host_key
        ),
        None,
    )


async def _redeem(context: ApiContext, body: AnnounceBody, key: str) -> None:
    """Use the token up for this machine; a machine that used it before may come again."""
    command = RedeemJoinToken(
        request_id=RequestId(context.new_request_id()),
        at=context.clock.now(),
        actor=f"node {body.name}",
        sha256=hashlib.sha256(body.secret.encode()).hexdigest(),
        joins_as=JoinsAs.NODE,
        name=body.name,
        key=key,
    )
    try:
        outcome = await context.replica.propose(command, timeout_s=context.limits.propose_timeout_s)
    except OutcomeUnknown as error:
        raise Problem("outcome-unknown", str(error), hint=AGAIN) from error
    except NotCommitted as error:
        raise Problem("not-committed", str(error), hint=AGAIN) from error
    if isinstance(outcome, Rejected):
        raise of_rejected(outcome)
