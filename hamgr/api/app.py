"""The application: which path and method leads to which handler, and what surrounds them."""

import asyncio

from aiohttp import web

from hamgr.api import jobtexts, peers, sse
from hamgr.api.context import CONTEXT, ApiContext
from hamgr.api.middleware import Handler, add_headers, answer_problems
from hamgr.api.routes import (
    adhoc,
    announce,
    backups,
    config,
    doctor,
    electorate,
    events,
    fencing,
    health,
    jobs,
    joining,
    logs,
    neighbours,
    nodes,
    plans,
    presence,
    replicas,
    schedules,
    steering,
    tokens,
    upgrade,
    vip,
    why,
)

ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/livez", health.livez),
    ("GET", "/readyz", health.readyz),
    ("GET", "/metrics", health.get_metrics),
    ("GET", "/problems/{code}", health.get_problem),
    ("GET", "/v1/status", health.get_status),
    ("GET", "/v1/replica", health.get_replica),
    ("GET", "/v1/vip", vip.get_vip),
    ("GET", "/v1/health/leader", vip.get_health_leader),
    ("GET", "/v1/doctor", doctor.get_doctor),
    ("GET", "/v1/fencing", fencing.get_fencing),
    ("POST", "/v1/fencing:test", fencing.test_fencing),
    ("GET", "/v1/backups", backups.list_backups),
    ("POST", "/v1/backups", backups.make_backup),
    ("GET", "/v1/join", joining.show_authority),
    ("POST", "/v1/join", joining.join),
    ("GET", "/v1/tokens", tokens.list_tokens),
    ("POST", "/v1/tokens", tokens.make_token),
    ("DELETE", "/v1/tokens/{token}", tokens.revoke_token),
    ("GET", "/v1/replicas", replicas.list_replicas),
    ("PUT", "/v1/electorate", electorate.put_electorate),
    ("POST", "/v1/replicas/{replica}:lead", replicas.lead),
    ("POST", "/v1/replicas/{replica}:promote", electorate.promote),
    ("POST", "/v1/replicas/{replica}:demote", electorate.demote),
    ("PATCH", "/v1/replicas/{replica}", electorate.patch_replica),
    ("PUT", "/v1/replicas/{replica}", replicas.put_replica),
    ("DELETE", "/v1/replicas/{replica}", replicas.remove_replica),
    ("GET", "/v1/upgrade", upgrade.get_upgrade),
    ("POST", "/v1/upgrade", upgrade.begin_upgrade),
    ("POST", "/v1/upgrade:stop", upgrade.stop_upgrade),
    ("POST", "/v1/upgrade/wheels", upgrade.post_wheel),
    ("GET", "/v1/upgrade/replica", upgrade.get_replica),
    ("GET", "/v1/nodes", nodes.list_nodes),
    ("POST", "/v1/nodes", nodes.add_node),
    ("GET", "/v1/nodes/{node}", nodes.get_node),
    ("PATCH", "/v1/nodes/{node}", nodes.edit_node),
    ("DELETE", "/v1/nodes/{node}", nodes.forget_node),
    ("GET", "/v1/nodes/{node}/variables", nodes.get_variables),
    ("PUT", "/v1/nodes/{node}/maintenance", nodes.put_maintenance),
    ("DELETE", "/v1/nodes/{node}/maintenance", nodes.delete_maintenance),
    ("POST", "/v1/nodes/{node}:forgive", nodes.forgive_debt),
    ("POST", "/v1/nodes/{node}:replace", nodes.replace_node),
    ("GET", "/v1/jobs", jobs.list_jobs),
    ("POST", "/v1/jobs", jobs.submit_job),
    ("POST", "/v1/jobs/{job}:cancel", steering.cancel_job),
    ("POST", "/v1/jobs/{job}:pause", steering.pause_job),
    ("POST", "/v1/jobs/{job}:resume", steering.resume_job),
    ("POST", "/v1/jobs/{job}:promote", steering.promote_job),
    ("POST", "/v1/jobs/{job}:retry", steering.retry_job),
    ("POST", "/v1/jobs/{job}:revert", steering.revert_job),
    ("GET", "/v1/jobs/{job}", jobs.get_job),
    ("GET", "/v1/jobs/{job}/log", logs.get_log),
    ("POST", "/v1/logs:fetch", logs.fetch_logs),
    ("POST", "/v1/presence:probe", presence.probe),
    ("POST", "/v1/announce", announce.announce),
    ("GET", "/v1/neighbours", neighbours.list_neighbours),
    ("GET", "/v1/jobs/{job}/why", why.job_why),
    ("GET", "/v1/nodes/{node}/why", why.node_why),
    ("GET", "/v1/schedules", schedules.list_schedules),
    ("POST", "/v1/schedules", schedules.add_schedule),
    ("POST", "/v1/schedules/{schedule}:pause", schedules.pause_schedule),
    ("POST", "/v1/schedules/{schedule}:resume", schedules.resume_schedule),
    ("GET", "/v1/schedules/{schedule}", schedules.get_schedule),
    ("DELETE", "/v1/schedules/{schedule}", schedules.drop_schedule),
    ("GET", "/v1/plans", plans.list_plans),
    ("POST", "/v1/plans", plans.make_plan),
    ("POST", "/v1/plans/{plan}:approve", plans.approve_plan),
    ("POST", "/v1/plans/{plan}:apply", plans.apply_plan),
    ("GET", "/v1/plans/{plan}", plans.get_plan),
    ("POST", "/v1/exec", adhoc.run_command),
    ("GET", "/v1/bundles", config.list_bundles),
    ("POST", "/v1/bundles", config.push_bundle),
    ("GET", "/v1/bundles/{digest}", config.get_bundle),
    ("GET", "/v1/bundles/{digest}/archive", config.get_archive),
    ("GET", "/v1/blobs/{digest}", config.get_blob),
    ("PUT", "/v1/blobs/{digest}", config.put_blob),
    ("GET", "/v1/globals", config.get_globals),
    ("PATCH", "/v1/globals", config.patch_globals),
    ("GET", "/v1/events", events.get_events),
)


def build_app(context: ApiContext) -> web.Application:
    """Return the API of one replica, ready to be served."""
    app = web.Application(middlewares=[answer_problems], client_max_size=context.limits.blob_bytes_max)
    app[CONTEXT] = context
    app[sse.STREAMS] = set()
    app[jobtexts.TEXTS] = jobtexts.JobTexts()
    app[joining.TRIES] = joining.Tries()
    app[neighbours.BROWSING] = asyncio.Lock()
    for method, path, handler in ROUTES:
        app.router.add_route(method, path, handler)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(sse.close_all)
    app.cleanup_ctx.append(peers.session)
    app.cleanup_ctx.append(announce.announcing)
    return app
