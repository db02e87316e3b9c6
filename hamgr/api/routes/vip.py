"""The virtual address: who holds it, and what is wrong with it; and, for keepalived, who leads."""

from aiohttp import web

from hamgr.api import peers, query
from hamgr.api.context import context_of
from hamgr.api.problems import Problem


async def get_vip(request: web.Request) -> web.Response:
    """Tell what the leader knows of the address; with `?consistency=stale` what this replica does."""
    query.allow(request, "consistency")
    context = context_of(request)
    leader = peers.leader_of(context)
    stale = request.query.get("consistency") == "stale" or peers.FORWARDED in request.headers
    if not (stale or context.replica.leadership.leads) and leader is not None:
        return await peers.hand_on(request, leader)
    if context.vip is None:
        raise Problem(
            "no-vip",
            f"replica {context.name} has no virtual address",
            hint="set `vip` in its configuration (docs/vip.md), or have keepalived hold one",
        )
    return web.json_response(context.vip.view())


async def get_health_leader(request: web.Request) -> web.Response:
    """200 on the leader whose majority followed it a moment ago, 503 on all others."""
    query.allow(request)
    context = context_of(request)
    age_s = context.contact_age_s()
    if age_s is None or age_s > context.limits.contact_age_s_max:
        raise Problem("not-leader", f"{context.name} does not lead, or no majority confirmed it lately")
    return web.Response(text="leader\n")
