"""Schedules: jobs that are asked for again and again; moments are worked out here, never by the log."""

import asyncio
from typing import Annotated, Any, cast

from aiohttp import web
from pydantic import Field

from hamgr.api import parse, proposals, query
from hamgr.api.context import context_of
from hamgr.api.problems import Fault, of_rejected
from hamgr.api.routes import jobs
from hamgr.jobs.windows import BadWindow, next_moment
from statemachine import codec
from statemachine.commands import SubmitJob
from statemachine.jobs import schedules
from statemachine.model import State
from statemachine.schedule import Schedule
from statemachine.schedule_commands import DropSchedule, PauseSchedule, PutSchedule

TEXT_CHARS_MAX = 255
Text = Annotated[str, Field(max_length=TEXT_CHARS_MAX)]


class ScheduleBody(parse.Body):
    """POST /v1/schedules; `cron` as in crontab(5), `job` as in POST /v1/jobs."""

    name: parse.Name
    cron: Text
    zone: Text = "UTC"
    job: parse.JobBody


def _in_path(state: State, request: web.Request) -> Schedule:
    name = request.match_info["schedule"]
    if name not in state.schedules:
        raise of_rejected(schedules.no_such_schedule(name))
    return state.schedules[name]


async def list_schedules(request: web.Request) -> web.Response:
    """Return the schedules, by name."""
    query.allow(request, "consistency")
    state = await query.read_state(request)
    items = [_line(state.schedules[name]) for name in sorted(state.schedules)]
    return web.json_response({"items": items, "total": len(items), "index": state.index})


async def get_schedule(request: web.Request) -> web.Response:
    """Return a schedule with the job that it asks for."""
    query.allow(request, "consistency")
    schedule = _in_path(await query.read_state(request), request)
    wanted = cast("SubmitJob", codec.decode_command(schedule.request))
    asked = {name: value for name, value in codec.plain(wanted).items() if name not in _STAMPS}
    return web.json_response(_line(schedule) | {"request": asked}, headers={"ETag": f'"{schedule.index}"'})


_STAMPS = frozenset({"request_id", "at", "actor", "plan"})


async def add_schedule(request: web.Request) -> web.Response:
    """Ask for a job again and again."""
    query.allow(request, "dry_run", "consistency")
    body = await parse.read_body(request, ScheduleBody)
    wanted = await jobs.asked_for(request, body.job)
    if not isinstance(wanted, SubmitJob):
        raise parse.bad_body([Fault(pointer="/job/kind", message="cannot be scheduled; only jobs on nodes")])
    cron = " ".join(body.cron.split())
    command = proposals.make(
        request,
        PutSchedule,
        name=body.name,
        cron=cron,
        zone=body.zone,
        request=codec.encode_command(wanted),
        next_at=await _next(request, cron, body.zone),
    )
    accepted = await proposals.submit(request, command)
    headers = {"Location": f"/v1/schedules/{body.name}", "ETag": f'"{accepted.index}"'}
    return proposals.answer(request, accepted, status=201, headers=headers)


async def drop_schedule(request: web.Request) -> web.Response:
    """Ask for the job no more."""
    query.allow(request, "dry_run", "consistency")
    query.no_if_match(request)
    command = proposals.make(request, DropSchedule, name=request.match_info["schedule"])
    return proposals.answer(request, await proposals.submit(request, command))


async def pause_schedule(request: web.Request) -> web.Response:
    """Let a schedule make nothing for a while."""
    return await _pause(request, on=True)


async def resume_schedule(request: web.Request) -> web.Response:
    """Let a schedule go on, with the next moment of its calendar."""
    return await _pause(request, on=False)


async def _pause(request: web.Request, *, on: bool) -> web.Response:
    query.allow(request, "dry_run", "consistency")
    query.no_if_match(request)
    body = await parse.read_body(request, parse.CancelBody) if request.can_read_body else parse.CancelBody()
    schedule = _in_path(await query.read_state(request), request)
    command = proposals.make(
        request,
        PauseSchedule,
        name=schedule.name,
        on=on,
        reason=body.reason,
        next_at=0.0 if on else await _next(request, schedule.cron, schedule.zone),
    )
    return proposals.answer(request, await proposals.submit(request, command))


async def _next(request: web.Request, cron: str, zone: str) -> float:
    """Return the next moment of a calendar.

    Raises:
        Problem: It cannot be read, or names no moment to come.
    """
    now = context_of(request).clock.now()
    try:
        found = await asyncio.to_thread(next_moment, cron, zone, now)
    except BadWindow as error:
        pointer = "/zone" if "time zone" in str(error) else "/cron"
        raise parse.bad_body([Fault(pointer=pointer, message=str(error))]) from error
    if found is None:
        raise parse.bad_body([Fault(pointer="/cron", message=f"{cron!r} names no moment to come")])
    return found


def _line(schedule: Schedule) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "cron": schedule.cron,
        "zone": schedule.zone,
        "kind": schedule.kind,
        "author": schedule.author,
        "since": schedule.since,
        "next_at": None if schedule.paused else schedule.next_at or None,
        "paused": schedule.paused,
        "job": schedule.job or None,
        "fired_at": schedule.fired_at or None,
        "outcome": schedule.outcome,
        "index": schedule.index,
    }
