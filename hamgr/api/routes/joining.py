"""A machine joins: the one thing that a join token opens.

1. The token is redeemed by a command in the log, for the key of the machine; the same machine may ask again,
   and gets the same answer, so that a lost answer costs nothing.
2. Whatever can be refused is refused before the token is redeemed.
3. Wrong tokens are answered ever more rarely: `TRIES_MAX` at once, then one each `TRY_EVERY_S`.
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
from statemachine.cluster_commands import RedeemJoinToken
from statemachine.joining import JoinsAs
from statemachine.outcomes import Reason, Rejected
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
    """How many wrong tokens may be shown now; for one replica, whoever shows them."""

    def __init__(self) -> None:
        self._left = float(TRIES_MAX)
        self._at = time.monotonic()

    def check(self) -> None:
        """Raise the problem `too-many-tries` when there were too many."""
        now = time.monotonic()
        self._left = min(float(TRIES_MAX), self._left + (now - self._at) / TRY_EVERY_S)
        self._at = now
        if self._left < 1:
            raise Problem(
                "too-many-tries", "too many wrong join tokens were shown here", hint="wait, then try again"
            )

    def wrong(self) -> None:
        """Count a wrong one."""
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
    context, tries = context_of(request), request.app[TRIES]
    tries.check()
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
    await _redeem(context, body, fingerprint(key), tries, member)
    await _take_in(context, member)
    certificate = context.admission.sign(key, body.name, body.replica)
    told = await asyncio.to_thread(context.admission.dowry)
    return web.json_response(
        {**told, "certificate": certificate.decode("ascii"), "members": _members(context, member)}
    )


async def _redeem(context: ApiContext, body: JoinBody, key: str, tries: Tries, member: Member) -> None:
    """Redeem the token; a wrong one costs a try, and one that could not be used anyway is not redeemed."""
    command = RedeemJoinToken(
        request_id=RequestId(context.new_request_id()),
        at=context.clock.now(),
        actor=f"replica {body.name}",
        sha256=sha256(body.secret.encode()).hexdigest(),
        joins_as=JoinsAs.REPLICA,
        name=body.name,
        key=key,
        replica=body.replica,
    )
    if all(token.sha256 != command.sha256 for token in context.replica.state.join_tokens.values()):
        tries.wrong()  # the log decides; this only counts
    else:
        _check_place(context.members.configuration, member)
    try:
        outcome = await context.replica.propose(command, timeout_s=context.limits.propose_timeout_s)
    except OutcomeUnknown as error:
        raise Problem("outcome-unknown", str(error), hint=AGAIN) from error
    except NotCommitted as error:
        raise Problem("not-committed", str(error), hint=AGAIN) from error
    if isinstance(outcome, Rejected):
        if outcome.reason is Reason.NOT_ALLOWED:
            tries.wrong()
        raise of_rejected(outcome)


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
