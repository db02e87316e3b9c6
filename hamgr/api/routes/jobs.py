"""Jobs: submit (or only try out), list, show, wait; `steering` has what is said to those that exist."""

import asyncio
from typing import Any

from aiohttp import web

from hamgr.api import parse, proposals, query, views
from hamgr.api.addresses import endpoints
from hamgr.api.context import context_of
from hamgr.api.jobtexts import TEXTS
from hamgr.api.parse import JobBody
from hamgr.api.previews import preview
from hamgr.api.problems import of_rejected
from hamgr.api.strategies import unkept_times
from statemachine.commands import SubmitJob
from statemachine.discovery_commands import SubmitDiscovery
from statemachine.jobs import submission
from statemachine.model import Job, State
from statemachine.words import Digest, JobId, JobKind, JobState, NodeName

PAGE_DEFAULT = 50
PAGE_MAX = 300


def job_in_path(state: State, request: web.Request) -> Job:
    """Return the job that the path names, or raise the problem that there is none."""
    job = state.jobs.get(JobId(request.match_info["job"]))
    if job is None:
        raise of_rejected(submission.no_such_job(JobId(request.match_info["job"])))
    return job


async def submit_job(request: web.Request) -> web.Response:
    """Take a job into the log; it runs whatever becomes of the caller."""
    query.allow(request, "dry_run", "consistency")
    command = await asked_for(request, await parse.read_body(request, JobBody))
    if query.flag(request, "dry_run"):
        before, after, accepted = await proposals.try_out(request, command)
        return web.json_response(preview(before, after, after.jobs[JobId(accepted.ref)]))
    accepted = await proposals.submit(request, command)
    view: dict[str, Any] = {"id": accepted.ref, "ref": accepted.ref, "index": accepted.index}
    return web.json_response(view, status=202, headers={"Location": f"/v1/jobs/{accepted.ref}"})


async def asked_for(request: web.Request, body: JobBody) -> SubmitJob | SubmitDiscovery:
    """Return the command that a body asks for.

    Raises:
        Problem: The body contradicts itself, or names a time that never comes; with every place.
    """
    if faults := body.misplaced():
        raise parse.bad_body(faults)
    rollout = body.rollout.rollout()
    if rollout.windows or rollout.start_at:
        now = context_of(request).clock.now()
        if faults := await asyncio.to_thread(unkept_times, rollout, now):
            raise parse.bad_body(faults)
    if body.kind is JobKind.DISCOVER:
        found, sweep = endpoints(body.addresses, port=body.port, user=body.user)
        return proposals.make(
            request,
            SubmitDiscovery,
            endpoints=found,
            sweep=sweep,
            readmit=body.readmit,
            labels=body.labels,
            max_parallel=body.max_parallel,
            reason=body.reason,
        )
    inside = body.rollout
    return proposals.make(
        request,
        SubmitJob,
        kind=body.kind,
        nodes=tuple(NodeName(name) for name in body.nodes),
        selector=body.selector,
        role=body.role,
        bundle=Digest(body.bundle),
        variables=body.variables,
        max_parallel=body.max_parallel or (inside.max_parallel and inside.max_parallel.nodes) or 0,
        max_failed=inside.max_failed.nodes if inside.max_failed else body.max_failed,
        reason=body.reason,
        rollout=rollout,
        priority=body.priority,
        task_deadline_s=body.task_deadline,
        offline=body.offline,
        said=inside.said(),
    )


async def list_jobs(request: web.Request) -> web.Response:
    """Return the jobs, the newest first."""
    query.allow(request, "state", "kind", "limit", "consistency")
    limit = query.number(request, "limit", default=PAGE_DEFAULT, low=1, high=PAGE_MAX)
    state = await query.read_state(request)
    wished = {key: request.query[key] for key in ("state", "kind") if key in request.query}
    found = [
        job
        for job in reversed(list(state.jobs.values()))
        if all(getattr(job, key) == value for key, value in wished.items())
    ]
    items = [views.job_line(job) for job in found[:limit]]
    return web.json_response({"items": items, "total": len(found), "index": state.index})


async def get_job(request: web.Request) -> web.Response:
    """Return one job; with `wait_s` and `since`, hold the answer until it changed after that index.

    Without `tasks`, which are most of a big job, the answer lacks them; its counts are there in either.
    """
    query.allow(request, "results", "tasks", "since", "wait_s", "consistency")
    results = query.flag(request, "results", default=True)
    tasks = query.flag(request, "tasks", default=True)
    since = query.number(request, "since", default=0, low=0, high=2**62)
    wait_s = query.seconds(request, "wait_s", high=context_of(request).limits.wait_s_max)
    state = await query.read_state(request)
    job = job_in_path(state, request)
    if wait_s:
        job = await _changed(request, job, since, wait_s)
        state = context_of(request).replica.state
    text = request.app[TEXTS].whole(state, job, results=results, tasks=tasks)
    return web.json_response(text=text, headers={"ETag": f'"{job.index}"'})


async def _changed(request: web.Request, job: Job, since: int, wait_s: float) -> Job:
    """Return the job as soon as its index is above `since` or it has ended, else after `wait_s`."""
    replica = context_of(request).replica
    try:
        async with asyncio.timeout(wait_s):
            while job.index <= since and job.state is JobState.RUNNING:
                version = replica.version
                job = replica.state.jobs.get(job.id, job)
                if job.index <= since and job.state is JobState.RUNNING:
                    await replica.changed(version)
    except TimeoutError:
        pass
    return job
