"""Rules for doing: claims, attempts, and what follows from how an attempt ended (DESIGN 5).

1. Only the holder of the task's epoch moves it: every report carries the epoch, the step and the
   attempt, and one that is not owed now is refused as `STALE_CLAIM`.
2. A finished step is never owed again: a passed attempt moves the cursor, and nothing moves it back.
3. A lost attempt goes by its step's class; a failed one is tried again as often as the step allows.
4. A node whose state nobody can know (unreachable with work announced, a lost `once` step, a failed undo)
   is quarantined, never guessed about.
"""

from statemachine import phases
from statemachine.commands import ClaimTask, FinishAttempt, StartAttempt
from statemachine.copying import replace
from statemachine.discovery_commands import ReportSighting, ReportSilence
from statemachine.draft import Draft
from statemachine.jobs import submission, undo
from statemachine.lifecycle import Trigger
from statemachine.model import ERROR_CHARS_MAX, OUTPUT_TAIL_BYTES_MAX, RESULTS_MAX, Job, Result, Task
from statemachine.nodes import inventory, maintenance, sightings
from statemachine.outcomes import Accepted, Outcome, Reason, Rejected
from statemachine.phases import PlannedStep
from statemachine.rollouts import gates, waves
from statemachine.words import (
    TASK_ENDED,
    Ending,
    JobId,
    JobKind,
    NodeName,
    Phase,
    Presence,
    StepClass,
    TaskState,
)

LOST_MAX = 3
"""How often a step may be lost before it counts as failed."""
RETRIES_MAX = 32
"""More are not granted: all results of a step must fit into `RESULTS_MAX`, or nobody could count them."""
RETRY_DELAY_S_MAX = 60.0
PROOFS_MAX = 32
"""How often at most a node is looked at until its healthy deadline: all of it must fit into `RESULTS_MAX`."""
_WITHOUT_LAUNCH = frozenset({Ending.UNREACHABLE, Ending.REFUSED, Ending.CANCELLED, Ending.NOT_RUN})
"""What can be said of an attempt that was not announced."""
CLAIM_TRIGGERS = {
    JobKind.COMMISSION: Trigger.COMMISSION,
    JobKind.UPGRADE: Trigger.UPGRADE,
    JobKind.DECOMMISSION: Trigger.DECOMMISSION,
}


def _stale(message: str, *offenders: str) -> Rejected:
    return Rejected(reason=Reason.STALE_CLAIM, message=message, offenders=offenders)


def _find(draft: Draft, job_id: JobId, name: NodeName) -> tuple[Job, Task] | Rejected:
    job = draft.jobs.get(job_id)
    if job is None:
        return submission.no_such_job(job_id)
    task = job.tasks.get(name)
    if task is None:
        return inventory.no_such_node(name)
    if task.state in TASK_ENDED:
        return _stale(f"job {job_id} on {name} has ended already: {task.state}", name)
    return job, task


def _probed(draft: Draft, job_id: JobId, name: NodeName) -> tuple[Job, Task] | Rejected:
    """Return the open task of a discover job; no other job's task ends by what a probe saw."""
    found = _find(draft, job_id, name)
    if isinstance(found, Rejected) or found[0].kind is JobKind.DISCOVER:
        return found
    return inventory.invalid(f"job {job_id} probes nothing; its tasks end by their steps", job_id)


def claim_task(draft: Draft, command: ClaimTask) -> Outcome:
    found = _find(draft, command.job, command.node)
    if isinstance(found, Rejected):
        return found
    job, task = found
    node = draft.nodes.get(command.node)
    if node is None or job.kind is JobKind.DISCOVER:
        return inventory.invalid(f"job {job.id} has no task on a node {command.node} that could be claimed")
    if gates.frozen(job, task):
        return _stale(f"job {job.id} waits for an operator since the cluster began again", node.name)
    epoch = node.epoch + 1
    if task.state is TaskState.QUEUED:
        if not waves.may_begin(draft.before, job, task, draft.at):
            return _stale(f"job {job.id} on {node.name} may not begin yet", node.name)
        node = draft.put_node(replace(node, returns_to=node.status, job=job.id))
        kind = phases.kind_of(job, node.name)
        if trigger := CLAIM_TRIGGERS.get(kind):
            node = draft.move(node.name, trigger, job=job.id)
        if kind is JobKind.DRAIN:
            node = maintenance.begin_drain(draft, node, job)
        first = phases.way(job, kind)[0]
        task = replace(
            task,
            state=TaskState.RUNNING,
            phase=first,
            started_at=draft.at,
            bundle_before=node.last_good,
            variables_before=node.last_request,
            proving_since=draft.at if first is Phase.VERIFY else 0.0,
        )
        draft.event("task.started", node.name, f"{kind} by {command.claimant}", job=job.id)
    else:
        draft.event("task.claimed", node.name, f"taken over by {command.claimant}", job=job.id)
    draft.put_node(replace(node, epoch=epoch))
    draft.put_task(job.id, replace(task, epoch=epoch, claimant=command.claimant))
    _enter(draft, job.id, command.node)
    return Accepted(index=draft.index, ref=command.node, epoch=epoch)


def _owed(
    draft: Draft, job_id: JobId, name: NodeName, epoch: int, step: str, attempt: int
) -> tuple[Job, Task, PlannedStep] | Rejected:
    found = _find(draft, job_id, name)
    if isinstance(found, Rejected):
        return found
    job, task = found
    if task.state is not TaskState.RUNNING:
        return _stale(f"job {job_id} on {name} is {task.state}; nobody has claimed it", name)
    if epoch != task.epoch:
        return _stale(f"job {job_id} on {name} is claimed under epoch {task.epoch}, not {epoch}", name)
    planned = phases.owed_step(draft.before, job, task)
    if planned is None or (step, attempt) != (phases.result_key(planned, task), task.attempt):
        owed = f"{phases.result_key(planned, task)}/{task.attempt}" if planned else "nothing"
        return _stale(f"job {job_id} on {name} owes {owed}, not {step}/{attempt}", name)
    return job, task, planned


def start_attempt(draft: Draft, command: StartAttempt) -> Outcome:
    found = _owed(draft, command.job, command.node, command.epoch, command.step, command.attempt)
    if isinstance(found, Rejected):
        return found
    job, task, planned = found
    if task.launched_at is None:
        task = replace(task, launched_at=command.at, touched=task.touched or not planned.spec.check)
        draft.put_task(job.id, task)
        node = draft.nodes[command.node]
        role, bundle = phases.role_of(job, node), phases.bundle_of(job, node, task.phase)
        if not planned.spec.check and (node.role, node.bundle) != (role, bundle):
            draft.put_node(replace(node, role=role, bundle=bundle))
    return Accepted(index=draft.index, ref=command.node, epoch=task.epoch)


def finish_attempt(draft: Draft, command: FinishAttempt) -> Outcome:
    result = _bounded(command.result)
    found = _owed(draft, command.job, command.node, command.epoch, result.step, result.attempt)
    if isinstance(found, Rejected):
        return found
    job, task, planned = found
    launched = task.launched_at is not None
    if not launched and result.ending not in _WITHOUT_LAUNCH:
        return _stale(f"{result.step}/{result.attempt} on {task.node} was never announced", task.node)
    result = replace(result, started_at=task.launched_at or command.at, ended_at=command.at)
    task = replace(
        task,
        results=(*task.results, result)[-RESULTS_MAX:],
        launched_at=None,
        notified=_notified(task, planned, result, launched=launched),
    )
    draft.put_task(job.id, task)
    draft.event("task.step", task.node, f"{result.step}/{result.attempt} {describe(result)}", job=job.id)
    if result.passed:
        _pass(draft, job, task, planned)
    elif result.ending in (Ending.UNREACHABLE, Ending.REFUSED):
        _out_of_reach(draft, job, task, result, launched=launched)
    elif result.ending is Ending.CANCELLED:
        undo.fail_phase(draft, job, task, "cancelled")
    elif result.ending is Ending.NOT_RUN:
        undo.fail_phase(draft, job, task, f"{planned.key} {describe(result)}")
    elif result.ending is Ending.LOST:
        _lost(draft, job, task, planned)
    elif task.checking:
        _again(draft, job, task, delay_s=0.0)
    else:
        _failed(draft, job, task, planned, result)
    _enter(draft, job.id, task.node)
    return Accepted(index=draft.index, ref=task.node, epoch=task.epoch)


def _notified(task: Task, planned: PlannedStep, result: Result, *, launched: bool) -> tuple[str, ...]:
    """Return the handlers that are to run now: of a step that changed something, or may have."""
    if not planned.spec.notify or not launched or (result.passed and result.changed is False):
        return task.notified
    named = (phases.handler_key(planned.component, handler) for handler in planned.spec.notify)
    return tuple(dict.fromkeys((*task.notified, *named)))


def _bounded(result: Result) -> Result:
    tail = result.output_tail.encode()[-OUTPUT_TAIL_BYTES_MAX:].decode(errors="ignore")
    return replace(result, output_tail=tail, error=result.error[:ERROR_CHARS_MAX])


def describe(result: Result) -> str:
    """Return how an attempt ended, for people."""
    if result.ending is Ending.EXITED:
        changed = {True: ", changed", False: ", unchanged", None: ""}[result.changed]
        return f"passed{changed}" if result.exit_code == 0 else f"failed with exit status {result.exit_code}"
    return f"{result.ending}{': ' + result.error if result.error else ''}"


def _enter(draft: Draft, job_id: JobId, name: NodeName) -> None:
    """Step over phases that have nothing left to do, end the task after the last one, settle the job."""
    job = draft.jobs[job_id]
    task = job.tasks[name]
    while task.state is TaskState.RUNNING:
        if phases.owed_step(draft.view, job, task) is not None:
            if not (why := _too_late(draft, job, task)):
                return
            undo.fail_phase(draft, job, task, why)
            job = draft.jobs[job_id]
            task = job.tasks[name]
            continue
        if task.cursor == 0 and task.phase in (Phase.VERIFY, Phase.REVERIFY):
            undo.fail_phase(draft, job, task, "nothing verifies the role, so nobody could say that it works")
            job = draft.jobs[job_id]
            task = job.tasks[name]
            continue
        kind = phases.kind_of(job, name)
        forward = phases.way(job, kind)
        way = forward if task.phase in forward else phases.UNDO_PHASES[kind]
        rest = way[way.index(task.phase) + 1 :]
        if rest:
            draft.put_task(job_id, _begun(draft, job, task, rest[0]))
        elif task.phase in forward:
            undo.succeed(draft, job, task)
        else:
            undo.undone(draft, job, task)
        job = draft.jobs[job_id]
        task = job.tasks[name]
    waves.settle(draft, job_id)


def _too_late(draft: Draft, job: Job, task: Task) -> str:
    """Return why a task begins no further step on its way, since its time is over; empty while it is not."""
    over = job.task_deadline_s and max(draft.at, task.not_before) >= task.started_at + job.task_deadline_s
    if not over or task.launched_at is not None or task.phase in (Phase.UNDO, Phase.REVERIFY):
        return ""
    last = task.results[-1] if task.results and not task.results[-1].passed else None
    said = f"; {last.step} {describe(last)}" if last else ""
    return f"its deadline of {job.task_deadline_s:g} s is over{said}"


def _begun(draft: Draft, job: Job, task: Task, phase: Phase) -> Task:
    """Return `task` at the beginning of its next phase."""
    soak_s = job.rollout.min_healthy_s if phase is Phase.SOAK else 0.0
    return replace(
        task,
        phase=phase,
        cursor=0,
        attempt=1,
        not_before=draft.at + soak_s if soak_s else 0.0,
        proving_since=draft.at if phase is Phase.VERIFY else task.proving_since,
        notified=(),
    )


def _pass(draft: Draft, job: Job, task: Task, planned: PlannedStep) -> None:
    task = replace(task, cursor=planned.place + 1, attempt=1, checking=False, not_before=0.0)
    draft.put_task(job.id, task)
    node = draft.nodes[task.node]
    if node.presence is not Presence.REACHABLE:
        inventory.set_presence(draft, node, Presence.REACHABLE, "")


def _again(draft: Draft, job: Job, task: Task, *, delay_s: float, checking: bool = False) -> None:
    attempt = task.attempt if checking and not task.checking else task.attempt + 1
    draft.put_task(
        job.id,
        replace(task, attempt=attempt, checking=checking, not_before=draft.at + delay_s if delay_s else 0.0),
    )


def _count(task: Task, planned: PlannedStep, *endings: Ending, checks: bool = False) -> int:
    keys = (planned.key, f"{planned.key}.check") if checks else (planned.key,)
    return sum(1 for result in task.results if result.step in keys and result.ending in endings)


def _failed(draft: Draft, job: Job, task: Task, planned: PlannedStep, result: Result) -> None:
    failures = _count(task, planned, Ending.EXITED, Ending.TIMED_OUT)
    stopping = task.cancel and task.phase not in (Phase.UNDO, Phase.REVERIFY)
    if failures <= min(planned.spec.retries, RETRIES_MAX) and not stopping:
        delay_s = min(planned.spec.retry_delay_s * 2 ** min(failures - 1, 16), RETRY_DELAY_S_MAX)
        _again(draft, job, task, delay_s=delay_s)
    elif not stopping and (patience_s := _patience_s(draft, job, task)):
        _again(draft, job, task, delay_s=patience_s)
    else:
        late = "" if stopping else _too_late(draft, job, task)
        undo.fail_phase(draft, job, task, late or f"{planned.key} {describe(result)}")


def _patience_s(draft: Draft, job: Job, task: Task) -> float:
    """Return after how long a failed proof is tried once more; 0 when the healthy deadline is over.

    A node that was not healthy while it soaked has to be so for the whole time again.
    """
    deadline_s = job.rollout.healthy_deadline_s
    if task.phase not in (Phase.VERIFY, Phase.SOAK) or not deadline_s:
        return 0.0
    pause_s = max(deadline_s / PROOFS_MAX, 1.0)
    if task.phase is Phase.SOAK:
        pause_s = max(pause_s, job.rollout.min_healthy_s)
    return pause_s if draft.at + pause_s <= task.proving_since + deadline_s else 0.0


def delay_s_max(job: Job) -> float:
    """Return how long any step of `job` is put off at most, whatever the clocks of two leaders say."""
    rollout = job.rollout
    return max(RETRY_DELAY_S_MAX, rollout.min_healthy_s, rollout.healthy_deadline_s / PROOFS_MAX)


def _lost(draft: Draft, job: Job, task: Task, planned: PlannedStep) -> None:
    lost = _count(task, planned, Ending.LOST, checks=True)
    step_class = StepClass.IDEMPOTENT if planned.spec.check else planned.spec.step_class
    if step_class is StepClass.ONCE:
        undo.quarantine(
            draft,
            job,
            task,
            f"{planned.key} was lost in the middle and may not be repeated: an operator must look",
        )
    elif lost > LOST_MAX:
        undo.fail_phase(draft, job, task, f"{planned.key} was lost {lost} times")
    else:
        checking = step_class is StepClass.CHECKABLE
        _again(draft, job, task, delay_s=0.0, checking=checking)


def _out_of_reach(draft: Draft, job: Job, task: Task, result: Result, *, launched: bool) -> None:
    node = draft.nodes[task.node]
    if result.ending is Ending.UNREACHABLE:
        inventory.set_presence(draft, node, Presence.UNREACHABLE, result.error)
    why = result.error or result.ending
    if task.touched:
        unknown = f"; whether {result.step} finished is unknown" if launched else ""
        undo.quarantine(draft, job, task, f"{why}{unknown}")
    elif (job.owes or task.node == job.replaces) and result.ending is Ending.UNREACHABLE and not task.cancel:
        undo.skip(draft, job, task, why)
    else:
        undo.fail_phase(draft, job, task, why)


def report_sighting(draft: Draft, command: ReportSighting) -> Outcome:
    found = _probed(draft, command.job, command.task)
    if isinstance(found, Rejected):
        return found
    job, task = found
    admitted = sightings.admit(draft, command.sighting, job=job.id)
    if isinstance(admitted, Rejected):
        waves.end_task(draft, job.id, task, TaskState.FAILED, admitted.message)
        ref = ""
    else:
        waves.end_task(draft, job.id, task, TaskState.SUCCEEDED)
        ref = admitted
    waves.settle(draft, job.id)
    return Accepted(index=draft.index, ref=ref)


def report_silence(draft: Draft, command: ReportSilence) -> Outcome:
    found = _probed(draft, command.job, command.task)
    if isinstance(found, Rejected):
        return found
    job, task = found
    state = TaskState.SKIPPED if job.sweep and command.silent else TaskState.FAILED
    waves.end_task(draft, job.id, task, state, command.error)
    waves.settle(draft, job.id)
    return Accepted(index=draft.index)
