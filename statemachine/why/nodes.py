"""Why a node is as it is: what is wrong with it, who is at work on it, who waits for it."""

from collections.abc import Iterator

from statemachine import lifecycle
from statemachine.jobs import work
from statemachine.jobs.tasks import describe
from statemachine.lifecycle import FORGETTABLE, IN_SERVICE, OPERATOR_TRIGGERS
from statemachine.model import Job, Node, Result, State
from statemachine.nodes import inventory, requirements
from statemachine.rollouts.blocking import Counts
from statemachine.why.jobs import READY, why_queued
from statemachine.why.reasons import LISTED_MAX, Cause, CauseKind, a, at_work, last_failure
from statemachine.words import Health, JobKind, Phase, Presence, Status, TaskState

PROOFS = tuple(f"{phase}." for phase in (Phase.VERIFY, Phase.SOAK, Phase.REVERIFY))
DIGITS = 12
"""So much of a digest people read."""


def why_node(state: State, node: Node, now: float) -> list[Cause]:
    """Return why `node` is as it is, the most telling first.

    Args:
        now: Unix seconds.
    """
    found = [
        *_quarantine(state, node),
        *_presence(node),
        *_maintenance(node, now),
        *_lock(state, node, now),
        *_debt(node, now),
        *_error(state, node),
        *_health(state, node),
        *_requirements(state, node),
        *_service(state, node),
        *_queue(state, node, now),
    ]
    if not found:
        found = [Cause(kind=CauseKind.IDLE, message="nothing is wrong with it, and no job wants it")]
    return [_headline(node), *found]


def _headline(node: Node) -> Cause:
    role = f", role {node.role}" if node.role else ""
    return Cause(
        kind=CauseKind.STATE,
        message=f"{node.name} is {node.status}{role}, {node.presence}, health {node.health}",
        since=node.history[-1].at if node.history else None,
    )


def _ways(node: Node) -> str:
    """Return the commands that are possible with a node in its status."""
    verbs = [str(trigger) for trigger in lifecycle.TRANSITIONS[node.status] if trigger in OPERATOR_TRIGGERS]
    verbs += ["forget"] if node.status in FORGETTABLE else []
    return " or ".join(f"hamgr node {verb} {node.name}" for verb in verbs)


def _quarantine(state: State, node: Node) -> Iterator[Cause]:
    if node.status is not Status.QUARANTINED:
        return
    failed = last_failure(state, node.name)
    by = f" (job {failed[0].id})" if failed is not None else ""
    yield Cause(
        kind=CauseKind.QUARANTINE,
        message=f"it is quarantined, and no job may touch it unasked: {node.error}{by}",
        since=node.history[-1].at if node.history else None,
        way_out=_ways(node),
        output=_output(failed[1].results) if failed is not None else "",
    )


def _output(results: tuple[Result, ...]) -> str:
    return next((result.output_tail for result in results if not result.passed), "")


def _presence(node: Node) -> Iterator[Cause]:
    if node.presence is not Presence.REACHABLE and node.status is not Status.NEW:
        lost = node.presence is Presence.UNREACHABLE
        yield Cause(
            kind=CauseKind.PRESENCE,
            message=f"it is {node.presence}: {node.presence_reason or 'no reason was recorded'}"
            + ("; it was last seen then" if node.seen_at and not node.presence_at else ""),
            since=node.presence_at or node.seen_at or None,
            way_out=f"hamgr discover {node.endpoint}, when it is back" if lost else "",
        )


def _maintenance(node: Node, now: float) -> Iterator[Cause]:
    cordon = node.maintenance
    if cordon is not None and inventory.in_maintenance(node, now):
        yield Cause(
            kind=CauseKind.MAINTENANCE,
            message=f"{cordon.owner} put it into maintenance, so no job begins on it: {cordon.reason}",
            since=cordon.since,
            until=cordon.until,
            way_out=f"hamgr node {'undrain' if cordon.drain else 'maintenance off'} {node.name}",
        )


def _lock(state: State, node: Node, now: float) -> Iterator[Cause]:
    job = state.jobs.get(node.job) if node.job else None
    task = job.tasks.get(node.name) if job is not None else None
    if job is None or task is None:
        return
    doing = at_work(state, job, task, now)
    yield Cause(
        kind=CauseKind.LOCK,
        message=f"{a(job)}, is at work on it: {doing.message}",
        since=doing.since,
        until=doing.until,
        way_out=f"hamgr job log {job.id} --node {node.name} -f",
        output=doing.output,
    )


def _debt(node: Node, now: float) -> Iterator[Cause]:
    debt = node.debt
    if debt is None:
        return
    owes = f"it missed {debt.job} while it was out of reach, and owes the upgrade to {_short(debt.bundle)}"
    if debt.error:
        yield Cause(
            kind=CauseKind.DEBT,
            message=f"{owes}; paying that failed (job {debt.paid_by}): {debt.error}",
            since=debt.since,
            way_out=f"hamgr node upgrade {node.name}, or hamgr node forgive {node.name}",
        )
    else:
        again = debt.not_before if debt.not_before > now else None
        told = "; the next try comes then" if again else "; it pays by itself when it can be reached"
        yield Cause(kind=CauseKind.DEBT, message=f"{owes}{told}", since=debt.since, until=again)


def _error(state: State, node: Node) -> Iterator[Cause]:
    if not node.error or node.status is Status.QUARANTINED:
        return
    failed = last_failure(state, node.name)
    if failed is not None and failed[0].kind is JobKind.VERIFY and node.health is Health.DRIFTED:
        return  # its health says the same
    yield Cause(
        kind=CauseKind.FAILED,
        message=f"the last operation on it failed: {node.error}"
        + (f" (job {failed[0].id})" if failed else ""),
        since=failed[1].ended_at if failed else None,
        way_out=f"hamgr job log {failed[0].id} --node {node.name}" if failed else "",
        output=_output(failed[1].results) if failed else "",
    )


def _health(state: State, node: Node) -> Iterator[Cause]:
    if node.status not in IN_SERVICE or node.health is Health.VERIFIED:
        return
    if node.health is Health.UNKNOWN:
        if node.presence is Presence.UNREACHABLE:
            return  # nobody could verify it, and why has been told
        yield Cause(
            kind=CauseKind.HEALTH,
            message="its health is not known: nothing has verified it as it is now",
            way_out=f"hamgr node verify {node.name}",
        )
        return
    found = max(_failed_proofs(state, node), key=lambda one: one[1].ended_at, default=None)
    if found is None:
        told = "it is not as its bundle says; the verify that found this is not kept any more"
        yield Cause(kind=CauseKind.HEALTH, message=told, way_out=f"hamgr node verify {node.name}")
        return
    job, result = found
    yield Cause(
        kind=CauseKind.HEALTH,
        message=f"it is not as its bundle says: {result.step} {describe(result)} (job {job.id})",
        since=result.ended_at,
        way_out=f"hamgr job log {job.id} --node {node.name}, then hamgr node upgrade {node.name}",
        output=result.output_tail,
    )


def _failed_proofs(state: State, node: Node) -> Iterator[tuple[Job, Result]]:
    for job in state.jobs.values():
        task = job.tasks.get(node.name)
        for result in task.results if task is not None else ():
            if result.step.startswith(PROOFS) and not result.passed:
                yield job, result


def _requirements(state: State, node: Node) -> Iterator[Cause]:
    if node.status not in IN_SERVICE:
        return
    broken = requirements.breaches(state, requirements.census(state))
    for (role, required), (have, need) in broken.items():
        if role == node.role:
            yield Cause(
                kind=CauseKind.REQUIREMENT,
                message=f"its role needs {need} x {required} in service, and there are {have}",
                way_out=f"hamgr node commission NODE --role {required}",
            )


def _service(state: State, node: Node) -> Iterator[Cause]:
    """Yield what is missing until it serves, or serves by the current bundle."""
    if node.job or node.debt is not None:
        return
    if node.status is Status.NEW:
        told = "nobody has reached it yet, so it cannot be commissioned"
        yield Cause(kind=CauseKind.STATE, message=told, way_out=f"hamgr discover {node.endpoint}")
    elif node.status in (Status.DISCOVERED, Status.DECOMMISSIONED):
        role = node.role or "ROLE"
        yield Cause(
            kind=CauseKind.STATE,
            message="it serves nothing, and no job at work is to change that",
            way_out=f"hamgr node commission {node.name} --role {role}",
        )
    elif node.status in IN_SERVICE and state.current_bundle not in ("", node.bundle):
        yield Cause(
            kind=CauseKind.BUNDLE,
            message=f"it is configured with bundle {_short(node.bundle)}; the current one is "
            f"{_short(state.current_bundle)}",
            way_out=f"hamgr node upgrade {node.name}",
        )


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:DIGITS]


def _queue(state: State, node: Node, now: float) -> Iterator[Cause]:
    """Yield which jobs are to begin on the node, in the order in which they get it."""
    waiting = [
        state.jobs[job_id]
        for job_id in work.by_priority(state)
        if node.name in state.jobs[job_id].tasks
        and state.jobs[job_id].tasks[node.name].state is TaskState.QUEUED
    ]
    counts = Counts(state)
    first: Job | None = None
    for job in waiting[:LISTED_MAX]:
        why = why_queued(state, job, job.tasks[node.name], counts, now)
        if not why and first is not None:
            why = f"{a(first)}, goes first (priority {first.priority})"
        elif not why:
            first, why = job, READY
        yield Cause(
            kind=CauseKind.QUEUE,
            message=f"{a(job)} of priority {job.priority}, is to begin on it: {why}",
            since=job.submitted_at,
            way_out=f"hamgr why {job.id}",
        )
    if len(waiting) > LISTED_MAX:
        yield Cause(kind=CauseKind.QUEUE, message=f"{len(waiting) - LISTED_MAX} more jobs are to begin on it")
