"""Plans: look before a job is begun, keep what was seen under its hash, approve it, begin exactly that."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from hamgr.api import looks, parse, plan_views, proposals, query
from hamgr.api.auth import ACTOR
from hamgr.api.context import context_of
from hamgr.api.looks import Found, Progress
from hamgr.api.parse import JobBody
from hamgr.api.problems import Fault, Problem, of_rejected
from hamgr.api.routes import jobs
from statemachine import machine
from statemachine.commands import ApprovePlan, RecordPlan, SubmitJob
from statemachine.jobs import approvals, grounds
from statemachine.model import Job, State
from statemachine.outcomes import Rejected
from statemachine.planned import Plan
from statemachine.rollouts import named
from statemachine.words import JobId, NodeName, RequestId

PREFIX_CHARS_MIN = 4
"""A plan may be named by the beginning of its hash, where that fits one only."""


class PlanBody(JobBody):
    """POST /v1/plans: a job, and whether somebody else has to approve it before it is begun."""

    needs_approval: bool = False


async def make_plan(request: web.Request) -> web.StreamResponse:
    """Look at the nodes and answer what the job would do; keep that, unless it is a dry run."""
    query.allow(request, "dry_run", "consistency")
    body = await parse.read_body(request, PlanBody)
    command = await jobs.asked_for(request, body)
    if not isinstance(command, SubmitJob):
        raise parse.bad_body([Fault(pointer="/kind", message="a discovery changes nothing; just run it")])
    asked = _asked(request, await query.read_state(request), command)

    async def work(progress: Progress) -> Found:
        view = await _look(request, asked, progress)
        nodes, name = await asyncio.to_thread(
            _named, asked.before, asked.wanted, needs_approval=body.needs_approval
        )
        if query.flag(request, "dry_run"):
            return Found(view=view | {"hash": name, "recorded": False})
        # What is recorded is named by its content: a repeat is the same plan, or another, and needs no key.
        context = context_of(request)
        record = RecordPlan(
            request_id=RequestId(context.new_request_id()),
            at=context.clock.now(),
            actor=request[ACTOR],
            plan=name,
            request=asked.wanted,
            nodes=nodes,
            needs_approval=body.needs_approval,
        )
        await proposals.submit(request, record)
        kept = (await query.read_state(request)).plans.get(name)
        about = plan_views.plan_line(name, kept) if kept is not None else {"hash": name}
        headers = {"Location": f"/v1/plans/{name}"}
        return Found(view=about | view | {"recorded": True}, status=201, headers=headers)

    return await looks.answered(request, len(asked.job.tasks), work)


async def list_plans(request: web.Request) -> web.Response:
    """Return the plans that are kept, the newest first."""
    query.allow(request, "consistency")
    state = await query.read_state(request)
    items = [plan_views.plan_line(name, plan) for name, plan in reversed(list(state.plans.items()))]
    return web.json_response({"items": items, "total": len(items), "index": state.index})


async def get_plan(request: web.Request) -> web.StreamResponse:
    """Return a plan; with `look`, look at the nodes again and tell what it would change now."""
    query.allow(request, "look", "consistency")
    state = await query.read_state(request)
    name, plan = _in_path(state, request)
    view = plan_views.plan_whole(state, name, plan) | {"recorded": True}
    if not query.flag(request, "look") or plan.used_by:
        return await looks.answered(request, 0, lambda _: _at_once(view))
    try:
        asked = _asked(request, state, approvals.request_of(plan))
    except Problem as problem:
        if problem.kind.retryable:
            raise
        refused = view | {"refused": problem.detail, "hint": problem.hint}
        return await looks.answered(request, 0, lambda _: _at_once(refused))

    async def work(progress: Progress) -> Found:
        return Found(view=await _look(request, asked, progress) | view)

    return await looks.answered(request, len(asked.job.tasks), work)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A job that nobody has begun: the states without and with it, and the request as a plan keeps it."""

    before: State
    after: State
    job: Job
    wanted: SubmitJob


def _asked(request: web.Request, before: State, command: SubmitJob) -> _Asked:
    """Return the job that is asked for.

    Raises:
        Problem: It would be refused.
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
    nodes = [before.nodes[name] for name in job.tasks]
    resolved = named.resolved(before, command, nodes)  # so that no later bundle changes the strategy
    if isinstance(resolved, Rejected):
        raise of_rejected(resolved)
    wanted = grounds.fixed(resolved, tuple(job.tasks), job.bundle)
    return _Asked(before=before, after=after, job=job, wanted=wanted)


async def _look(request: web.Request, asked: _Asked, progress: Progress) -> dict[str, Any]:
    """Return what the job would do."""
    lookout = context_of(request).lookout
    seen = await lookout.look(asked.after, asked.job, timeout_s=progress.timeout_s, looked=progress.one_more)
    return await asyncio.to_thread(
        plan_views.looked_at, asked.before, asked.after, asked.job, seen, _voters(request)
    )


async def _at_once(view: Mapping[str, Any]) -> Found:
    return Found(view=view)


def _named(state: State, wanted: SubmitJob, *, needs_approval: bool) -> tuple[dict[NodeName, bytes], str]:
    """Return what a plan rests on, and its hash."""
    nodes = grounds.preconditions(state, wanted)
    return nodes, grounds.plan_hash(wanted, nodes, needs_approval=needs_approval)


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
