"""Rules for join tokens: single use, expiring, bound to what they are for.

1. The log has only the hash of a token, so that whoever reads log, snapshot or backup can join nothing.
2. A token is redeemed by the first machine that shows it, for that machine's key. The same key gets the same
   answer as often as it asks until the token expires: its first answer may have been lost.
3. Whether a token has expired is decided by the proposer's time, as all times are.
"""

import re

from statemachine import words
from statemachine.cluster_commands import MakeJoinToken, RedeemJoinToken, RevokeJoinToken
from statemachine.copying import replace
from statemachine.draft import Draft
from statemachine.joining import JOIN_TOKENS_MAX, JOIN_TTL_S_MAX, JoinsAs, JoinToken
from statemachine.nodes.inventory import invalid
from statemachine.outcomes import Accepted, Outcome, Reason, Rejected

ID_CHARS = 12
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_REPLICA = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}\Z")
_REPLICA_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}\Z")
ANOTHER = "make another one: `hamgr token create`"


def obey(draft: Draft, command: MakeJoinToken | RevokeJoinToken | RedeemJoinToken) -> Outcome:
    match command:
        case MakeJoinToken():
            return make(draft, command)
        case RevokeJoinToken():
            return revoke(draft, command)
        case RedeemJoinToken():
            return redeem(draft, command)


def no_such_token(token: str) -> Rejected:
    """Return the refusal for a token that is not known."""
    return Rejected(
        reason=Reason.NO_SUCH_TOKEN,
        message=f"no such join token: {token}",
        offenders=(token,),
        hint="`hamgr token ls` lists them",
    )


def ended(token: JoinToken, at: float) -> bool:
    """Return whether nobody can join with it any more."""
    return token.revoked or token.used_at > 0 or at >= token.expires_at


def make(draft: Draft, command: MakeJoinToken) -> Outcome:
    if not _SHA256.match(command.sha256):
        return invalid("sha256 is not the SHA-256 of a secret in hexadecimal")
    if not 0 < command.expires_at - command.at <= JOIN_TTL_S_MAX:
        return invalid(f"a join token is good for more than 0 s and at most {JOIN_TTL_S_MAX:.0f} s")
    if command.name and not _fits(command.joins_as, command.name):
        return invalid(f"{command.name!r} cannot be a {command.joins_as}'s name", command.name)
    token = command.sha256[:ID_CHARS]
    known = draft.before.join_tokens
    if token in known:
        return invalid(f"the join token {token} was made before", token, hint="make a new secret for each")
    kept = dict(known)
    for one in known.values():
        if len(kept) >= JOIN_TOKENS_MAX and ended(one, command.at):
            del kept[one.id]
    if len(kept) >= JOIN_TOKENS_MAX:
        return Rejected(
            reason=Reason.LIMIT,
            message=f"{len(kept)} join tokens wait to be used; more than {JOIN_TOKENS_MAX} are too many",
            hint="revoke some: `hamgr token revoke ID`",
        )
    kept[token] = JoinToken(
        id=token,
        sha256=command.sha256,
        joins_as=command.joins_as,
        name=command.name,
        actor=command.actor,
        made_at=command.at,
        expires_at=command.expires_at,
        index=draft.index,
    )
    draft.set(join_tokens=kept)
    whom = f"the {command.joins_as} {command.name}" if command.name else f"a {command.joins_as}"
    draft.event("token.made", token, f"a token by which {whom} may join, once")
    return Accepted(index=draft.index, ref=token)


def revoke(draft: Draft, command: RevokeJoinToken) -> Outcome:
    token = draft.before.join_tokens.get(command.token)
    if token is None:
        return no_such_token(command.token)
    if token.used_at:
        return Rejected(
            reason=Reason.WRONG_STATUS,
            message=f"{token.joined} has joined with the token {token.id} already",
            offenders=(token.id,),
            hint=f"`hamgr replica remove {token.joined}`, if it must not take part",
        )
    if not token.revoked:
        _keep(draft, replace(token, revoked=True, index=draft.index))
        draft.event("token.revoked", token.id, f"nothing can join with the token {token.id}")
    return Accepted(index=draft.index, ref=token.id)


def redeem(draft: Draft, command: RedeemJoinToken) -> Outcome:
    if not _SHA256.match(command.key) or not _fits(command.joins_as, command.name):
        return invalid(f"{command.name!a:.80} cannot join: its name or its key is none", command.name)
    if (command.joins_as is JoinsAs.REPLICA) != bool(_REPLICA.match(command.replica)):
        return invalid(f"{command.replica!a:.80} cannot be the id of a {command.joins_as}", command.name)
    token = draft.before.join_tokens.get(command.sha256[:ID_CHARS])
    if token is None or token.sha256 != command.sha256:
        return Rejected(
            reason=Reason.NOT_ALLOWED, message="the join token is none of this cluster's", hint=ANOTHER
        )
    if why := _refusal(token, command):
        return Rejected(
            reason=Reason.NOT_ALLOWED,
            message=f"the join token {token.id} {why}",
            offenders=(token.id,),
            hint=ANOTHER,
        )
    if not token.used_at:
        _keep(
            draft,
            replace(
                token,
                used_at=max(command.at, 1e-6),
                key=command.key,
                joined=command.name,
                replica=command.replica,
                index=draft.index,
            ),
        )
        draft.event(
            "token.used", token.id, f"the {token.joins_as} {command.name} joins with the token {token.id}"
        )
    return Accepted(index=draft.index, ref=token.id)


def _refusal(token: JoinToken, command: RedeemJoinToken) -> str:
    if token.revoked:
        return "was revoked"
    if token.used_at and (token.key, token.joined, token.replica) != (
        command.key,
        command.name,
        command.replica,
    ):
        return f"was used already: {token.joined} has joined with it"
    if command.at >= token.expires_at:
        return f"expired {command.at - token.expires_at:.0f} s ago"
    if token.joins_as is not command.joins_as:
        return f"is for a {token.joins_as}, not for a {command.joins_as}"
    if token.name and token.name != command.name:
        return f"is for {token.name}, not for {command.name}"
    return ""


def _keep(draft: Draft, token: JoinToken) -> None:
    draft.set(join_tokens={**draft.before.join_tokens, token.id: token})


def _fits(joins_as: JoinsAs, name: str) -> bool:
    return bool((_REPLICA_NAME if joins_as is JoinsAs.REPLICA else words.NODE_NAME).match(name))
