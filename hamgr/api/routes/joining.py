"""A machine joins: the one thing that a join token opens.

1. The token is redeemed by a command in the log, for the key of the machine; the same machine may ask again,
   and gets the same answer, so that a lost answer costs nothing.
2. Whatever can be refused is refused before the token is redeemed.
3. Wrong tokens do not reach the log, and are answered ever more rarely: `TRIES_MAX` at once, then one each
   `TRY_EVERY_S`.
"""

import asyncio
import time
from hashlib import sha256
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from hamgr.api import parse, peers, query
from hamgr.api.context import ApiContext, context_of
from hamgr.api.problems import Problem, of_rejected
from hamgr.api.routes.tokens import BY_HAND
from hamgr.config import ApiAddress, ReachableAddress, ReplicaUuid, api_url
from hamgr.raft.port import NotCommitted, OutcomeUnknown
from hamgr.raft.protocol.membership import BadConfiguration, ChangeRefused, Configuration, Member, ReplicaId
from hamgr.security.requests import BadRequest, fingerprint, key_of
from statemachine.cluster import tokens
from statemachine.cluster_commands import RedeemJoinToken
from statemachine.joining import JoinsAs
from statemachine.model import State
from statemachine.outcomes import Rejected
from statemachine.words import RequestId

TRIES_MAX = 10
TRY_EVERY_S = 6.0
SECRET_CHARS_MAX = 128
AGAIN = "give the same command again; it goes on from where things stand"


class JoinBody(parse.Body):
    """POST /v1/join; `request` is a certificate signing request in PEM form."""

    secret: Annotated[str, Field(min_length=1, max_length=SECRET_CHARS_MAX)]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
    replica: ReplicaUuid
    raft: ReachableAddress
    api: ApiAddress
    request: Annotated[str, Field(max_length=8 * 1024)]


class Tries:
    """How many tokens that nobody knows may be shown now; for one replica, whoever shows them."""

    def __init__(self) -> None:
        self._left = float(TRIES_MAX)
        self._at = time.monotonic()

    def take(self) -> None:
        """Count one, or raise the problem `too-many-tries` when there were too many."""
        now = time.monotonic()
        self._left = min(float(TRIES_MAX), self._left + (now - self._at) / TRY_EVERY_S)
        self._at = now
        if self._left < 1:
            raise Problem(
                "too-many-tries", "too many wrong join tokens were shown here", hint="wait, then try again"
            )
        self._left -= 1


TRIES: web.AppKey[Tries] = web.AppKey("tries", Tries)


async def show_authority(request: web.Request) -> web.Response:
    """Return the certificate of the cluster's authority; who joins compares it with the token."""
    query.allow(request)
    admission = context_of(request).admission
    if admission is None:
        raise Problem("no-authority", "the authority's key is not on this replica", hint=BY_HAND)
    return web.json_response({"authority": admission.certificate_pem.decode("ascii")})


async def join(request: web.Request) -> web.Response:
    """Let a replica join: redeem its token, sign its key, and have the log sent to it."""
    query.allow(request)
    context = context_of(request)
    if not context.replica.leadership.leads:
        leader = peers.leader_of(context)
        if leader is None or peers.FORWARDED in request.headers:
            raise Problem("no-leader", "only a leader can let a machine join, and there is none", hint=AGAIN)
        return await peers.hand_on(request, leader)
    body = await parse.read_body(request, JoinBody)
    if context.admission is None:
        raise Problem("no-authority", "the authority's key is not on the leader", hint=BY_HAND)
    try:
        key = key_of(body.request.encode())
    except BadRequest as error:
        raise Problem("bad-body", f"request: {error}") from error
    member = Member(id=ReplicaId(body.replica), name=body.name, raft=body.raft, api=api_url(body.api))
    await _redeem(request, body, fingerprint(key), member)
    await _take_in(context, member)
    certificate = context.admission.sign(key, body.name, body.replica)
    told = await asyncio.to_thread(context.admission.dowry)
    return web.json_response(
        {**told, "certificate": certificate.decode("ascii"), "members": _members(context, member)}
    )


async def _redeem(request: web.Request, body: JoinBody, key: str, member: Member) -> None:
    """Redeem the token; one that is not known costs a try, and does not reach the log."""
    context = context_of(request)
    secret = sha256(body.secret.encode()).hexdigest()
    if not _is_known(context.replica.state, secret):
        request.app[TRIES].take()
        if not _is_known(await query.read_state(request), secret):
            raise Problem("not-allowed", "the join token is none of this cluster's", hint=tokens.ANOTHER)
    _check_place(context.members.configuration, member)
    command = RedeemJoinToken(
        request_id=RequestId(context.new_request_id()),
        at=context.clock.now(),
        actor=f"replica {body.name}",
        sha256=secret,
        joins_as=JoinsAs.REPLICA,
        name=body.name,
        key=key,
        replica=body.replica,
    )
    try:
        outcome = await context.replica.propose(command, timeout_s=context.limits.propose_timeout_s)
    except OutcomeUnknown as error:
        raise Problem("outcome-unknown", str(error), hint=AGAIN) from error
    except NotCommitted as error:
        raise Problem("not-committed", str(error), hint=AGAIN) from error
    if isinstance(outcome, Rejected):
        raise of_rejected(outcome)


def _is_known(state: State, secret: str) -> bool:
    return any(token.sha256 == secret for token in state.join_tokens.values())


def _check_place(configuration: Configuration, member: Member) -> None:
    """Refuse a replica that has another one's name, id or address."""
    if member in configuration.members:
        return
    try:
        configuration.with_learner(member)
    except BadConfiguration as error:
        raise Problem(
            "replica-exists",
            f"{member.name} cannot join: {error}",
            hint="choose another name or address, or remove the other one: `hamgr replica remove NAME`",
            offenders=[member.name],
        ) from error


async def _take_in(context: ApiContext, member: Member) -> None:
    """Have the log sent to `member`, which counts for nothing yet."""
    if member in context.members.configuration.members:
        return
    try:
        await context.members.add_learner(member, timeout_s=context.limits.propose_timeout_s)
    except ChangeRefused as error:
        raise Problem("change-refused", str(error), hint=AGAIN) from error
    except NotCommitted as error:
        raise Problem("not-committed", str(error), hint=AGAIN) from error
    except OutcomeUnknown as error:
        raise Problem("outcome-unknown", str(error), hint=AGAIN) from error


def _members(context: ApiContext, without: Member) -> list[dict[str, Any]]:
    return [
        {"id": one.id, "name": one.name, "raft": one.raft, "api": one.api.removeprefix("http://")}
        for one in context.members.configuration.members
        if one.id != without.id
    ]
