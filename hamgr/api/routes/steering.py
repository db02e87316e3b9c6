"""What is said to jobs that exist: cancel, pause, resume, promote, retry, revert."""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from hamgr.api import parse, proposals, query
from hamgr.api.parse import CancelBody, RetryBody
from hamgr.api.previews import preview
from statemachine.commands import (
    CancelJob,
    Command,
    PauseJob,
    PromoteJob,
    ResumeJob,
    RetryJob,
    RevertJob,
)
from statemachine.words import JobId


async def cancel_job(request: web.Request) -> web.Response:
    """Ask a job to end: what has not begun is cancelled, what runs is killed and undone."""
    return await _said(request, CancelJob)


async def pause_job(request: web.Request) -> web.Response:
    """Let a job begin no further task; what runs goes on."""
    return await _said(request, PauseJob)


async def resume_job(request: web.Request) -> web.Response:
    """Let a job go on that is paused, or that stopped for an operator to look."""
    return await _said(request, ResumeJob)


async def promote_job(request: web.Request) -> web.Response:
    """Say that the canaries are good."""
    return await _said(request, PromoteJob)


async def retry_job(request: web.Request) -> web.Response:
    """Make a job that does an ended one again where it failed."""
    body = await _body(request, RetryBody)
    return await _made(request, _command(request, RetryJob, body, unfinished=body.unfinished))


async def revert_job(request: web.Request) -> web.Response:
    """Make a job that brings back what an ended one changed."""
    return await _made(request, _command(request, RevertJob, await _body(request, CancelBody)))


async def _body(request: web.Request, model: type[parse.M]) -> parse.M:
    query.allow(request, "dry_run", "consistency")
    return await parse.read_body(request, model) if request.can_read_body else model()


def _command(request: web.Request, kind: Callable[..., Command], body: CancelBody, **more: Any) -> Command:
    return proposals.make(request, kind, job=JobId(request.match_info["job"]), reason=body.reason, **more)


async def _said(request: web.Request, kind: Callable[..., Command]) -> web.Response:
    """Say something to a job that runs."""
    command = _command(request, kind, await _body(request, CancelBody))
    return proposals.answer(request, await proposals.submit(request, command), status=202)


async def _made(request: web.Request, command: Command) -> web.Response:
    """Make a job from another one, or only tell what it would do."""
    if query.flag(request, "dry_run"):
        before, after, accepted = await proposals.try_out(request, command)
        return web.json_response(preview(before, after, after.jobs[JobId(accepted.ref)]))
    accepted = await proposals.submit(request, command)
    view = {"id": accepted.ref, "ref": accepted.ref, "index": accepted.index}
    return web.json_response(view, status=202, headers={"Location": f"/v1/jobs/{accepted.ref}"})
