"""Join tokens: made, listed, revoked. The secret is made by whoever asks; the cluster gets its hash only."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from hamgr.api import parse, proposals, query
from hamgr.api.context import ApiContext, context_of
from hamgr.api.problems import Problem
from hamgr.api.strategies import Duration
from hamgr.security.join_token import URLS_MAX, Invitation
from statemachine.cluster import tokens
from statemachine.cluster_commands import MakeJoinToken, RevokeJoinToken
from statemachine.joining import JoinsAs, JoinToken

BY_HAND = "give the replicas `tls.authority_key`, or make certificates: `hamgrd make-certificates`"


class TokenBody(parse.Body):
    """POST /v1/tokens"""

    joins_as: Annotated[JoinsAs, Field(alias="for", strict=False)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    ttl_s: Duration = 3600.0
    name: parse.Name = ""


async def list_tokens(request: web.Request) -> web.Response:
    """Return the join tokens, the newest first; none of them can be used by who reads this."""
    query.allow(request, "consistency")
    state = await query.read_state(request)
    now = context_of(request).clock.now()
    items = [_line(token, now) for token in reversed(list(state.join_tokens.values()))]
    return web.json_response({"items": items, "total": len(items), "index": state.index})


async def make_token(request: web.Request) -> web.Response:
    """Keep the hash of a token; answers the token's public part, to which `.SECRET` is to be added."""
    query.allow(request, "dry_run", "consistency")
    body = await parse.read_body(request, TokenBody)
    context = context_of(request)
    if context.admission is None:
        raise Problem("no-authority", "the authority's key is not on this replica", hint=BY_HAND)
    at = context.clock.now()
    command = proposals.make(
        request,
        MakeJoinToken,
        sha256=body.sha256,
        joins_as=body.joins_as,
        expires_at=at + body.ttl_s,
        name=body.name,
    )
    accepted = await proposals.submit(request, command)
    invitation = Invitation(
        authority=context.admission.fingerprint, joins_as=body.joins_as.value, urls=_urls(context)
    )
    view = {
        "id": accepted.ref,
        "public": invitation.public(),
        "expires_at": command.expires_at,
        "index": accepted.index,
    }
    return web.json_response(view, status=201, headers={"Location": f"/v1/tokens/{accepted.ref}"})


async def revoke_token(request: web.Request) -> web.Response:
    """Take a token back that was not used."""
    query.allow(request, "dry_run", "consistency")
    command = proposals.make(request, RevokeJoinToken, token=request.match_info["token"])
    return proposals.answer(request, await proposals.submit(request, command))


def _urls(context: ApiContext) -> list[str]:
    found = [context.api, *(peer.api for peer in context.replica.peers)]
    return [url for url in dict.fromkeys(found) if url][:URLS_MAX]


def _line(token: JoinToken, now: float) -> dict[str, Any]:
    if token.used_at:
        state = "used"
    elif token.revoked:
        state = "revoked"
    else:
        state = "expired" if tokens.ended(token, now) else "waiting"
    return {
        "id": token.id,
        "for": token.joins_as.value,
        "name": token.name or None,
        "state": state,
        "actor": token.actor,
        "made_at": token.made_at,
        "expires_at": token.expires_at,
        "used_at": token.used_at or None,
        "joined": token.joined or None,
    }
