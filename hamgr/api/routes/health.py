"""Is this replica alive, can it work, and how is the cluster?"""

import math
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from hamgr.api import clocks, cluster, consensus, losses, peers, query
from hamgr.api.context import ApiContext, context_of
from hamgr.api.middleware import CONSISTENCY, READ_AGE_S
from hamgr.api.problems import KINDS, Problem
from statemachine.codec import state_digest


async def livez(_request: web.Request) -> web.Response:
    """The process answers."""
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """A leader is known and this replica keeps up, so that requests can be answered."""
    context = context_of(request)
    figures = context.replica.figures
    if sentence := consensus.obstacle(figures, staleness_s_max=context.limits.ready_staleness_s_max):
        raise Problem("not-ready", sentence, hint="`GET /v1/replica` on this replica tells more")
    if not figures.leader:
        raise Problem("no-leader", "this replica knows no leader", hint="it will, when a quorum runs")
    return web.Response(text="ok\n")


async def get_metrics(request: web.Request) -> web.Response:
    """Tell the replica's figures to Prometheus."""
    from hamgr.api import metrics  # noqa: PLC0415 - who is never scraped does not hold Prometheus' library

    query.allow(request)
    context = context_of(request)
    vip = None if context.vip is None else context.vip.figures
    made_at = None if context.backups is None else context.backups.summary["at"]
    body = metrics.exposition(
        context.replica,
        version=context.version,
        now=context.clock.now(),
        logs=context.logs.figures,
        vip=vip,
        fencing=_fencing_figures(context),
        backup_at=made_at,
    )
    return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE})


def _fencing_figures(context: ApiContext) -> dict[str, float]:
    fencing = context.fencing
    if fencing is None:
        return {}
    passed = {} if fencing.passed_at is None else {"passed_timestamp_seconds": fencing.passed_at}
    armed = context.members.configuration.armed
    return {"armed": float(armed), "failed": float(bool(fencing.failure)), **passed}


async def get_problem(request: web.Request) -> web.Response:
    """Explain a problem's code."""
    code = request.match_info["code"]
    if code not in KINDS:
        raise Problem("no-such-route", f"no problem has the code {code[:100]!a}")
    kind = KINDS[code]
    again = "The same request may succeed later." if kind.retryable else "Repeating it will not help."
    return web.Response(text=f"{code} ({kind.status}): {kind.title}. {again}\n")


def _self(request: web.Request, *, digest: bool) -> dict[str, Any]:
    context = context_of(request)
    state, leadership = context.replica.state, context.replica.leadership
    return {
        "name": context.name,
        "api": context.api or None,
        "leader": leadership.leader,
        "leads": leadership.leads,
        "term": leadership.term,
        "applied_index": state.index,
        "digest": state_digest(state) if digest else None,
        "version": context.version,
        "clock": context.clock.now(),
        "consensus": consensus.view(context.replica.figures),
        "vip": None if context.vip is None else context.vip.summary,
        "backup": None if context.backups is None else context.backups.summary,
        "fencing": None if context.fencing is None else {"failure": context.fencing.failure},
    }


async def get_replica(request: web.Request) -> web.Response:
    """Tell what this one replica knows of itself; never asks another one."""
    query.allow(request, "digest")
    return web.json_response(_self(request, digest=query.flag(request, "digest")))


def _also(context: ApiContext, voters: list[str], connected: list[str]) -> str:
    """Say what is survived beyond any loss at once."""
    return losses.also_survived(
        voters,
        connected,
        context.replica.leadership.leader,
        autopilot=context.autopilot,
        armed=context.members.configuration.armed,
    )


def _line(
    told: Mapping[str, Any],
    *,
    name: str,
    api: str | None,
    leader: bool,
    connected: bool = True,
    own: bool = False,
    ahead_s: float | None,
) -> dict[str, Any]:
    """Return one replica as the status shows it; `told` is what it says of itself, empty when nothing."""
    return {
        "name": name,
        "api": api,
        "self": own,
        "leader": leader,
        "connected": connected,
        "term": told.get("term"),
        "applied_index": told.get("applied_index"),
        "digest": told.get("digest"),
        "clock_ahead_s": ahead_s,
    }


async def get_status(request: web.Request) -> web.Response:
    """Tell how the cluster is; works without a quorum with `?consistency=stale`."""
    query.allow(request, "digest", "consistency")
    digest = query.flag(request, "digest")
    context = context_of(request)
    state = await query.read_state(request)
    age_s = request.get(READ_AGE_S, 0.0)
    others = context.replica.peers
    asked_at = context.clock.now()
    answers = await peers.ask_all(request.app, f"/v1/replica{'?digest=1' if digest else ''}")
    leadership = context.replica.leadership
    own = _self(request, digest=digest)
    told = {own["name"]: own, **answers}
    ahead_s = clocks.ahead_s(told, asked_at=asked_at, answered_at=context.clock.now())
    replicas = [_line(own, name=own["name"], api=own["api"], leader=leadership.leads, own=True, ahead_s=0.0)]
    replicas += [
        _line(
            answers[peer.name] or {},
            name=peer.name,
            api=peer.api or None,
            leader=peer.name == leadership.leader,
            connected=peer.connected,
            ahead_s=ahead_s.get(peer.name),
        )
        for peer in others
    ]
    vip = cluster.vip({name: (one or {}).get("vip") for name, one in told.items()})
    complaints = consensus.complaints(told) + cluster.vip_warnings(vip) + cluster.backup_warnings(told)
    complaints += cluster.fencing_warnings(told) + clocks.warnings(ahead_s)
    voters = context.replica.figures.voters
    counted = [one for one in replicas if not voters or one["name"] in voters]  # learners cannot be lost
    linked = [str(one["name"]) for one in counted if one["connected"]]
    total, connected = len(counted), len(linked)
    also = _also(context, [str(one["name"]) for one in counted], linked)
    lost = sorted(peer.name for peer in others if not peer.connected)
    bundle = state.bundles.get(state.current_bundle)
    return web.json_response(
        {
            "cluster": state.cluster,
            "version": context.version,
            "index": state.index,
            "consistency": request[CONSISTENCY],
            "age_s": age_s if math.isfinite(age_s) else None,
            "replica": context.name,
            "leader": leadership.leader or None,
            "term": leadership.term,
            "replicas": sorted(replicas, key=lambda replica: str(replica["name"])),
            "quorum": {**cluster.quorum(connected, total), "also": also},
            "vip": vip,
            "nodes": cluster.nodes(state),
            "jobs": cluster.jobs(state),
            "bundle": {"digest": bundle.digest, "message": bundle.message, "at": bundle.at}
            if bundle
            else None,
            "warnings": complaints + cluster.warnings(state, leadership, lost, connected, total),
        }
    )
