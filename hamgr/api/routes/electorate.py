"""What operators wish of the replicas: how many vote and which, failure domains, planned absence.

A wish is a command in the log, and holds for later leaders, too. Where it lowers what may be lost, the dry
run tells what is survived before and after.
"""

from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from hamgr.api import parse, proposals, query
from hamgr.api.context import context_of
from hamgr.api.problems import Problem
from hamgr.api.routes import replicas
from hamgr.raft.protocol.membership import Configuration
from statemachine.cluster_commands import SetElectorate, SetReplica
from statemachine.electorate import DOMAIN_CHARS_MAX, REST_S_MAX


class ElectorateBody(parse.Body):
    """PUT /v1/electorate"""

    target: Literal[1, 3, 5, 7]


class ReplicaPatch(parse.Body):
    """PATCH /v1/replicas/R; what is left out stays, an empty `domain` is none, a `rest_s` of 0 ends it."""

    domain: Annotated[parse.Line, Field(max_length=DOMAIN_CHARS_MAX)] | None = None
    rest_s: Annotated[float, Field(ge=0, le=REST_S_MAX, strict=False)] | None = None
    rest_reason: parse.Line | None = None


async def put_electorate(request: web.Request) -> web.Response:
    """Say how many replicas should vote; the autopilot brings it about, one by one."""
    query.allow(request, "dry_run")
    handed_on = await replicas.by_leader(request)
    if handed_on is not None:
        return handed_on
    context = context_of(request)
    body = await parse.read_body(request, ElectorateBody)
    configuration = context.members.configuration
    others = [voter for voter in configuration.voters if voter.name != context.name]
    others.sort(key=lambda voter: voter.name)
    kept = [voter for voter in configuration.voters if voter.name == context.name] + others
    after = Configuration(tuple(kept[: body.target]), configuration.learners + tuple(kept[body.target :]))
    told = {
        "target": body.target,
        "before": replicas.quorum(context, configuration),
        "after": replicas.quorum(context, after),
        "dry_run": query.flag(request, "dry_run"),
    }
    await proposals.submit(request, proposals.make(request, SetElectorate, target=body.target))
    return web.json_response(told)


async def patch_replica(request: web.Request) -> web.Response:
    """Say in which failure domain a replica is, or until when its absence is planned."""
    query.allow(request, "dry_run")
    name = replicas.name_in_path(request)
    context = context_of(request)
    replicas.member_called(context.members.configuration, name)
    body = await parse.read_body(request, ReplicaPatch)
    rest_until = None
    if body.rest_s is not None:
        rest_until = context.clock.now() + body.rest_s if body.rest_s else 0.0
    reason = "" if rest_until == 0.0 else body.rest_reason
    command = proposals.make(
        request, SetReplica, name=name, domain=body.domain, rest_until=rest_until, rest_reason=reason
    )
    return proposals.answer(request, await proposals.submit(request, command))


async def promote(request: web.Request) -> web.Response:
    """Give a standby a vote, and let it have one from now on."""
    query.allow(request, "dry_run")
    name = replicas.name_in_path(request)
    handed_on = await replicas.by_leader(request)
    if handed_on is not None:
        return handed_on
    context = context_of(request)
    await replicas.settled(context)
    configuration = context.members.configuration
    member = replicas.member_called(configuration, name)
    target, count = context.replica.state.electorate.target, len(configuration.voters)
    is_voter = member in configuration.voters
    if not is_voter and context.autopilot is not None and count >= target:
        raise Problem(
            "change-refused",
            f"{count} replicas vote, and {target} should: the autopilot would take a vote back",
            hint="`hamgr replica target N` for more, or `hamgr replica demote` another one first",
            offenders=[name],
        )
    await proposals.submit(request, proposals.make(request, SetReplica, name=name, standby=False))
    dry_run = query.flag(request, "dry_run")
    if not is_voter and not dry_run:
        with replicas.problems(context):
            await context.members.promote(member.id, timeout_s=context.limits.propose_timeout_s)
    after = configuration if is_voter else configuration.promoted(member.id)
    return _changed(request, name, configuration, after)


async def demote(request: web.Request) -> web.Response:
    """Make a voter a standby that stays one; a leader hands leadership over first."""
    query.allow(request, "dry_run")
    name = replicas.name_in_path(request)
    handed_on = await replicas.by_leader(request)
    if handed_on is not None:
        return handed_on
    context = context_of(request)
    await replicas.settled(context)
    configuration = context.members.configuration
    member = replicas.member_called(configuration, name)
    is_voter = member in configuration.voters
    after = configuration.demoted(member.id) if is_voter else configuration
    if not after.voters:
        raise Problem("change-refused", f"{name} is the last voter; a cluster needs one", offenders=[name])
    found = replicas.quorum(context, after)
    if is_voter and found["connected"] < found["needed"]:
        raise Problem(
            "quorum-at-risk",
            f"without {name}, {found['sentence']}",
            hint="bring another replica back first",
            offenders=[name],
        )
    dry_run = query.flag(request, "dry_run")
    if is_voter and name == context.name and not dry_run:
        return await replicas.leave_to_successor(request)
    await proposals.submit(request, proposals.make(request, SetReplica, name=name, standby=True))
    if is_voter and not dry_run:
        with replicas.problems(context):
            await context.members.demote(member.id, timeout_s=context.limits.propose_timeout_s)
    return _changed(request, name, configuration, after)


def _changed(request: web.Request, name: str, before: Configuration, after: Configuration) -> web.Response:
    context = context_of(request)
    return web.json_response(
        {
            "name": name,
            "role": "voter" if name in {voter.name for voter in after.voters} else "learner",
            "dry_run": query.flag(request, "dry_run"),
            "before": replicas.quorum(context, before),
            "after": replicas.quorum(context, after),
        }
    )
