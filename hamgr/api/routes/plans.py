"""Plans: look before a job is begun, keep what was seen under its hash, approve it, begin exactly that."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from hamgr.api import parse, plan_views, proposals, query
from hamgr.api.auth import ACTOR
from hamgr.api.context import context_of
from hamgr.api.parse import JobBody
from hamgr.api.problems import Fault, Problem, of_rejected
from hamgr.api.routes import jobs
from statemachine import machine
from statemachine.commands import ApprovePlan, RecordPlan, SubmitJob
from statemachine.jobs import approvals, grounds
from statemachine.model import State
from statemachine.outcomes import Rejected
from statemachine.planned import Plan
from statemachine.rollouts import named
from statemachine.words import JobId, NodeName, RequestId

PREFIX_CHARS_MIN = 4
"""A plan may be named by the beginning of its hash, where that fits one only."""


class PlanBody(JobBody):
    """POST /v1/plans: a job, and whether somebody else has to approve it before it is begun."""

    needs_approval: bool = False


async def make_plan(request: web.Request) -> web.Response:
    """Look at the nodes and answer what the job would do; keep that, unless it is a dry run."""
    query.allow(request, "dry_run", "consistency")
    body = await parse.read_body(request, PlanBody)
    command = await jobs.asked_for(request, body)
    if not isinstance(command, SubmitJob):
        raise parse.bad_body([Fault(pointer="/kind", message="a discovery changes nothing; just run it")])
    before, view, wanted = await _look(request, await query.read_state(request), command)
    nodes, name = await asyncio.to_thread(_named, before, wanted, needs_approval=body.needs_approval)
    if query.flag(request, "dry_run"):
        return await _answer(view | {"hash": name, "recorded": False})
    # What is recorded is named by its content, so a repeat needs no key: it is the same plan, or another one.
    context = context_of(request)
    record = RecordPlan(
        request_id=RequestId(context.new_request_id()),
        at=context.clock.now(),
        actor=request[ACTOR],
        plan=name,
        request=wanted,
        nodes=nodes,
        needs_approval=body.needs_approval,
    )
    await proposals.submit(request, record)
    kept = (await query.read_state(request)).plans.get(name)
    about = plan_views.plan_line(name, kept) if kept is not None else {"hash": name}
    headers = {"Location": f"/v1/plans/{name}"}
    return await _answer(about | view | {"recorded": True}, status=201, headers=headers)


async def list_plans(request: web.Request) -> web.Response:
    """Return the plans that are kept, the newest first."""
    query.allow(request, "consistency")
    state = await query.read_state(request)
    items = [plan_views.plan_line(name, plan) for name, plan in reversed(list(state.plans.items()))]
    return web.json_response({"items": items, "total": len(items), "index": state.index})


async def get_plan(request: web.Request) -> web.Response:
    """Return a plan; with `look`, look at the nodes again and tell what it would change now."""
    query.allow(request, "look", "consistency")
    state = await query.read_state(request)
    name, plan = _in_path(state, request)
    view = plan_views.plan_whole(state, name, plan) | {"recorded": True}
    if not query.flag(request, "look") or plan.used_by:
        return web.json_response(view)
    try:
        _, seen, _ = await _look(request, state, approvals.request_of(plan))
    except Problem as problem:
        if problem.kind.retryable:
            raise
        return web.json_response(view | {"refused": problem.detail, "hint": problem.hint})
    return await _answer(seen | view)


async def approve_plan(request: web.Request) -> web.Response:
    """Approve a plan that somebody else wrote."""
    query.allow(request, "dry_run", "consistency")
    name, _ = _in_path(await query.read_state(request), request)
    command = proposals.make(request, ApprovePlan, plan=name)
    return proposals.answer(request, await proposals.submit(request, command))


async def apply_plan(request: web.Request) -> web.Response:
    """Begin what was planned, to the letter, if nothing that it rests on has moved."""
    query.allow(request, "dry_run", "consistency")
    body = await parse.read_body(request, parse.CancelBody) if request.can_read_body else parse.CancelBody()
    name, plan = _in_path(await query.read_state(request), request)
    command = proposals.make(request, SubmitJob, kind=plan.kind, plan=name, reason=body.reason)
    accepted = await proposals.submit(request, command)
    if query.flag(request, "dry_run"):
        return proposals.answer(request, accepted)
    view: dict[str, Any] = {"id": accepted.ref, "ref": accepted.ref, "index": accepted.index}
    return web.json_response(view, status=202, headers={"Location": f"/v1/jobs/{accepted.ref}"})


async def _look(
    request: web.Request, before: State, command: SubmitJob
) -> tuple[State, dict[str, Any], SubmitJob]:
    """Return the state that was looked from, what the job would do, and the request as a plan keeps it.

    Raises:
        Problem: The job would be refused.
    """
    context = context_of(request)
    stamped = replace(
        command,
        request_id=RequestId(context.new_request_id()),
        at=context.clock.now(),
        actor=request[ACTOR],
    )
    after, outcome = machine.apply(before, stamped)
    if isinstance(outcome, Rejected):
        raise of_rejected(outcome)
    job = after.jobs[JobId(outcome.ref)]
    seen = await context.lookout.look(after, job, timeout_s=context.limits.look_timeout_s)
    view = await asyncio.to_thread(plan_views.looked_at, before, after, job, seen, _voters(request))
    nodes = [before.nodes[name] for name in job.tasks]
    resolved = named.resolved(before, command, nodes)  # so that no later bundle changes the strategy
    if isinstance(resolved, Rejected):
        raise of_rejected(resolved)
    return before, view, grounds.fixed(resolved, tuple(job.tasks), job.bundle)


def _named(state: State, wanted: SubmitJob, *, needs_approval: bool) -> tuple[dict[NodeName, bytes], str]:
    """Return what a plan rests on, and its hash."""
    nodes = grounds.preconditions(state, wanted)
    return nodes, grounds.plan_hash(wanted, nodes, needs_approval=needs_approval)


async def _answer(
    view: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return a large answer; that of a thousand nodes takes a tenth of a second, beside the event loop."""
    body = await asyncio.to_thread(lambda: json.dumps(view).encode())
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def _voters(request: web.Request) -> Mapping[str, str]:
    """Return the hosts of hamgr's voters, by name."""
    voters = context_of(request).members.configuration.voters
    return {voter.name: voter.raft.rpartition(":")[0].strip("[]") for voter in voters}


def _in_path(state: State, request: web.Request) -> tuple[str, Plan]:
    """Return the plan that the path names, by its hash or the beginning of it."""
    text = request.match_info["plan"]
    if text in state.plans:
        return text, state.plans[text]
    close = [name for name in state.plans if len(text) >= PREFIX_CHARS_MIN and name.startswith(text)]
    if len(close) == 1:
        return close[0], state.plans[close[0]]
    if close:
        raise Problem(
            "no-such-plan", f"{len(close)} plans begin with {text!a}", hint="say more of it", offenders=close
        )
    raise of_rejected(approvals.no_such_plan(text))
