"""Rules for plans: a job is looked at first, perhaps approved, and then begun exactly as it was seen.

1. The hash of a plan is made of what will be run and of what that rests on (`grounds`), and apply makes it
   anew: nobody can record, approve or begin something else under it.
2. A plan is used once, and only while all that it rests on is as it was.
3. Whoever wrote a plan cannot be the one who approves it.
"""

from collections.abc import Mapping
from typing import cast

from statemachine import codec
from statemachine.commands import ApprovePlan, RecordPlan, SubmitJob
from statemachine.copying import replace
from statemachine.draft import Draft
from statemachine.jobs import grounds, submission
from statemachine.nodes.inventory import invalid
from statemachine.outcomes import Accepted, Outcome, Reason, Rejected
from statemachine.planned import PLANS_BYTES_MAX, PLANS_MAX, Plan
from statemachine.words import JobId, JobKind, NodeName

SHORT_CHARS = 12
"""How much of a hash people say."""


def record_plan(draft: Draft, command: RecordPlan) -> Outcome:
    request = command.request
    if problem := _unfixed(command):
        return invalid(problem, hint="make it with `hamgr plan`")
    if grounds.plan_hash(request, command.nodes, needs_approval=command.needs_approval) != command.plan:
        problem = f"{command.plan[:64]!r} is not the hash of this plan"
        return invalid(problem, hint="make it with `hamgr plan`")
    if changed := grounds.moved(draft.before, request, command.nodes):
        return _has_moved("the nodes", changed)
    known = draft.before.plans.get(command.plan)
    if known is not None and not known.used_by:
        return Accepted(index=draft.index, ref=command.plan)  # its author, and its approval, stay
    plans = {name: plan for name, plan in draft.before.plans.items() if name != command.plan}
    plans[command.plan] = Plan(
        request=codec.encode_command(grounds.fixed(request, request.nodes, request.bundle)),
        kind=request.kind,
        nodes=dict(command.nodes),
        needs_approval=command.needs_approval,
        author=draft.actor,
        at=draft.at,
        index=draft.index,
    )
    _make_room(plans)
    draft.set(plans=plans)
    draft.event("plan.recorded", command.plan, f"{request.kind} of {len(command.nodes)}")
    return Accepted(index=draft.index, ref=command.plan)


def approve_plan(draft: Draft, command: ApprovePlan) -> Outcome:
    plan = draft.before.plans.get(command.plan)
    short = command.plan[:SHORT_CHARS]
    if plan is None:
        return no_such_plan(command.plan)
    if plan.used_by:
        return _used(command.plan, plan)
    if plan.author == draft.actor:
        return Rejected(
            reason=Reason.NOT_ALLOWED,
            message=f"{draft.actor} wrote plan {short}, so somebody else has to approve it",
            offenders=(command.plan,),
            hint="have a colleague run it with a token of their own",
        )
    if plan.approved_by:
        return Accepted(index=draft.index, ref=command.plan)
    approved = replace(plan, approved_by=draft.actor, approved_at=draft.at, index=draft.index)
    draft.set(plans={**draft.before.plans, command.plan: approved})
    draft.event("plan.approved", command.plan, f"{plan.kind} of {len(plan.nodes)}, written by {plan.author}")
    return Accepted(index=draft.index, ref=command.plan)


def submit(draft: Draft, command: SubmitJob) -> Outcome:
    """Take up a job; one that names a plan is that plan's, to the letter."""
    if not command.plan:
        return submission.submit_job(draft, command)
    plan = draft.before.plans.get(command.plan)
    short = command.plan[:SHORT_CHARS]
    if plan is None:
        return no_such_plan(command.plan)
    if plan.used_by:
        return _used(command.plan, plan)
    if said := _besides(command, plan):
        return invalid(f"a plan says everything already; leave out {', '.join(said)}", *said)
    if plan.needs_approval and not plan.approved_by:
        return Rejected(
            reason=Reason.NOT_APPROVED,
            message=f"plan {short} has to be approved by somebody else than {plan.author}",
            offenders=(command.plan,),
            hint=f"they run: hamgr plan approve {short}",
        )
    request = request_of(plan)
    if changed := grounds.moved(draft.before, request, plan.nodes):
        return _has_moved(f"plan {short}", changed)
    stamped = replace(
        request,
        request_id=command.request_id,
        at=command.at,
        actor=command.actor,
        reason=command.reason or request.reason,
        plan=command.plan,
    )
    outcome = submission.submit_job(draft, stamped)
    if isinstance(outcome, Accepted):
        used = replace(plan, used_by=JobId(outcome.ref), used_at=draft.at, index=draft.index)
        draft.set(plans={**draft.before.plans, command.plan: used})
    return outcome


def request_of(plan: Plan) -> SubmitJob:
    """Return what the plan would run, without the stamps of a command."""
    return cast("SubmitJob", codec.decode_command(plan.request))


def no_such_plan(plan: str) -> Rejected:
    return Rejected(
        reason=Reason.NO_SUCH_PLAN,
        message=f"no such plan: {plan[:64]}",
        offenders=(plan[:64],),
        hint="list them with `hamgr plan ls`; the oldest ones are dropped, so plan anew",
    )


def _used(name: str, plan: Plan) -> Rejected:
    return Rejected(
        reason=Reason.WRONG_STATUS,
        message=f"plan {name[:SHORT_CHARS]} was used already, by job {plan.used_by}",
        offenders=(name,),
        hint="plan anew; what is as it should be already will be told as unchanged",
    )


def _has_moved(what: str, changed: Mapping[NodeName, str]) -> Rejected:
    told = "; ".join(f"{name}: {difference}" for name, difference in changed.items())
    return Rejected(
        reason=Reason.CHANGED,
        message=f"{what} cannot be relied on any more, since something moved: {told}",
        offenders=tuple(changed),
        hint="nothing was begun; plan anew and look at what is different",
    )


def _unfixed(command: RecordPlan) -> str:
    request = command.request
    if request.kind is JobKind.DISCOVER:
        return "a discovery cannot be planned"
    if not request.nodes or request.selector or request.plan:
        return "a plan names its nodes one by one"
    if set(request.nodes) != command.nodes.keys() or len(set(request.nodes)) != len(request.nodes):
        return "a plan says once of each of its nodes what it rests on"
    return ""


def _besides(command: SubmitJob, plan: Plan) -> list[str]:
    """Return what a submission says beside its plan."""
    allowed = grounds.STAMPS | {"kind", "plan", "reason"}
    said = [name for name in grounds.said(command) if name not in allowed]
    return said if command.kind is plan.kind else ["kind", *said]


def _make_room(plans: dict[str, Plan]) -> None:
    """Drop the oldest plans until the others fit."""
    weight = sum(plan.weight for plan in plans.values())
    while len(plans) > PLANS_MAX or (weight > PLANS_BYTES_MAX and len(plans) > 1):
        oldest = next(iter(plans))
        weight -= plans.pop(oldest).weight
