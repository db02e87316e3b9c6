"""Rules for schedules: jobs that are asked for at moments of a calendar, each moment at most once.

1. A moment is named by its time: whoever fires it first has fired it, and nobody else can.
2. A moment that was missed is made up for within `LATE_S_MAX`, once however many were missed, else skipped.
3. A schedule makes no job while its last one still runs.
4. A moment that was worked out by a clock that was hours ahead gives way to an earlier one.
5. Whatever became of a moment is told by an event and kept until the next one.
"""

from statemachine import codec, words
from statemachine.codec import CodecError
from statemachine.commands import SubmitJob
from statemachine.copying import replace
from statemachine.draft import Draft
from statemachine.jobs import submission
from statemachine.model import ERROR_CHARS_MAX
from statemachine.nodes.inventory import invalid
from statemachine.outcomes import Accepted, Outcome, Reason, Rejected
from statemachine.rollout import CRON, ZONE
from statemachine.schedule import LATE_S_MAX, SCHEDULES_MAX, Schedule
from statemachine.schedule_commands import (
    DropSchedule,
    FireSchedule,
    PauseSchedule,
    PutSchedule,
    ReplanSchedule,
)
from statemachine.words import JobId, JobKind, JobState, RequestId

UNSCHEDULED = frozenset({JobKind.DISCOVER, JobKind.REPLACE})


def obey(
    draft: Draft, command: PutSchedule | DropSchedule | PauseSchedule | FireSchedule | ReplanSchedule
) -> Outcome:
    match command:
        case PutSchedule():
            return put_schedule(draft, command)
        case DropSchedule():
            return drop_schedule(draft, command)
        case PauseSchedule():
            return pause_schedule(draft, command)
        case FireSchedule():
            return fire_schedule(draft, command)
        case ReplanSchedule():
            return replan_schedule(draft, command)


def put_schedule(draft: Draft, command: PutSchedule) -> Outcome:
    if refusal := _bad_words(command):
        return refusal
    if command.name in draft.before.schedules:
        return Rejected(
            reason=Reason.WRONG_STATUS,
            message=f"there is a schedule {command.name} already",
            offenders=(command.name,),
            hint=f"drop it first: `hamgr schedule rm {command.name}`",
        )
    if len(draft.before.schedules) >= SCHEDULES_MAX:
        return Rejected(
            reason=Reason.LIMIT,
            message=f"there are {SCHEDULES_MAX} schedules already",
            hint="drop one that nobody needs",
        )
    request = _request(command.request)
    if isinstance(request, Rejected):
        return request
    if refusal := _never_possible(draft, request):
        return refusal
    schedule = Schedule(
        name=command.name,
        cron=command.cron,
        zone=command.zone,
        request=codec.encode_command(_unstamped(request)),
        kind=request.kind,
        author=command.actor,
        since=command.at,
        next_at=command.next_at,
    )
    _keep(draft, schedule)
    draft.event("schedule.added", command.name, f"a {request.kind} at {command.cron!r} in {command.zone}")
    return Accepted(index=draft.index, ref=command.name)


def _bad_words(command: PutSchedule) -> Rejected | None:
    if not words.SHORT_NAME.match(command.name):
        return invalid(
            f"{command.name[:64]!r} cannot be a schedule's name",
            command.name[:64],
            hint="use lower-case letters, digits, '-' and '_', 24 characters at most",
        )
    if not CRON.match(command.cron):
        return invalid(f"{command.cron[:64]!r} is not five fields of cron, like '0 3 * * *'")
    if not ZONE.match(command.zone):
        return invalid(f"{command.zone[:64]!r} is no time zone, like Europe/Madrid")
    if not command.next_at > command.at:
        return invalid(f"{command.cron!r} names no moment to come")
    return None


def _request(data: bytes) -> SubmitJob | Rejected:
    try:
        request = codec.decode_command(data)
    except CodecError as error:
        return invalid(f"the request of the schedule cannot be read: {error}")
    if not isinstance(request, SubmitJob) or request.kind in UNSCHEDULED:
        return invalid("only a job on nodes can be scheduled: commission, upgrade, verify, ...")
    if request.plan:
        return invalid("a plan is used once, so it cannot be scheduled")
    if request.rollout.start_at:
        return invalid("a schedule says when its jobs start; leave start_at out")
    return request


def _never_possible(draft: Draft, request: SubmitJob) -> Rejected | None:
    """Refuse a request that contradicts itself; nodes and bundles may come and go."""
    stamped = replace(request, request_id=RequestId("trial"), at=draft.at, actor=draft.actor)
    outcome = submission.submit_job(Draft(draft.before, stamped), stamped)
    return outcome if isinstance(outcome, Rejected) and outcome.reason is Reason.INVALID else None


def _unstamped(request: SubmitJob) -> SubmitJob:
    return replace(request, request_id=RequestId(""), at=0.0, actor="")


def drop_schedule(draft: Draft, command: DropSchedule) -> Outcome:
    if command.name not in draft.before.schedules:
        return no_such_schedule(command.name)
    rest = {name: one for name, one in draft.before.schedules.items() if name != command.name}
    draft.set(schedules=rest)
    draft.event("schedule.dropped", command.name, "its jobs are asked for no more")
    return Accepted(index=draft.index, ref=command.name)


def pause_schedule(draft: Draft, command: PauseSchedule) -> Outcome:
    schedule = draft.before.schedules.get(command.name)
    if schedule is None:
        return no_such_schedule(command.name)
    if bool(schedule.paused) is command.on:
        says = f"is paused already: {schedule.paused}" if command.on else "is not paused"
        return Rejected(
            reason=Reason.WRONG_STATUS,
            message=f"schedule {schedule.name} {says}",
            offenders=(schedule.name,),
        )
    if command.on:
        why = (command.reason or f"{command.actor} paused it")[:ERROR_CHARS_MAX]
        _keep(draft, replace(schedule, paused=why))
        draft.event("schedule.paused", schedule.name, why)
    else:
        if not command.next_at > command.at:
            return invalid(f"{schedule.cron!r} names no moment to come", schedule.name)
        _keep(draft, replace(schedule, paused="", next_at=command.next_at))
        draft.event("schedule.resumed", schedule.name, command.reason or "it goes on")
    return Accepted(index=draft.index, ref=schedule.name)


def fire_schedule(draft: Draft, command: FireSchedule) -> Outcome:
    schedule = draft.before.schedules.get(command.name)
    if schedule is None:
        return no_such_schedule(command.name)
    if not _waits_for(schedule, command.due) or command.at < command.due:
        return _no_such_moment(schedule)
    if not command.due <= command.moment <= command.at:
        return invalid(f"the moment of schedule {schedule.name} is not one that has passed", schedule.name)
    if command.next_at and not command.next_at > command.moment:
        return invalid(f"the next moment of schedule {schedule.name} has passed", schedule.name)
    job, said = _job_of(draft, schedule, command)
    fired = replace(schedule, next_at=command.next_at, outcome=said[:ERROR_CHARS_MAX])
    if job:
        fired = replace(fired, job=job, fired_at=command.moment)
    _keep(draft, fired)
    draft.event("schedule.fired" if job else "schedule.skipped", schedule.name, said, job=job)
    return Accepted(index=draft.index, ref=job or schedule.name)


def replan_schedule(draft: Draft, command: ReplanSchedule) -> Outcome:
    schedule = draft.before.schedules.get(command.name)
    if schedule is None:
        return no_such_schedule(command.name)
    if not _waits_for(schedule, command.due):
        return _no_such_moment(schedule)
    if not command.at < command.next_at < command.due:
        return invalid(
            f"schedule {schedule.name} can only be moved to an earlier moment to come", schedule.name
        )
    _keep(draft, replace(schedule, next_at=command.next_at))
    said = f"it waits for {command.due - command.next_at:.0f} s less, since the clock has been set back"
    draft.event("schedule.replanned", schedule.name, said)
    return Accepted(index=draft.index, ref=schedule.name)


def _waits_for(schedule: Schedule, due: float) -> bool:
    return not schedule.paused and bool(schedule.next_at) and due == schedule.next_at


def _no_such_moment(schedule: Schedule) -> Rejected:
    return Rejected(
        reason=Reason.STALE_CLAIM,
        message=f"schedule {schedule.name} waits for no such moment now",
        offenders=(schedule.name,),
    )


def _job_of(draft: Draft, schedule: Schedule, command: FireSchedule) -> tuple[JobId, str]:
    """Return the job that the moment made, if it did, and what became of the moment in words."""
    late_s = command.at - command.moment
    if late_s > LATE_S_MAX:
        return JobId(""), f"missed by {late_s:.0f} s, since nobody led the cluster"
    last = draft.jobs.get(schedule.job)
    if last is not None and last.state is JobState.RUNNING:
        return JobId(""), f"skipped, since {last.id} still runs"
    request = _request(schedule.request)
    if isinstance(request, Rejected):
        return JobId(""), f"refused: {request.message}"
    stamped = replace(
        request,
        request_id=command.request_id,
        at=command.at,
        actor=schedule.author,
        reason=request.reason or f"schedule {schedule.name}",
    )
    outcome = submission.submit_job(draft, stamped)
    if isinstance(outcome, Rejected):
        return JobId(""), f"refused: {outcome.message}"
    late = f", {late_s:.0f} s late" if command.moment != command.due else ""
    return JobId(outcome.ref), f"began {outcome.ref}{late}"


def _keep(draft: Draft, schedule: Schedule) -> None:
    kept = replace(schedule, index=draft.index)
    draft.set(schedules={**draft.before.schedules, schedule.name: kept})


def no_such_schedule(name: str) -> Rejected:
    return Rejected(
        reason=Reason.NO_SUCH_SCHEDULE,
        message=f"no such schedule: {name[:64]}",
        offenders=(name[:64],),
        hint="list them with `hamgr schedule ls`",
    )
