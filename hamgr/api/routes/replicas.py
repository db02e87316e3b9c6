"""Who belongs to the cluster: list the replicas, add and remove them, and choose who leads.

1. Only the leader knows how far the others are, and only it changes the members; another replica hands the
   request on to it.
2. Every request can be repeated, and goes on from where things stand.
3. A removal after which the connected voters are no majority is refused, unless it is forced: it could not
   be taken back.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from hamgr.api import cluster, losses, parse, peers, query
from hamgr.api.context import ApiContext, context_of
from hamgr.api.problems import Problem
from hamgr.config import NAME, api_url
from hamgr.raft.port import LAG_ENTRIES_MAX, NotCommitted, OutcomeUnknown
from hamgr.raft.protocol.membership import BadConfiguration, ChangeRefused, Configuration, Member, ReplicaId
from statemachine.electorate import ReplicaWish

JOIN_WAIT_S = 2.0
"""How long one request to add a replica waits for it to catch up."""
LEADER_WAIT_S = 2.0
POLL_S = 0.05
AGAIN = "send it again: it goes on from where things stand; GET /v1/replicas shows that"


async def list_replicas(request: web.Request) -> web.Response:
    """Tell who belongs to the cluster and how far each is; the leader's view unless a stale one will do."""
    query.allow(request, "consistency")
    if request.query.get("consistency", "linearizable") == "linearizable":
        handed_on = await by_leader(request)
        if handed_on is not None:
            return handed_on
    await query.read_state(request)
    context = context_of(request)
    leadership, configuration = context.replica.leadership, context.members.configuration
    members = sorted(configuration.members, key=lambda member: member.name)
    return web.json_response(
        {
            "items": [_view(context, member) for member in members],
            "leader": leadership.leader or None,
            "term": leadership.term,
            "quorum": quorum(context, configuration),
            "target": context.replica.state.electorate.target,
            "fencing": {"armed": configuration.armed},
        }
    )


async def put_replica(request: web.Request) -> web.Response:
    """Add a replica as a learner, and make it a voter when it has caught up; 202 as long as it has not.

    It stands by where as many vote as should: the autopilot would take its vote back.
    """
    query.allow(request)
    name = name_in_path(request)
    handed_on = await by_leader(request)
    if handed_on is not None:
        return handed_on
    context = context_of(request)
    await settled(context)
    body = await parse.read_body(request, parse.ReplicaBody)
    member = Member(id=ReplicaId(body.id), name=name, raft=body.raft, api=api_url(body.api))
    limit_s = context.limits.propose_timeout_s
    configuration = context.members.configuration
    if member not in configuration.members:
        _check_addition(configuration, member)
        with problems(context):
            await context.members.add_learner(member, timeout_s=limit_s)
    if member not in context.members.configuration.voters:
        if not await _caught_up(context, member):
            return web.json_response(_view(context, member), status=202)
        voters = context.members.configuration.voters
        if context.autopilot is not None and len(voters) >= context.replica.state.electorate.target:
            return web.json_response(_view(context, member))
        with problems(context):
            await context.members.promote(member.id, timeout_s=limit_s)
    return web.json_response(_view(context, member))


async def remove_replica(request: web.Request) -> web.Response:
    """Remove a replica; a leader hands leadership over first, and its successor removes it."""
    query.allow(request, "id", "force", "dry_run")
    force, dry_run = query.flag(request, "force"), query.flag(request, "dry_run")
    name = name_in_path(request)
    handed_on = await by_leader(request)
    if handed_on is not None:
        return handed_on
    context = context_of(request)
    await settled(context)
    configuration = context.members.configuration
    member = member_called(configuration, name)
    if request.query.get("id", member.id) != member.id:
        raise Problem("changed", f"replica {name} is {member.id} now; nothing was removed", offenders=[name])
    after = configuration.without(member.id)
    quorums = {"before": quorum(context, configuration), "after": quorum(context, after)}
    if not after.voters:
        raise Problem("change-refused", f"{name} is the last voter; a cluster needs one", offenders=[name])
    if quorums["after"]["connected"] < quorums["after"]["needed"] and not force:
        raise Problem(
            "quorum-at-risk",
            f"without {name}, {quorums['after']['sentence']}",
            hint="bring another replica back first; `force` removes it all the same, and cannot be undone",
            offenders=[name],
        )
    if not dry_run:
        if name == context.name:
            return await leave_to_successor(request)
        with problems(context):
            await context.members.remove(member.id, timeout_s=context.limits.propose_timeout_s)
    return web.json_response({"id": member.id, "name": name, "dry_run": dry_run, **quorums})


async def lead(request: web.Request) -> web.Response:
    """Hand leadership to a replica; tells who leads then."""
    query.allow(request)
    name = name_in_path(request)
    handed_on = await by_leader(request)
    if handed_on is not None:
        return handed_on
    context = context_of(request)
    member = member_called(context.members.configuration, name)
    if name != context.name:
        if member not in context.members.configuration.voters:
            raise Problem("change-refused", f"{name} is a learner and cannot lead", offenders=[name])
        if not _is_connected(context, member):
            raise Problem("change-refused", f"{name} is not connected and cannot lead", offenders=[name])
        with problems(context):
            await context.members.transfer(member.id, timeout_s=context.limits.propose_timeout_s)
        await _successor(context)
    leadership = context.replica.leadership
    return web.json_response({"leader": leadership.leader or None, "term": leadership.term})


async def by_leader(request: web.Request) -> web.Response | None:
    """Return the leader's answer to the request; None when this replica leads itself."""
    context = context_of(request)
    if context.replica.leadership.leads:
        return None
    leader = peers.leader_of(context)
    if leader is None or peers.FORWARDED in request.headers:
        raise Problem("no-leader", "only the leader knows the members, and there is none now", hint=AGAIN)
    return await peers.hand_on(request, leader)


async def leave_to_successor(request: web.Request) -> web.Response:
    context = context_of(request)
    with problems(context):
        await context.members.transfer(None, timeout_s=context.limits.propose_timeout_s)
    await _successor(context)
    leader = peers.leader_of(context)
    if leader is None:
        raise Problem("no-leader", f"{context.name} gave leadership up, and nobody leads yet", hint=AGAIN)
    return await peers.hand_on(request, leader)


async def _successor(context: ApiContext) -> None:
    """Wait until somebody is known to lead, for a while."""
    replica = context.replica
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LEADER_WAIT_S):
            version = replica.version
            while not replica.leadership.leader:
                version = await replica.changed(version)


async def settled(context: ApiContext) -> None:
    """Wait until the members in force are committed: before that they may be the earlier ones again."""
    deadline = time.monotonic() + context.limits.propose_timeout_s
    while not context.members.settled:
        if time.monotonic() > deadline or not context.replica.leadership.leads:
            raise Problem("outcome-unknown", "a change of the members is not committed yet", hint=AGAIN)
        await asyncio.sleep(POLL_S)


async def _caught_up(context: ApiContext, member: Member) -> bool:
    """Say whether a learner has nearly all of the log, after waiting for that a while."""
    deadline = time.monotonic() + JOIN_WAIT_S
    while not _view(context, member)["caught_up"]:
        if time.monotonic() > deadline or not context.replica.leadership.leads:
            return False
        await asyncio.sleep(POLL_S)
    return True


@contextlib.contextmanager
def problems(context: ApiContext) -> Iterator[None]:
    """Make what goes wrong with a change a problem."""
    try:
        yield
    except ChangeRefused as error:
        if context.replica.leadership.leads:
            raise Problem("change-refused", str(error)) from error
        raise Problem("outcome-unknown", f"leadership moved: {error}", hint=AGAIN) from error
    except NotCommitted as error:
        raise Problem("not-committed", str(error), hint=AGAIN) from error
    except OutcomeUnknown as error:
        raise Problem("outcome-unknown", str(error), hint=AGAIN) from error


def _check_addition(configuration: Configuration, member: Member) -> None:
    """Refuse a replica that has another one's name, id or address, or is a voter with other addresses."""
    if any(voter.id == member.id for voter in configuration.voters):
        hint = "to change its name or addresses, remove it and add it as a new one"
        raise Problem("replica-exists", f"{member.id} is a voter already", hint=hint, offenders=[member.name])
    try:
        configuration.with_learner(member)
    except BadConfiguration as error:
        raise Problem(
            "replica-exists",
            f"{member.name} cannot be added: {error}",
            hint=f"DELETE /v1/replicas/{member.name} (`hamgr replica remove`) first, if it replaces that one",
            offenders=[member.name],
        ) from error


def name_in_path(request: web.Request) -> str:
    name = request.match_info["replica"]
    if NAME.fullmatch(name) is None:
        raise Problem("bad-request", f"{name[:100]!a} is no name of a replica: lower-case letters, digits, -")
    return name


def member_called(configuration: Configuration, name: str) -> Member:
    member = next((member for member in configuration.members if member.name == name), None)
    if member is None:
        names = ", ".join(sorted(member.name for member in configuration.members))
        raise Problem("no-such-replica", f"no replica is called {name}", hint=f"there are {names}")
    return member


def _is_connected(context: ApiContext, member: Member) -> bool:
    found = context.replica.figures.peers.get(member.name)
    return member.name == context.name or (found is not None and found.connected)


def quorum(context: ApiContext, configuration: Configuration) -> dict[str, Any]:
    """Return how many of the voters are connected, and how many may be lost."""
    voters = [voter.name for voter in configuration.voters]
    connected = [voter.name for voter in configuration.voters if _is_connected(context, voter)]
    also = losses.also_survived(
        voters,
        connected,
        context.replica.leadership.leader,
        autopilot=context.autopilot,
        armed=configuration.armed,
    )
    return {**cluster.quorum(len(connected), len(voters)), "also": also}


def _view(context: ApiContext, member: Member) -> dict[str, Any]:
    """Return one replica; `lag_entries` and `caught_up` are null where only the leader knows."""
    leadership, found = context.replica.leadership, context.replica.figures.peers.get(member.name)
    connected = _is_connected(context, member)
    lag = None if found is None else found.lag_entries
    wish = context.replica.state.electorate.replicas.get(member.name, ReplicaWish())
    reasons = {} if context.autopilot is None else context.autopilot.reasons()
    if leadership.leads and member.name == context.name:
        lag = 0
    return {
        "id": member.id,
        "name": member.name,
        "raft": member.raft,
        "api": member.api or None,
        "role": "voter" if member in context.members.configuration.voters else "learner",
        "leader": member.name == leadership.leader,
        "connected": connected,
        "lag_entries": lag,
        "caught_up": connected and lag is not None and lag <= LAG_ENTRIES_MAX if leadership.leads else None,
        "domain": wish.domain or None,
        "rest_until": wish.rest_until or None,
        "rest_reason": wish.rest_reason,
        "reason": reasons.get(member.name, ""),
    }
